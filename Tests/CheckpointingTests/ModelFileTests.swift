import Checkpointing
import Compute
import Foundation
import TestSupport
import Testing

@Suite("Parameters and moments on disk")
struct ModelFileTests {
  private static func layout(rows: Int = 33, extra: Bool = false) -> ParameterLayout {
    ParameterLayout(groups: [
      ("embeddings", [("word", [256, 7])]),
      ("layers.0", [("w", [rows, 65]), ("b", [33])] + (extra ? [("c", [1])] : [])),
      ("head", [("out", [9, 5])]),
    ])
  }

  private static func counting(_ count: Int, from start: Int = 0) -> Buffer<Float> {
    let buffer = Buffer<Float>(count)
    for i in 0..<count { buffer.view[i] = Float(start + i) }
    return buffer
  }

  @Test("a model's parameters come back in their places, padding untouched")
  func model() throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let layout = Self.layout()
    let parameters = Self.counting(layout.count)
    let digest = try ModelFile.write(
      layout: layout, parameters: parameters.view, to: folder.path)
    #expect(digest.name == ModelFile.name)
    let reader = try SafetensorsReader(folder.path(ModelFile.name))
    #expect(reader.metadata["format"] == "pt")
    #expect(reader.tensor("w")?.shape == [33, 65])
    let back = Buffer<Float>(layout.count)
    back.view.fill(-1)
    try ModelFile.read(folder.path(ModelFile.name), layout: layout, into: back.view)
    var expected = [Float](repeating: -1, count: layout.count)
    for slot in layout.slots { for i in slot.range { expected[i] = Float(i) } }
    #expect(back.view.array == expected)
  }

  @Test(
    "a model file of another config is refused by tensor and changes nothing",
    arguments: [
      (true, 33, false, "holds tensor c"), (false, 33, true, "has no tensor c"),
      (false, 32, false, "tensor w is F32 [33, 65]; the model's config needs F32 [32, 65]"),
    ])
  func otherModel(writeExtra: Bool, rows: Int, readExtra: Bool, expected: String) throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let written = Self.layout(extra: writeExtra)
    _ = try ModelFile.write(
      layout: written, parameters: Self.counting(written.count).view, to: folder.path)
    let layout = Self.layout(rows: rows, extra: readExtra)
    let back = Buffer<Float>(layout.count)
    do {
      try ModelFile.read(folder.path(ModelFile.name), layout: layout, into: back.view)
      Issue.record("read a model of another config")
    } catch {
      #expect(error.description.contains(expected), "\(error)")
    }
    #expect(Set(back.view.array) == [0])
  }

  @Test("the parameters' digest sees every parameter and no padding")
  func digest() {
    // The four bytes of 1.0, digest computed with another tool.
    let tiny = ParameterLayout(groups: [("g", [("x", [1])])])
    let one = Buffer<Float>(tiny.count)
    one.view[0] = 1
    #expect(
      ModelFile.parametersSHA256(layout: tiny, parameters: one.view)
        == "e00e5eb9444182f352323374ef4e08ebcb784725fdd4fd612d7730540b3e0c8c")
    let layout = Self.layout()
    let parameters = Self.counting(layout.count)
    let before = ModelFile.parametersSHA256(layout: layout, parameters: parameters.view)
    parameters.view[layout["b"].range.upperBound] = 99
    #expect(ModelFile.parametersSHA256(layout: layout, parameters: parameters.view) == before)
    parameters.view[layout["b"].range.upperBound - 1] = 99
    #expect(ModelFile.parametersSHA256(layout: layout, parameters: parameters.view) != before)
  }

  /// What each of `ranks` owns: its share of every group, in segments or, to be awkward, not.
  private static func ranges(
    _ layout: ParameterLayout, rank: Int, ranks: Int
  ) -> [Range<Int>] {
    layout.groups.map { group in
      let bounds = [rank, rank + 1].map { group.range.lowerBound + group.range.count * $0 / ranks }
      return bounds[0]..<bounds[1]
    }
  }

  @Test(
    "moments written by some ranks are read by any other number",
    arguments: [1, 2, 3, 7], [1, 2, 5])
  func reshard(writers: Int, readers: Int) throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let layout = Self.layout()
    for rank in 0..<writers {
      let ranges = Self.ranges(layout, rank: rank, ranks: writers)
      let digest = try OptimizerShards.write(
        layout: layout, shards: Moments.of(ranges, averages: true) { Float($0) }, rank: rank,
        ranks: writers, to: folder.path)
      #expect(digest.name == "optimizer-0000\(rank)-of-0000\(writers).safetensors")
    }
    let shards = try OptimizerShards(folder: folder.path, ranks: writers, layout: layout)
    for rank in 0..<readers {
      try expect(shards, Self.ranges(layout, rank: rank, ranks: readers), averages: true)
    }
    // One range over all groups, as a single rank may hold it.
    try expect(shards, [0..<layout.count], averages: true)
  }

  /// Reads the moments of `ranges` and compares them with those that were written.
  private func expect(
    _ shards: OptimizerShards, _ ranges: [Range<Int>], averages: Bool = false
  ) throws {
    for expected in Moments.of(ranges, averages: averages, { Float($0) }) {
      let shard = LayoutShard(expected.name, ranges: ranges)
      try shards.read(into: shard)
      #expect(shard.values.view.array == expected.values.view.array, "\(expected.name)")
    }
  }

  @Test("two pieces of one group have names of their own")
  func twoPieces() throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let layout = Self.layout()
    // Reversed halves: the second piece of `embeddings` comes first.
    let ranges = [100..<layout.count, 0..<100]
    _ = try OptimizerShards.write(
      layout: layout, shards: Moments.of(ranges) { Float($0) }, rank: 0, ranks: 1, to: folder.path)
    let names = try SafetensorsReader(
      folder.path(OptimizerShards.fileName(rank: 0, ranks: 1))
    ).tensors.map(\.name)
    #expect(names.contains("first_moment.embeddings"))
    #expect(names.contains("second_moment.embeddings#1"))
    let shards = try OptimizerShards(folder: folder.path, ranks: 1, layout: layout)
    try expect(shards, ranges)
    #expect(throws: CheckpointError.self) {
      try shards.read(into: LayoutShard("average", ranges: ranges))
    }
  }

  @Test("what is kept for some places only is read for these, whoever wrote it")
  func partOfPlaces() throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let layout = Self.layout()
    let groups = layout.groups.map(\.range)
    // Of the first group all moments, of the others a few second ones: rows and columns of a matrix, say.
    let few = groups.dropFirst().map { $0.lowerBound..<$0.lowerBound + 7 }
    for (rank, first, second) in [(0, [], few), (1, [groups[0]], [groups[0]])] {
      let shards = [
        Moments.of(first, { Float($0) })[0], Moments.of(second, { Float($0) })[1],
      ]
      _ = try OptimizerShards.write(
        layout: layout, shards: shards, rank: rank, ranks: 2, to: folder.path)
    }
    let shards = try OptimizerShards(folder: folder.path, ranks: 2, layout: layout)
    try expect(shards, [groups[0]])
    let rest = Moments.of([groups[0]] + few, { Float($0) })[1]
    let read = LayoutShard(rest.name, ranges: rest.ranges)
    try shards.read(into: read)
    #expect(read.values.view.array == rest.values.view.array)
    #expect(throws: CheckpointError.self) {
      try shards.read(into: LayoutShard("first_moment", ranges: few))
    }
  }

  @Test("missing, overlapping and foreign moments are refused")
  func refused() throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let layout = Self.layout()
    func write(_ range: Range<Int>, rank: Int) throws {
      _ = try OptimizerShards.write(
        layout: layout, shards: Moments.of([range]) { _ in 0 }, rank: rank, ranks: 2,
        to: folder.path)
    }
    func message(_ layout: ParameterLayout, reading count: Int = 0) -> String {
      do throws(CheckpointError) {
        let shards = try OptimizerShards(folder: folder.path, ranks: 2, layout: layout)
        try shards.read(into: LayoutShard("second_moment", ranges: [0..<count]))
        return "no error"
      } catch {
        return error.description
      }
    }
    try write(0..<1000, rank: 0)
    #expect(message(layout).contains("optimizer-00001-of-00002.safetensors: cannot be opened"))
    try write(1010..<layout.count, rank: 1)
    #expect(message(layout, reading: 1000) == "no error")
    #expect(message(layout, reading: 1500).contains("no optimizer file holds second_moment"))
    #expect(message(layout, reading: 1500).contains("element 1000"))
    try write(990..<layout.count, rank: 1)
    #expect(message(layout).contains("overlaps 0..<1000"))
    try write(1000..<layout.count, rank: 1)
    #expect(message(layout, reading: layout.count) == "no error")
    let other = ParameterLayout(groups: [("g", [("x", [5])])])
    #expect(message(other).contains("holds moments of \(layout.count) elements"))
  }
}
