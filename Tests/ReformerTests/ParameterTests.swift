import Attention
import Compute
import Reformer
import TestSupport
import Testing

@Suite("Parameters of the model")
struct ParameterTests {
  @Test("names and shapes are those of Hugging Face's state dict")
  func layout() {
    let layer = "reformer.encoder.layers."
    var expected: [(String, [Int])] = [
      ("reformer.embeddings.word_embeddings.weight", [23, 12]),
      ("reformer.embeddings.position_embeddings.weights.0", [5, 1, 5]),
      ("reformer.embeddings.position_embeddings.weights.1", [1, 8, 7]),
    ]
    for (index, projections) in [["query", "key", "value"], ["query_key", "value"]].enumerated() {
      let name = layer + "\(index)."
      expected += [
        (name + "attention.layer_norm.weight", [12]), (name + "attention.layer_norm.bias", [12]),
      ]
      expected += projections.map { (name + "attention.self_attention.\($0).weight", [10, 12]) }
      expected += [
        (name + "attention.output.dense.weight", [12, 10]),
        (name + "feed_forward.layer_norm.weight", [12]),
        (name + "feed_forward.layer_norm.bias", [12]),
        (name + "feed_forward.dense.dense.weight", [21, 12]),
        (name + "feed_forward.dense.dense.bias", [21]),
        (name + "feed_forward.output.dense.weight", [12, 21]),
        (name + "feed_forward.output.dense.bias", [12]),
      ]
    }
    expected += [
      ("reformer.encoder.layer_norm.weight", [24]), ("reformer.encoder.layer_norm.bias", [24]),
      ("lm_head.decoder.weight", [23, 24]), ("lm_head.bias", [23]),
    ]
    let layout = smallConfig([.local, .lsh]).parameterLayout
    #expect(layout.slots.map(\.name) == expected.map(\.0))
    #expect(layout.slots.map(\.shape) == expected.map(\.1))
    #expect(
      layout.groups.map(\.name) == [
        "embeddings", "layers.0.attention", "layers.0.feed_forward", "layers.1.attention",
        "layers.1.feed_forward", "head",
      ])
  }

  private func initial(_ config: ReformerConfig, seed: UInt64, before: Float = 0) -> [Float] {
    let layout = config.parameterLayout
    let buffer = Buffer<Float>(layout.count)
    buffer.view.fill(before)
    layout.initialise(buffer.view, seed: seed)
    return buffer.view.array
  }

  @Test("first values are a function of the seed alone")
  func seeds() {
    let config = smallConfig([.local, .lsh, .full])
    let values = initial(config, seed: 3)
    #expect(initial(config, seed: 3, before: .nan).bitPatterns == values.bitPatterns)
    let others = initial(config, seed: 4)
    for slot in config.parameterLayout.slots {
      let (one, other) = (values[slot.range], others[slot.range])
      if slot.name.hasSuffix("norm.weight") {
        #expect(one.allSatisfy { $0 == 1 } && other.allSatisfy { $0 == 1 }, "\(slot.name)")
      } else if slot.name.hasSuffix("bias") {
        #expect(one.allSatisfy { $0 == 0 } && other.allSatisfy { $0 == 0 }, "\(slot.name)")
      } else if slot.name.contains("position_embeddings") {
        #expect(one.bitPatterns == other.bitPatterns, "\(slot.name)")
      } else {
        #expect(zip(one, other).allSatisfy { $0 != $1 }, "\(slot.name)")
      }
    }
  }

  @Test("position tables tell the positions of an axis apart from the start")
  func positions() {
    let config = smallConfig(
      [.local], length: 1024, width: 30, axialShape: [16, 64], axialWidths: [10, 20])
    let values = initial(config, seed: 1)
    for slot in config.parameterLayout.slots where slot.name.contains("position_embeddings") {
      let features = slot.shape.last ?? 0
      let table = Array(values[slot.range])
      let rows = Tiling.ranges(slot.count, by: features).map { Array(table[$0]) }
      for (index, row) in rows.enumerated() {
        for other in rows[..<index] {
          // The slowest wave takes 64 positions for a turn; neighbours are some 0.07 apart in it.
          #expect(largestDifference(row, other) > 0.05, "\(slot.name)")
        }
      }
    }
  }

  @Test("no two tensors start alike")
  func distinct() {
    let config = smallConfig([.lsh, .lsh, .lsh])
    let values = initial(config, seed: 1)
    let starts = config.parameterLayout.slots.filter { $0.shape.count == 2 }.map {
      // Scales differ between tensors, signs and order would not.
      values[$0.range].prefix(40).map { $0.sign }
    }
    #expect(Set(starts).count == starts.count)
  }

  @Test("the first loss is close to that of a uniform guess")
  func firstLoss() throws {
    let probe = try ModelProbe(smallConfig([.local, .lsh, .full], vocabulary: 256), disorder: 0)
    // Logits start with deviation 0.1, which costs 0.1^2 / 2 nats, and chance over 40 positions.
    #expect(abs(try probe.step() - 5.545) <= 0.1)
  }
}
