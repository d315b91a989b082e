// The corpus: raw bytes of one or more files laid end to end, or of sequences that are made up, cut into train,
// validation and test. BatchPlan chooses windows of it.
import Foundation

/// The bytes of one or more files, or of sequences that are made up, and their three splits.
///
/// Bytes are read on demand, so a corpus may be larger than memory. The files must not change while
/// they are in use.
public final class ByteCorpus: Sendable {
  /// What was given: a path, or the first and the number of the others; what is made up otherwise.
  public let path: String
  /// The sequences that are made up; nil where files are read.
  package let sequences: DuplicatedSequences?
  /// The pairs that its lines are, where they are; then places are theirs, not those of bytes.
  package let pairs: LinePairs?
  /// Bytes of one image, where the corpus is images one after the other, each file whole ones; otherwise 1.
  package let image: Int
  /// How the bytes are shared out.
  public let fractions: SplitFractions
  /// Number of bytes.
  public let count: Int
  let reader: FileReader
  /// Where each file begins, and after the last where it ends.
  private let starts: [Int]
  /// The same of the parts that windows lie in: files, or records.
  private let edges: [Int]
  /// Where validation and test begin.
  private let cuts: [Int]
  var files: [CorpusFile] { reader.files }

  /// Finds the file, the files of the folder, or the corpus by name (`corpus:NAME`) at `path`.
  ///
  /// Throws a `CorpusError` when it is missing, empty or unreadable.
  public convenience init(
    path: String, fractions: SplitFractions = .standard
  ) throws(CorpusError) {
    try self.init(paths: [path], fractions: fractions)
  }

  /// Finds what `paths`, at least one, lead to, in this order.
  ///
  /// - `image`: bytes of an image, where files are images one after the other; of units of as many are `fractions`.
  /// - `recordsOver`: where each line is a record of its own, the bytes above which it is no longer packed with its
  ///   neighbours. All is read once to find them, and splits are cut between records.
  /// - `pairs`: what the pairs may be, where each line is one; then `fractions` are of them.
  /// - Throws a `CorpusError` when one of them is missing, empty or unreadable, or has a part of an image, or a line that is
  ///   no pair.
  public init(
    paths: [String], fractions: SplitFractions = .standard, image: Int = 1,
    recordsOver: Int? = nil, pairs: PairLimits? = nil
  ) throws(CorpusError) {
    precondition(!paths.isEmpty && image > 0, "a corpus of images of \(image) bytes at \(paths)")
    let files = try CorpusFile.all(at: paths)
    if let file = files.first(where: { $0.count % image != 0 }) {
      throw .partOfImage(path: file.path, bytes: file.count, image: image)
    }
    self.image = image
    path = paths[0] + (paths.count > 1 ? " and \(paths.count - 1) more" : "")
    self.fractions = fractions
    sequences = nil
    starts = files.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.count) }
    let count = starts[files.count]
    self.count = count
    let reader = FileReader(files: files)
    self.reader = reader
    let cuts = [CorpusSplit.validation, .test].map {
      fractions.range(of: $0, count: count).lowerBound
    }
    if let recordsOver {
      let records = try CorpusRecords(reader, longerThan: recordsOver, cuts: cuts)
      (edges, self.cuts) = (records.edges, records.cuts)
    } else {
      (edges, self.cuts) = (starts, cuts)
    }
    if let pairs { self.pairs = try LinePairs(reader, limits: pairs) } else { self.pairs = nil }
  }

  /// The bytes of `sequences`, computed as they are asked for.
  public init(_ sequences: DuplicatedSequences) {
    self.sequences = sequences
    pairs = nil
    path = sequences.name
    fractions = .standard
    image = 1
    count = sequences.count
    (starts, edges, cuts) = ([0], [], [])
    reader = FileReader(files: [])
  }

  /// What `path`, or the name that it is, stands for, said so that it is found from any working folder.
  package static func absolutePath(_ path: String) -> String {
    // What cannot be resolved is refused where it is opened.
    let place = (try? CorpusFile.resolve(path)) ?? path
    return place.hasPrefix("/") ? place : FileManager.default.currentDirectoryPath + "/" + place
  }

  /// Number of files with at least one byte.
  public var fileCount: Int { files.count }

  /// The places of the bytes of `split`.
  public func range(of split: CorpusSplit) -> Range<Int> {
    if let pairs { return pairs.places(fractions.range(of: split, count: pairs.count)) }
    if let sequences { return sequences.range(of: split) }
    return switch split {
    case .train: 0..<cuts[0]
    case .validation: cuts[0]..<cuts[1]
    case .test: cuts[1]..<count
    }
  }

  /// Whether the byte at `place` is one that is to be predicted, where there is one before it.
  ///
  /// All are but for some of sequences that are made up, and the first of each image, which has nothing before it.
  public func isScored(_ place: Int) -> Bool {
    sequences?.isScored(place) ?? (image == 1 || place % image != 0)
  }

  /// How many of the bytes in `range` are to be predicted; of pairs, those of the one that it begins in.
  package func scoredCount(in range: Range<Int>) -> Int {
    if let pairs { return pairs.scoredCount(at: range.lowerBound) }
    return sequences == nil && image == 1 ? range.count : range.count(where: isScored)
  }

  /// The pair at a place; nil where lines are no pairs.
  ///
  /// Throws `CorpusError.unreadable` when the disk fails or a file is not what it was.
  package func pair(at place: Int) throws(CorpusError) -> LinePair? { try pairs?.pair(at: place) }

  /// A copy of the bytes in `range`; traps outside the corpus.
  ///
  /// Throws `CorpusError.unreadable` when the disk fails or a file is not what it was.
  public func bytes(in range: Range<Int>) throws(CorpusError) -> [UInt8] {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= count, "bytes \(range) of \(count)")
    if let sequences { return range.map(sequences.byte) }
    var copy = [UInt8](repeating: 0, count: range.count)
    guard !range.isEmpty else { return copy }
    var index = Self.part(at: range.lowerBound, of: starts)
    var place = range.lowerBound
    while place < range.upperBound {
      let end = min(range.upperBound, starts[index + 1])
      let (first, offset, file) = (place - range.lowerBound, place - starts[index], index)
      let length = end - place
      try copy.withUnsafeMutableBufferPointer { (bytes) throws(CorpusError) in
        let part = UnsafeMutableBufferPointer(rebasing: bytes[first..<(first + length)])
        try reader.read(file, at: offset, into: UnsafeMutableRawBufferPointer(part))
      }
      place = end
      index += 1
    }
    return copy
  }

  /// The stretches of `split` that windows of `length` inputs lie in, in order: none crosses the edge
  /// of one.
  ///
  /// A file's, or record's, part of the split is a stretch of its own if a window fits into it. Neighbours into which
  /// none fits are one stretch together: a folder of small files can be trained on as if they were one
  /// file.
  public func stretches(of split: CorpusSplit, length: Int) -> [Range<Int>] {
    let range = range(of: split)
    guard !range.isEmpty else { return [] }
    if sequences != nil || pairs != nil { return [range] }
    var stretches: [Range<Int>] = []
    var isOpen = false
    var index = Self.part(at: range.lowerBound, of: edges)
    while index < edges.count - 1, edges[index] < range.upperBound {
      let part = range.clamped(to: edges[index]..<edges[index + 1])
      let isShort = part.count <= length
      if isShort, isOpen, let last = stretches.popLast() {
        stretches.append(last.lowerBound..<part.upperBound)
      } else {
        stretches.append(part)
      }
      isOpen = isShort
      index += 1
    }
    return stretches
  }

  /// The part, of those that begin and end at `edges`, that the byte at `position` is in.
  private static func part(at position: Int, of edges: [Int]) -> Int {
    var (low, high) = (0, edges.count - 1)
    while high - low > 1 {
      let middle = (low + high) / 2
      if edges[middle] <= position { low = middle } else { high = middle }
    }
    return low
  }
}
