// What the random features of linear attention estimate.
import Attention
import Compute
import Glibc
import TestSupport
import Testing

@Suite("Random features")
struct LinearAttentionTests {
  private static let width = 8

  /// Estimates of exp(q.k / sqrt(K)) over the exact number, one for each of `draws` seeds.
  private func estimates(features: Int, draws: Int, scale: Float) -> [Double] {
    let query = madeUpNormals(Self.width, seed: 1, scale: scale).map(Double.init)
    let key = madeUpNormals(Self.width, seed: 2, scale: scale).map(Double.init)
    let root = Double(Self.width).squareRoot()
    let square = query.reduce(0) { $0 + $1 * $1 } / root
    let exact = zip(query, key).reduce(0) { $0 + $1.0 * $1.1 } / root
    let layer = LinearAttention(features: features)
    let engine = Engine(threads: 1)
    return (0..<draws).map { seed in
      let pass = AttentionPass(
        address: RandomAddress(seed: UInt64(seed), step: 0, sample: 0), layer: 0, firstHead: 0,
        dropout: 0, givenRotations: nil, engine: engine)
      let logit = layer.logits(head: 0, headWidth: Self.width, pass: pass)
      return exp(logit(query[...], key[...]) - square / 2 - exact) / Double(features)
    }
  }

  @Test("their mean over draws is the weight of a softmax", arguments: [5, 8, 20, 64])
  func mean(features: Int) {
    let draws = 2000
    let seen = estimates(features: features, draws: draws, scale: 0.5)
    let mean = seen.reduce(0, +) / Double(draws)
    let variance = seen.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(draws - 1)
    // Five standard errors, and what the floor adds.
    #expect(abs(mean - 1) <= 5 * (variance / Double(draws)).squareRoot() + 1e-4)
  }

  @Test("outputs approach those of full attention as features become more")
  func outputs() {
    func output(_ layer: any AttentionLayer) -> [Float] {
      let probe = AttentionProbe(layer, length: 150, threads: 2)
      probe.projected = probe.projected.map { $0.map { $0 / 4 } }
      return probe.forward()
    }
    let exact = output(FullAttention(sharesQueryKey: false))
    let errors = [16, 4096].map { features in
      zip(output(LinearAttention(features: features)), exact).reduce(0.0) {
        $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1))
      }
    }
    // As one over their number, but for luck.
    #expect(errors[1] < errors[0] / 40)
  }

  @Test("directions are drawn anew when the config says so, and do not depend on the sample")
  func redraw() {
    func output(_ redraw: Int, step: UInt64) -> [UInt32] {
      let probe = AttentionProbe(LinearAttention(features: 16, redraw: redraw), length: 20)
      probe.draw(step: step)
      return probe.forward().bitPatterns
    }
    #expect(output(0, step: 0) == output(0, step: 1000))
    #expect(output(10, step: 10) == output(10, step: 19))
    #expect(output(10, step: 10) != output(10, step: 20))
  }
}
