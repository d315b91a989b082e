// What streams carry over, from ranks to files and to other ranks.
import Checkpointing
import Compute
import TestSupport
import Testing

@Suite("Files of streams")
struct StreamFilesTests {
  private let folder: TemporaryFolder
  private let arena = ScratchArena()
  private static let width = 3

  init() throws { folder = try TemporaryFolder() }

  private func matrix(_ rows: Int, _ number: Int) -> Matrix {
    let matrix = arena.matrix(rows, Self.width)
    for place in 0..<rows * Self.width { matrix.dense[place] = Float(100 * number + place) }
    return matrix
  }

  /// A stream of `seen` positions, which two layers remember.
  private func stream(_ place: Int, seen: Int) -> StreamRows {
    StreamRows(
      place: place, seen: seen,
      layers: [0: matrix(min(seen, 4), 2 * place), 5: matrix(min(seen, 2), 2 * place + 1)])
  }

  /// Writes the files of ranks that have these streams.
  private func write(_ ranks: [[StreamRows]]) throws {
    for (rank, streams) in ranks.enumerated() {
      _ = try StreamFiles.write(streams, rank: rank, ranks: ranks.count, to: folder.path)
    }
  }

  @Test("any stream is read from the files of all ranks, those that remember nothing too")
  func reading() throws {
    try write([[stream(0, seen: 9), stream(1, seen: 0)], [stream(2, seen: 3)]])
    let files = try StreamFiles(folder: folder.path, ranks: 2)
    for (place, seen) in [(2, 3), (0, 9), (1, 0)] {
      #expect(try files.seen(place: place) == seen)
      for (layer, expected) in stream(place, seen: seen).layers {
        let rows = arena.matrix(expected.rows, Self.width)
        rows.fill(.nan)
        try files.read(place: place, layer: layer, into: rows)
        #expect(rows.dense.array == expected.dense.array)
      }
    }
  }

  private func message(_ body: () throws -> Void) -> String {
    "\(#expect(throws: CheckpointError.self) { try body() } as Any)"
  }

  @Test("what is not there, or not so, is refused in a line")
  func refused() throws {
    try write([[stream(0, seen: 9)]])
    let files = try StreamFiles(folder: folder.path, ranks: 1)
    #expect(message { _ = try files.seen(place: 1) }.contains("what stream 1 carries over"))
    for rows in [3, 5] {
      #expect(
        message { try files.read(place: 0, layer: 0, into: matrix(rows, 0)) }
          .contains("tensor 0.layers.0 is [4, 3]; the config needs [\(rows), 3]"))
    }
    #expect(
      message { try files.read(place: 0, layer: 7, into: matrix(1, 0)) }
        .contains("tensor 0.layers.7 is []"))
    #expect(
      message { _ = try StreamFiles(folder: folder.path, ranks: 2) }
        .contains("streams-00000-of-00002.safetensors"))
    try write([[stream(0, seen: 9)], [stream(0, seen: 9)]])
    #expect(
      message { _ = try StreamFiles(folder: folder.path, ranks: 2) }.contains(
        "holds stream 0, which another file holds too"))
    let path = folder.path(StreamFiles.fileName(rank: 0, ranks: 1))
    for (key, value) in [("seen.0", "-1"), ("seen.x", "1"), ("seen.0", "1e3")] {
      _ = try SafetensorsWriter.write([], metadata: [key: value], to: path)
      #expect(
        message { _ = try StreamFiles(folder: folder.path, ranks: 1) }.contains(
          "metadata \(key) is \"\(value)\", no number"))
    }
  }
}
