// `[data]`, `[[data.length_schedule]]` and `[[data.mix]]`: what is read.
import Corpus

/// In which order the corpus is trained on.
public enum DataOrder: String, Sendable, CaseIterable {
  /// Blocks, in an order of their own in each epoch.
  case random
  /// The text in its order, from as many places side by side as a step has windows.
  case streams
}

extension DataOrder: ConfigChoice {}

/// What is to be predicted.
public enum DataTask: String, Sendable, CaseIterable {
  /// Each byte of a corpus.
  case bytes
  /// The same, of a corpus whose lines are records that windows do not cross.
  case records
  /// A word that stands there twice, where it stands for the second time (the Reformer paper's synthetic task).
  case duplication
  /// Each number of images but the first.
  case pixels
  /// Each byte of targets, of which each has a source.
  case pairs
}

extension DataTask {
  /// Whether windows may begin at any byte and be of any length.
  package var isText: Bool { self == .bytes || self == .records }
}

extension DataTask: ConfigChoice {}

/// What becomes of lines that are no pairs.
public enum WrongLines: String, Sendable, CaseIterable {
  /// The run does not start.
  case refuse
  /// They are left out, and the start says how many.
  case skip
}

extension WrongLines: ConfigChoice {}

/// `[data]`; `keys` says what each property means.
package struct DataSection: Sendable, Equatable {
  package var task = DataTask.bytes
  package var image: [Int] = []
  package var corpus = CorpusPaths([])
  package var length = 0
  package var sourceLength = 0
  package var wrongLines = WrongLines.refuse
  package var block = 0
  package var order = DataOrder.random
  package var split = [0.9, 0.05, 0.05]
  package var lengthSchedule = LengthScheduleSection()
  package var mix = MixSection()

  private typealias Key = SectionKey<DataSection>

  static let keys = SectionKeys(
    name: "data", text: "what is read",
    keys: [
      Key(
        "task", \.task, .any, .fixed,
        "What is to be predicted. bytes: each byte of the corpus. records: the same, where a line is a record, such as a "
          + "genome: no window crosses the edge of one that is longer than data.block, shorter ones that follow each other are "
          + "packed, and splits are cut between records, at the first that begins at the place data.split says or "
          + "after it. duplication: without a corpus, the second w of sequences 0w0w of "
          + "data.length bytes that are made up as they are needed, w being uniformly distributed bytes from 1 to "
          + "127 (Kitaev et al. 2020, section 5). Then losses are means over these bytes, and evaluations say which "
          + "share of them is found likeliest. pixels: the corpus is raw images, one after the other, whose numbers "
          + "are bytes; windows begin where images do, and bits per byte are bits per dimension. pairs: each line of the "
          + "corpus is a source, a tab and its target, which model.kind = \"encoder-decoder\" predicts with the end of "
          + "its line; bits per byte are those of targets."),
      Key(
        "image", \.image, .list(0...3, of: .from(1, to: ConfigLimits.size)), .fixed,
        "With data.task = \"pixels\": rows, columns and channels (1, or 3 for red, green and blue) of an image."
      ),
      Key(
        "corpus", \.corpus, .paths, required: true, .free,
        "Corpus, its bytes in this order; on resume its content must be the same. A folder stands for "
          + "the files in it and its subfolders, by path; corpus:NAME is what launch/corpus.sh NAME "
          + "fetches. Windows never cross the edge of a file, but files shorter than a window are joined "
          + "with such files beside them. [], or none, with [[data.mix]] and with data.task = \"duplication\"."
      ),
      Key(
        "length", \.length, .from(2, to: ConfigLimits.length), required: true,
        .fixed,
        "Bytes of a training window; of the longest ones, with [[data.length_schedule]]. With data.task = \"pairs\": most "
          + "bytes of a target, its end counted."),
      Key(
        "source_length", \.sourceLength,
        .from(0, to: ConfigLimits.length, zero: "without data.task = \"pairs\""), .fixed,
        "Most bytes of a source, its end counted."),
      Key(
        "wrong_lines", \.wrongLines, .any, .fixed,
        "With data.task = \"pairs\": lines without a tab, with several, with an empty side or one that is longer than "
          + "its limit are refused, or left out; none is cut."),
      Key(
        "block", \.block, automatic: 0, or: .from(2, to: ConfigLimits.length), .fixed,
        "Bytes that are trained on in the order in which they stand: an epoch visits blocks of so many at "
          + "random, and the windows of each one first to last. A multiple of the windows' lengths; auto: "
          + "data.length."),
      Key(
        "order", \.order, .any, .fixed,
        "Blocks at random, others in each epoch; or the text in its order, as run.global_batch streams side by "
          + "side: then layers of kind memory go on from what they carry over. Streams have windows of one length, and "
          + "one corpus."),
      // Another split would train on bytes that were, or will be, measured on.
      Key(
        "split", \.split, .list(3...3, of: .from(0, to: 1)), .fixed,
        "Shares of training, validation and test, in this order of each corpus; they add up to 1."),
    ])
}

/// `[[data.length_schedule]]`, column by column; `keys` says what each means.
package struct LengthScheduleSection: Sendable, Equatable {
  package var share: [Double] = []
  package var length: [Int] = []
  package var windows: [Int] = []

  private typealias Key = SectionKey<LengthScheduleSection>

  static let keys = SectionKeys(
    name: "data.length_schedule",
    text: "stages before that of data.length and run.global_batch, one table for each",
    keys: [
      Key(
        "share", \.share,
        .column("a number above 0, below 1", [[0.5]]) { $0 > 0 && $0 < 1 }, .fixed,
        "Its share of the run's bytes, to whole blocks. Together below 1: windows of data.length have the "
          + "rest."),
      Key(
        "length", \.length,
        .column("a whole number from 2 to \(ConfigLimits.length)", [[2]]) {
          (2...ConfigLimits.length).contains($0)
        }, .fixed, "Bytes of its windows: at most data.length, and a divisor of data.block."),
      Key(
        "windows", \.windows,
        .column("a whole number from 1 to \(ConfigLimits.size)", [[1]]) {
          (1...ConfigLimits.size).contains($0)
        }, .fixed,
        "Windows per step, over all ranks: a multiple of their number, or a divisor of it, and some "
          + "wait."),
    ], isListOfTables: true)
}

/// `[[data.mix]]`, column by column; `keys` says what each means.
package struct MixSection: Sendable, Equatable {
  package var name: [String] = []
  package var path: [CorpusPaths] = []
  package var weight: [Double] = []

  private typealias Key = SectionKey<MixSection>

  static let keys = SectionKeys(
    name: "data.mix", text: "several corpora in the place of data.corpus, one table for each",
    keys: [
      Key(
        "name", \.name,
        .column(
          "a name of letters, digits, \"-\", \"_\" and \".\", not first", [["books"]],
          Legal.isName), .free, "What the corpus is called in messages and metrics."),
      Key(
        "path", \.path,
        .column("a path or a list of paths as in data.corpus", [[CorpusPaths(["books"])]]) {
          !$0.paths.isEmpty && Legal.paths.contains($0)
        }, .free, "Where it is, as in data.corpus; on resume its content must be the same."),
      // Their number, order and weights decide which sample comes from which.
      Key(
        "weight", \.weight,
        .column("a number from 1e-6 to 1000000", [[1e-6], [1e6]]) { (1e-6...1e6).contains($0) },
        .fixed,
        "Its share of the bytes relative to the others' weights, kept to 1/4096 of the blocks and at "
          + "least that."),
    ], isListOfTables: true)
}

/// Where a corpus is: one path, or several in order.
package struct CorpusPaths: Sendable, Equatable, ExpressibleByStringLiteral {
  /// Files, folders and names such as `corpus:foldoc`.
  package var paths: [String]

  /// Takes them in order.
  package init(_ paths: [String]) { self.paths = paths }

  /// Takes one.
  package init(stringLiteral value: String) { paths = [value] }
}

extension CorpusPaths: CustomStringConvertible {
  /// For messages.
  package var description: String {
    paths.isEmpty ? "[[data.mix]]" : paths.joined(separator: ", ")
  }
}

extension CorpusPaths {
  /// The same places, said so that they are found from any folder.
  var absolute: CorpusPaths { CorpusPaths(paths.map(ByteCorpus.absolutePath)) }
}

extension DataSection {
  /// Bytes of an image; 1 where there are none.
  package var imageBytes: Int { image.reduce(1, *) }

  /// What pairs may be, where they are what is read; sizes that validation refuses have none.
  var pairLimits: PairLimits? {
    guard task == .pairs, sourceLength > 1, length > 1 else { return nil }
    return PairLimits(
      source: sourceLength, target: length, skipsWrongLines: wrongLines == .skip)
  }

  /// What is read, as it could be set.
  var source: String {
    task == .duplication ? "data.task = \"duplication\"" : "data.corpus = \(corpus)"
  }
}

extension RunConfig {
  /// The config with the corpora's places said so that they are found from any folder.
  func withAbsoluteCorpora() -> RunConfig {
    var config = self
    config.data.corpus = data.corpus.absolute
    config.data.mix.path = data.mix.path.map(\.absolute)
    return config
  }
}

extension RunConfig {
  /// The config with the corpus at `path` in the place of its own; `whole`: all of it is the test split.
  package func reading(_ path: String, whole: Bool) -> RunConfig {
    var config = self
    if config.data.task == .duplication { config.data.task = .bytes }
    config.data.corpus = CorpusPaths([path])
    config.data.mix = MixSection()
    if whole { config.data.split = [0, 0, 1] }
    return config
  }
}

extension CorpusPaths: ConfigField {
  static var takesText: Bool { true }
  init?(_ value: ConfigValue) {
    switch value {
    case .text(let path): paths = [path]
    case .list:
      guard let list = [String](value) else { return nil }
      paths = list
    default: return nil
    }
  }
  var configValue: ConfigValue { paths.count == 1 ? .text(paths[0]) : paths.configValue }
}

extension Legal where Value == CorpusPaths {
  /// None to many paths.
  static var paths: Self {
    Legal(
      text: "the path of a file or folder, corpus:NAME, or a list of these",
      contains: { paths in paths.paths.allSatisfy { !$0.isEmpty } })
  }
}

extension Legal {
  /// Lists with one entry for each table of a list of tables.
  fileprivate static func column<Entry: Sendable>(
    _ what: String, _ examples: [[Entry]], _ contains: @escaping @Sendable (Entry) -> Bool
  ) -> Legal where Value == [Entry] {
    Legal(
      text: what,
      contains: { $0.count <= CorpusMix.mostParts && $0.allSatisfy(contains) },
      examples: examples)
  }
}
