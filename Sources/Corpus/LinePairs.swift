// Pairs of texts, such as sentences and their translations: a line of a file each, source and target with a tab between them.

/// A source and its target.
public struct LinePair: Sendable, Equatable {
  /// The bytes before the tab.
  public let source: [UInt8]
  /// The bytes after it.
  public let target: [UInt8]
}

/// What a pair may be.
public struct PairLimits: Sendable, Equatable {
  /// Bytes of a source, and the mark of its end.
  public let source: Int
  /// Bytes of a target, and the mark of its end.
  public let target: Int
  /// Whether lines that are no such pairs are left out; otherwise they are refused.
  public let skipsWrongLines: Bool

  /// Limits of at least a byte and a mark.
  public init(source: Int, target: Int, skipsWrongLines: Bool) {
    precondition(source > 1 && target > 1, "pairs of \(source) and \(target) bytes")
    (self.source, self.target) = (source, target)
    self.skipsWrongLines = skipsWrongLines
  }
}

/// The pairs of some files, in order.
///
/// So that they are visited, split and shared out as windows of bytes are, each has `PairLimits.target` places: pair n those
/// from n times as many on, however long it is.
package struct LinePairs: Sendable {
  /// Lines that are left out, and what is wrong with the first.
  package private(set) var wrongCount = 0
  package private(set) var firstWrong: CorpusError?
  /// Number of pairs.
  package var count: Int { lines.count }
  /// Places of a pair.
  let slot: Int
  private var lines: [Line] = []
  private let reader: FileReader

  /// Where a pair is.
  private struct Line {
    let file: Int
    let start: Int
    let sourceCount: Int
    let targetCount: Int
  }

  /// Reads the files once, to see where their pairs are.
  ///
  /// Throws `CorpusError.wrongLine` for a line that is none, unless such are left out.
  init(_ reader: FileReader, limits: PairLimits) throws(CorpusError) {
    slot = limits.target
    self.reader = reader
    for (index, file) in reader.files.enumerated() {
      var (number, start, tab, tabs) = (1, 0, 0, 0)
      try reader.eachPiece(of: index) { (offset, bytes) throws(CorpusError) in
        for (place, byte) in bytes.enumerated() {
          switch byte {
          case UInt8(ascii: "\t"):
            if tabs == 0 { tab = offset + place }
            tabs += 1
          case UInt8(ascii: "\n"):
            try add(file: index, number, start, tab, tabs, end: offset + place, limits)
            (number, start, tabs) = (number + 1, offset + place + 1, 0)
          default: continue
          }
        }
      }
      // The last line may have no end.
      if start < file.count {
        try add(file: index, number, start, tab, tabs, end: file.count, limits)
      }
    }
  }

  private mutating func add(
    file: Int, _ number: Int, _ start: Int, _ tab: Int, _ tabs: Int, end: Int, _ limits: PairLimits
  ) throws(CorpusError) {
    let (source, target) = (tab - start, end - tab - 1)
    var problem: String?
    if tabs != 1 {
      problem =
        tabs == 0 ? "no tab between source and target" : "\(tabs) tabs where one is expected"
    } else if source == 0 || target == 0 {
      problem = "the \(source == 0 ? "source" : "target") is empty"
    } else if source >= limits.source {
      problem =
        "a source of \(source) bytes; data.source_length = \(limits.source) takes one less than that"
    } else if target >= limits.target {
      problem =
        "a target of \(target) bytes; data.length = \(limits.target) takes one less than that"
    }
    guard let problem else {
      lines.append(Line(file: file, start: start, sourceCount: source, targetCount: target))
      return
    }
    let error = CorpusError.wrongLine(
      path: reader.files[file].path, line: number, problem: problem)
    guard limits.skipsWrongLines else { throw error }
    wrongCount += 1
    if firstWrong == nil { firstWrong = error }
  }

  /// Bytes of a pair.
  func byteCount(_ pair: Int) -> Int { lines[pair].sourceCount + lines[pair].targetCount }

  /// The pair at a place.
  ///
  /// Throws `CorpusError.unreadable`.
  func pair(at place: Int) throws(CorpusError) -> LinePair {
    let line = lines[place / slot]
    var bytes = [UInt8](repeating: 0, count: line.sourceCount + 1 + line.targetCount)
    try bytes.withUnsafeMutableBufferPointer { (bytes) throws(CorpusError) in
      try reader.read(line.file, at: line.start, into: UnsafeMutableRawBufferPointer(bytes))
    }
    return LinePair(
      source: Array(bytes[..<line.sourceCount]), target: Array(bytes[(line.sourceCount + 1)...]))
  }

  /// The pair at a place, for messages.
  package func description(at place: Int) -> String {
    let line = lines[place / slot]
    return "the pair at byte \(line.start) of \(reader.files[line.file].path)"
  }

  /// What is predicted of the pair at a place: the bytes of its target, and the mark of its end.
  func scoredCount(at place: Int) -> Int { lines[place / slot].targetCount + 1 }

  /// The mean of that over all pairs.
  package var meanScored: Double {
    Double(lines.reduce(0) { $0 + $1.targetCount + 1 }) / Double(max(1, count))
  }

  /// The places of some pairs, and one more, as the last byte of a window is the first of the next.
  func places(_ pairs: Range<Int>) -> Range<Int> {
    let start = pairs.lowerBound * slot
    return start..<start + pairs.count * slot + (pairs.isEmpty ? 0 : 1)
  }

  /// A window for each pair at `places`, until `limit` bytes are scored; of all for 0.
  func evaluationWindows(_ places: Range<Int>, limit: Int) -> [EvaluationWindow] {
    var (windows, left) = ([EvaluationWindow](), limit == 0 ? Int.max : limit)
    for start in stride(from: places.lowerBound, to: places.upperBound - 1, by: slot) where left > 0
    {
      windows.append(EvaluationWindow(bytes: start..<start + slot + 1, reach: start))
      left -= scoredCount(at: start)
    }
    return windows
  }
}
