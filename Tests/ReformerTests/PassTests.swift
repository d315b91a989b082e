import Attention
import Compute
import Foundation
import Reformer
import TestSupport
import Testing

@Suite("Passes of the model")
struct PassTests {
  @Test("without dropout, loss() is the loss that is differentiated")
  func losses() throws {
    let probe = try ModelProbe(smallConfig([.local, .lsh, .full]), length: 37)
    let mean = try probe.step()
    // The same kernels on the same tiles.
    #expect(try probe.loss() / 37 == mean)
  }

  @Test("loss() leaves dropout out")
  func evaluation() throws {
    let quiet = try ModelProbe(smallConfig([.local, .full]))
    let noisy = try ModelProbe(smallConfig([.local, .full], dropout: 0.3, attentionDropout: 0.3))
    #expect(try noisy.loss() == quiet.loss())
    #expect(try noisy.step() != quiet.step())
  }

  @Test("attention left out is attention whose output matrix is 0, and no other", arguments: 0..<3)
  func withoutAttention(layer: Int) throws {
    let config = smallConfig([.local, .lsh, .full])
    let probe = try ModelProbe(config)
    let whole = try probe.loss()
    let ablated = try ReformerModel(
      config: config, engine: probe.engine, withoutAttention: [layer])
    let without = try ablated.loss(
      parameters: probe.parameters.view, window: probe.window, address: probe.address)
    let outputs = probe.model.layout.slots.map(\.name).filter {
      $0.contains("layers.\(layer).attention.output")
    }
    #expect(outputs.count == 1)
    for name in outputs { probe.values(name).fill(0) }
    #expect(try probe.loss() == without)
    #expect(without != whole)
  }

  @Test("the loss is the cross-entropy of the logits")
  func logits() throws {
    let probe = try ModelProbe(smallConfig([.local, .lsh]), length: 39)
    let classes = probe.model.config.vocabulary
    let logits = try probe.logits()
    var expected = 0.0
    for row in 0..<39 {
      let values = logits[row * classes..<(row + 1) * classes].map(Double.init)
      let largest = values.max() ?? 0
      let sum = values.reduce(0) { $0 + exp($1 - largest) }
      expected += largest + log(sum) - values[Int(probe.targets[row])]
    }
    // 39 single-precision terms of size 3.
    #expect(abs(try probe.loss() - expected) <= 39 * 3 * 0x1p-22)
  }

  @Test("negative targets are not scored and do not change the mean of the others")
  func maskedTargets() throws {
    let probe = try ModelProbe(smallConfig([.local, .lsh]))
    let all = probe.targets
    let whole = try probe.step() * 40
    let wholeGradient = probe.gradients.view.array
    var sum = 0.0
    var gradient = [Double](repeating: 0, count: wholeGradient.count)
    for part in 0..<3 {
      let scored = all.indices.filter { $0 % 3 == part }
      for (index, target) in all.enumerated() {
        probe.targets[index] = index % 3 == part ? target : (index % 2 == 0 ? -1 : -100)
      }
      let mean = try probe.step()
      // The mean is over scored positions; the sum is not.
      #expect(abs(try probe.loss() - mean * Double(scored.count)) <= 1e-12)
      sum += mean * Double(scored.count)
      for (index, value) in probe.gradients.view.array.enumerated() {
        gradient[index] += Double(value) * Double(scored.count) / 40
      }
    }
    #expect(abs(sum - whole) <= 1e-10)
    // Gradients are linear in the scored positions; three sums in single precision differ from one.
    #expect(relativeDifference(gradient, to: wholeGradient) <= 1e-5)
  }

  @Test("a later token never changes an earlier logit, bit for bit", arguments: [20, 39])
  func causality(change: Int) throws {
    let probe = try ModelProbe(smallConfig([.local, .full, .local, .full]))
    let before = try probe.logits()
    probe.inputs[change] = (probe.inputs[change] + 1) % 23
    let after = try probe.logits()
    #expect(before[..<(change * 23)].bitPatterns == after[..<(change * 23)].bitPatterns)
    #expect(before[(change * 23)...].bitPatterns != after[(change * 23)...].bitPatterns)
  }

  @Test("a shorter window gives the logits of the longer one's start")
  func prefix() throws {
    let long = try ModelProbe(smallConfig([.local, .full]))
    let short = try ModelProbe(smallConfig([.local, .full]), length: 21)
    short.inputs = Array(long.inputs[0..<21])
    // Shorter tiles may sum in another order; streams then differ by a step of 2^-18 in places.
    #expect(largestDifference(try short.logits(), try long.logits().prefix(21 * 23)) <= 1e-4)
  }

  @Test("groups are announced last to first, each once, with the gradients they end with")
  func groupOrder() throws {
    let probe = try ModelProbe(smallConfig([.local, .lsh, .full, .local], dropout: 0.1))
    let layout = probe.model.layout
    var announced: [(group: Int, bits: [UInt32])] = []
    try probe.step(
      observer: Announcements { group in
        let range = layout.groups[group].range
        announced.append((group, probe.gradients.view[range].array.bitPatterns))
      })
    #expect(announced.map(\.group) == Array(layout.groups.indices.reversed()))
    for (group, bits) in announced {
      let range = layout.groups[group].range
      #expect(bits == probe.gradients.view[range].array.bitPatterns, "\(layout.groups[group].name)")
      #expect(bits.contains { $0 != 0 })
    }
  }

  @Test("padding between tensors gets no gradient")
  func padding() throws {
    let probe = try ModelProbe(smallConfig([.local, .lsh]))
    try probe.step()
    var isPadding = [Bool](repeating: true, count: probe.gradients.count)
    for slot in probe.model.layout.slots {
      for place in slot.range { isPadding[place] = false }
    }
    #expect(isPadding.contains(true))
    for (place, padding) in isPadding.enumerated() where padding {
      #expect(probe.gradients.view[place] == 0)
    }
  }

  // With 30 fraction bits a stream holds numbers up to 2.
  @Test("a stream that leaves its range is an error that names the place and the remedy")
  func range() throws {
    let first = "reformer.encoder.layers."
    let cases: [(tensor: String, value: Float, place: String)] = [
      ("reformer.embeddings.word_embeddings.weight", 3, "embedding"),
      (first + "0.attention.output.dense.weight", 1e4, "layer 0, attention"),
      (first + "1.attention.output.dense.weight", .nan, "layer 1, attention"),
      (first + "1.feed_forward.output.dense.bias", 3, "layer 1, feed-forward"),
      (first + "0.feed_forward.output.dense.bias", .infinity, "layer 0, feed-forward"),
    ]
    let probe = try ModelProbe(
      smallConfig([.local, .lsh], residualFractionBits: 30), disorder: 0.01)
    for slot in probe.model.layout.slots {
      let writes = slot.name.contains("embeddings") || slot.name.contains("output.dense")
      if writes { Kernels.scale(probe.parameters.view[slot.range], by: 0.1) }
    }
    let sound = try probe.step()
    for (tensor, value, place) in cases {
      let values = probe.values(tensor)
      let kept = values.array
      values[0] = value
      for scored in [false, true] {
        let error = #expect(throws: ReformerError.self) {
          _ = scored ? try probe.step() : try probe.loss()
        }
        let message = error.map(String.init(describing:)) ?? ""
        #expect(message.hasPrefix(place + ":"), "\(message)")
        #expect(message.contains("residual_fraction_bits = 30"))
        #expect(!message.contains("\n"))
      }
      values.copy(from: kept)
    }
    // Memory lent to the failed passes was taken back, and nothing of them stays.
    #expect(try probe.step() == sound)
  }
}

/// Tells about groups whose gradients are final.
private struct Announcements: PassObserver {
  let tell: (Int) -> Void

  func ready(group: Int) { tell(group) }
}
