// Records: lines of a corpus that stand for themselves, such as genomes or entries of a log.
import Glibc

/// Where a corpus of records, one a line with its newline, may be cut.
struct CorpusRecords: Sendable {
  /// Where parts begin, and after the last where it ends: a part is a record longer than asked, or what stands between two of
  /// them or the edges of a file, which is packed.
  let edges: [Int]
  /// Where validation and test begin: with the first record at, or after, the places asked for.
  let cuts: [Int]

  /// Reads all files of `reader`, which lie end to end.
  ///
  /// - `length`: bytes of the longest record that is packed. `cuts`: places that are asked for, ascending.
  /// Throws `CorpusError.unreadable`.
  init(_ reader: FileReader, longerThan length: Int, cuts: [Int]) throws(CorpusError) {
    var starts = RecordStarts(longerThan: length, cuts: cuts)
    for index in reader.files.indices {
      starts.beginFile()
      try reader.eachPiece(of: index) { (_, bytes) throws(CorpusError) in starts.read(bytes) }
    }
    (edges, self.cuts) = starts.end()
  }
}

/// Follows the records of bytes that come piece by piece.
private struct RecordStarts {
  private let length: Int
  private let asked: [Int]
  private var edges: [Int] = []
  private var cuts: [Int] = []
  /// Bytes read.
  private var place = 0
  /// Where the record begins that is being read.
  private var start = 0

  init(longerThan length: Int, cuts: [Int]) {
    self.length = length
    asked = cuts
  }

  /// A file is an edge, and its last line a record without a newline.
  mutating func beginFile() {
    if start < place { endRecord(at: place) }
    addEdge(place)
  }

  /// Goes on with `bytes` of the file.
  mutating func read(_ bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress else { return }
    var offset = 0
    while offset < bytes.count {
      if start == place + offset { beginRecord() }
      guard let newline = memchr(base + offset, 0x0A, bytes.count - offset) else { break }
      offset = UnsafeRawPointer(newline) - base + 1
      endRecord(at: place + offset)
    }
    place += bytes.count
  }

  /// Edges and cuts of all that was read.
  mutating func end() -> (edges: [Int], cuts: [Int]) {
    if start < place { endRecord(at: place) }
    addEdge(place)
    return (edges, cuts + [Int](repeating: place, count: asked.count - cuts.count))
  }

  private mutating func beginRecord() {
    while cuts.count < asked.count, asked[cuts.count] <= start { cuts.append(start) }
  }

  private mutating func endRecord(at end: Int) {
    if end - start > length {
      addEdge(start)
      addEdge(end)
    }
    start = end
  }

  private mutating func addEdge(_ place: Int) {
    if edges.last != place { edges.append(place) }
  }
}
