// Plain residual blocks: what they compute, told from reversible ones; gradients are checked in GradientTests.
import Attention
import Compute
import Reformer
import TestSupport
import Testing

@Suite("Plain residual blocks")
struct PlainResidualTests {
  private static let kinds = AttentionKind.allCases.map { [$0] }

  // With X1 = X2 = x a reversible layer comes to Y1 = x + F(x) and Y2 = x + G(Y1). A plain one is x + F(x) + G(x + F(x)).
  @Test("a layer is x + F(x) + G(x + F(x)), to the integer", arguments: kinds)
  func definition(kinds: [AttentionKind]) throws {
    let reversible = try ModelProbe(smallConfig(kinds, headsPerGroup: 1))
    let plain = try ModelProbe(smallConfig(kinds, headsPerGroup: 1, residual: .plain))
    let x = reversible.embeddedStreams()
    #expect(x.first == x.second && plain.embeddedStreams() == x)
    _ = try reversible.loss()
    let y = reversible.model.currentStreams
    let expected = zip(zip(y.first, y.second), x.first).map { $0.0 + $0.1 - $1 }
    _ = try plain.loss()
    #expect(plain.model.currentStreams == (expected, expected))
    #expect(expected != x.first)
  }

  @Test("layers follow each other: of two, the second begins with what the first has left")
  func depth() throws {
    let one = try ModelProbe(smallConfig([.local], residual: .plain), disorder: 0)
    let two = try ModelProbe(smallConfig([.local, .local], residual: .plain), disorder: 0)
    // The layers of both are those of the first, but that the second layer adds nothing.
    for slot in one.model.layout.slots {
      two.values(slot.name).copy(from: one.values(slot.name))
    }
    for name in ["attention.output.dense.weight", "feed_forward.output.dense.weight"] {
      two.values("reformer.encoder.layers.1.\(name)").fill(0)
    }
    two.values("reformer.encoder.layers.1.feed_forward.output.dense.bias").fill(0)
    #expect(try two.logits().bitPatterns == one.logits().bitPatterns)
    let bias = two.values("reformer.encoder.layers.1.feed_forward.output.dense.bias")
    bias.fill(0.5)
    _ = try one.loss()
    _ = try two.loss()
    let step = Int32(1 << 17)
    #expect(two.model.currentStreams.first == one.model.currentStreams.first.map { $0 + step })
    #expect(two.model.currentStreams.second == two.model.currentStreams.first)
  }

  @Test("a pass that goes on by sub-layers comes to the streams of a whole one")
  func stepped() throws {
    let probe = try ModelProbe(
      smallConfig([.local, .lsh, .full], length: 300, axialShape: [20, 15], residual: .plain),
      threads: 2)
    _ = try probe.loss()
    let whole = probe.model.currentStreams
    let pass = try probe.model.steppedPass(
      parameters: probe.parameters.view, window: probe.window, address: probe.address)
    for index in pass.names.indices { try pass.run(index) }
    #expect(probe.model.currentStreams == whole)
  }

  @Test("a step has the same bits at 1, 2 and 3 threads and when it is repeated")
  func threads() throws {
    let config = smallConfig(
      [.local, .lsh, .full], length: 1300, axialShape: [26, 50], dropout: 0.1,
      attentionDropout: 0.1, residual: .plain)
    let runs = try [1, 2, 3, 3].map { threads in
      let probe = try ModelProbe(config, threads: threads, disorder: 0.05)
      if threads == 3 { try probe.step() }
      return (try probe.step(), probe.gradients.view.array.bitPatterns)
    }
    for run in runs { #expect(run == runs[0]) }
  }
}
