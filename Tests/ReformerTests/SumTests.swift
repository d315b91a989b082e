import Attention
import Compute
import Reformer
import TestSupport
import Testing

@Suite("Sums over positions")
struct SumTests {
  /// Gradients of a window whose rows are all alike, so that every term of every sum is the same number: the worst
  /// case of rounding, for nothing cancels.
  private func gradients(_ layer: any AttentionLayer, length: Int) throws -> ModelProbe {
    let config = ReformerConfig(
      vocabulary: 16, length: length, width: 8,
      layers: [layer], heads: 1,
      headWidth: 4, feedForwardWidth: 8, axialShape: [length / 128, 128], axialWidths: [4, 4],
      residualFractionBits: 22)
    let probe = try ModelProbe(config, threads: 2)
    for slot in probe.model.layout.slots where slot.name.contains("position_embeddings") {
      probe.values(slot.name).fill(0)
    }
    probe.inputs = [Int32](repeating: 3, count: length)
    probe.targets = [Int32](repeating: 5, count: length)
    try probe.step()
    return probe
  }

  static let layers: [any AttentionLayer] = [
    LocalAttention(chunk: 64, chunksBefore: 1), LinearAttention(features: 8),
  ]

  @Test("gradients of a million rows are as good as those of a tile", arguments: layers.indices)
  func million(kind: Int) throws {
    let layer = Self.layers[kind]
    let (tile, million) = (
      try gradients(layer, length: 128), try gradients(layer, length: 1 << 20)
    )
    for slot in tile.model.layout.slots {
      // Alike keys leave nothing to learn for queries and keys; positions are other tables.
      let isOther = ["query", "key", "position_embeddings"].contains { slot.name.contains($0) }
      if isOther { continue }
      let place = million.model.layout[slot.name].range
      let (one, many) = (tile.gradients.view[slot.range], million.gradients.view[place])
      // The loss is a mean over rows, so both are the gradient of one row.
      #expect(relativeDifference(many.array, to: one.array) <= 1e-5, "\(slot.name)")
    }
    // Rows of a table share the million; at the ends of a window they have other shares, but the same sum.
    for axis in 0..<2 {
      let name = "reformer.embeddings.position_embeddings.weights.\(axis)"
      let sums = [tile, million].map { probe in
        let values = probe.gradients.view[probe.model.layout[name].range].array
        return (0..<4).map { feature in
          stride(from: feature, to: values.count, by: 4).reduce(0.0) { $0 + Double(values[$1]) }
        }
      }
      #expect(relativeDifference(sums[1], to: sums[0]) <= 1e-5, "\(name)")
    }
  }

  @Test("a window of two spans is summed as its parts are", arguments: [1, 3])
  func spans(threads: Int) throws {
    // 16,384 rows are a span. Rows of the second one are not scored, then only they are.
    let length = Tiling.spanRows + 300
    let config = smallConfig(
      [.local], length: length, vocabulary: 40, axialShape: [20, 850], axialWidths: [5, 7],
      dropout: 0.1)
    let probe = try ModelProbe(config, threads: threads)
    let targets = probe.targets
    var sum = [Double](repeating: 0, count: probe.gradients.count)
    for scored in [0..<Tiling.spanRows, Tiling.spanRows..<length] {
      probe.targets = targets.indices.map { scored.contains($0) ? targets[$0] : -1 }
      try probe.step()
      let share = Double(scored.count) / Double(length)
      for (index, value) in probe.gradients.view.array.enumerated() {
        sum[index] += Double(value) * share
      }
    }
    probe.targets = targets
    try probe.step()
    // Gradients are linear in what is scored.
    #expect(relativeDifference(probe.gradients.view.array, to: sum) <= 1e-5)
  }
}
