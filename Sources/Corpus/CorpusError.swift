// What can be wrong with a corpus, as one clear line each.

/// A corpus that cannot be used, with what to do about it.
public enum CorpusError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Nothing is at `path`.
  case missing(path: String)
  /// `corpus:NAME` is not at `path`, where `launch/corpus.sh` puts it.
  case notFetched(name: String, path: String)
  /// What follows `corpus:` is no name.
  case illegalName(String)
  /// The folder has no file with a byte in it.
  case emptyFolder(path: String)
  /// `path` is neither a file nor a folder.
  case notAFile(path: String)
  /// The file has no bytes.
  case empty(path: String)
  /// The file is part of the corpus already.
  case twice(path: String)
  /// The system refused to open or read the file, for `reason`.
  case unreadable(path: String, reason: String)
  /// The shares of the splits are not three numbers from 0 to 1 that sum to 1.
  case illegalFractions([Double])
  /// The file's `bytes` are no whole number of images of `image` bytes.
  case partOfImage(path: String, bytes: Int, image: Int)
  /// Line number `line`, from 1, of a file of pairs is none.
  case wrongLine(path: String, line: Int, problem: String)
  /// `split` has `bytes` bytes, fewer than the `needed` of one window.
  case splitTooShort(path: String, split: CorpusSplit, bytes: Int, needed: Int)
  /// The training split has so many `windows`, fewer than there are to be `streams`.
  case tooFewWindows(path: String, windows: Int, streams: Int)

  /// What is wrong with which line, where it is one.
  package var problem: String {
    if case .wrongLine(_, let line, let problem) = self {
      "line \(line): \(problem)"
    } else {
      description
    }
  }

  /// The message for people.
  public var description: String {
    switch self {
    case .missing(let path):
      "corpus \(path) does not exist; fetch one with launch/corpus.sh (without a name it lists "
        + "them) or set data.corpus to a file or folder of your own"
    case .notFetched(let name, let path):
      "corpus:\(name) is not here (there is no \(path)); fetch it with launch/corpus.sh \(name)"
    case .illegalName(let text):
      "\(text) names no corpus; launch/corpus.sh lists the names, for example corpus:enwiki-sample"
    case .emptyFolder(let path):
      "corpus \(path) is a folder without a file that could be read (hidden and empty ones do not "
        + "count); name another in data.corpus"
    case .notAFile(let path):
      "corpus \(path) is neither a file nor a folder; copy its bytes to a file and name that in "
        + "data.corpus"
    case .empty(let path):
      "corpus \(path) is empty; fetch it again with launch/corpus.sh or name another file in "
        + "data.corpus"
    case .twice(let path):
      "corpus file \(path) is there twice; name each file and folder once in data.corpus"
    case .unreadable(let path, let reason):
      "corpus \(path) cannot be read: \(reason); check its permissions and the disk"
    case .illegalFractions(let fractions):
      "data.split is \(fractions); it must be three numbers from 0 to 1 that sum to 1, for "
        + "example [0.9, 0.05, 0.05]"
    case .partOfImage(let path, let bytes, let image):
      "corpus file \(path) has \(bytes) bytes, no whole number of images of \(image) (rows x columns x channels of "
        + "data.image); put raw pixels there, image after image"
    case .wrongLine(let path, let line, let problem):
      "corpus file \(path), line \(line): \(problem); mend the line, or leave out such lines with data.wrong_lines = "
        + "\"skip\""
    case .splitTooShort(let path, let split, let bytes, let needed):
      "the \(split.rawValue) split of corpus \(path) has \(bytes) bytes in a row but one window "
        + "needs \(needed); use a smaller data.length, a larger corpus or another data.split"
    case .tooFewWindows(let path, let windows, let streams):
      "the training split of corpus \(path) has \(windows) windows, too few for \(streams) streams; "
        + "use a smaller run.global_batch or data.length, or data.order = \"random\""
    }
  }
}
