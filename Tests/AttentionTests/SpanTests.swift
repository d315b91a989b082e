// Learnt spans: what a head sees, how much of it, and what its span learns from.
import Attention
import Compute
import TestSupport
import Testing

@Suite("Learnt spans")
struct SpanTests {
  private func probe(
    _ layer: SpanAttention, _ shares: [Float], length: Int = 60, width: Int = 8
  ) -> AttentionProbe {
    let probe = AttentionProbe(layer, length: length, heads: shares.count, width: width)
    probe.own[0].view.copy(from: shares)
    return probe
  }

  @Test(
    "a head sees the keys that weigh more than nothing, and no others",
    arguments: [1, 7], [0, 0.25, 0.3, 0.999, 1, -0.4, 1.7] as [Float])
  func sight(ramp: Int, share: Float) {
    let layer = SpanAttention(maximum: 20, ramp: ramp)
    let probe = probe(layer, [0.5, share])
    probe.forward()
    let span = Double(min(max(share, 0), 1)) * 20
    for (query, keys) in probe.sight(head: 1).keys.enumerated() {
      let expected = (0...query).filter { Double(query - $0) < span + Double(ramp) }
      #expect(keys.map(\.position) == expected, "query \(query)")
    }
  }

  // Values of 1 where a key is so far away and 0 elsewhere, and keys that all score alike: outputs are weights.
  @Test("how much of a key is seen falls along the ramp")
  func ramp() {
    let layer = SpanAttention(maximum: 20, ramp: 8)
    let (length, width) = (40, 40)
    let probe = probe(layer, [0.325], length: length, width: width)
    probe.projected[0] = [Float](repeating: 0, count: length * width)
    probe.projected[2] = (0..<length * width).map { $0 / width == $0 % width ? 1 : 0 }
    let output = probe.forward()
    // A span of 6.5: distances up to 6 in full, then 7.5 eighths, 6.5 and so on.
    let weights = (0..<40).map { $0 <= 6 ? 1 : max(0, 14.5 - Float($0)) / 8 }
    for query in 0..<length {
      let seen = (0...query).map { weights[query - $0] }
      let sum = seen.reduce(0, +)
      for (key, weight) in seen.enumerated() {
        #expect(abs(output[query * width + key] - weight / sum) < 1e-6)
      }
    }
  }

  @Test("the penalty pulls at spans within their limits, each by its part of the mean")
  func penalty() {
    let shares: [Float] = [0.3, 0, 1, -0.1, 1.2]
    let gradients = [0, 0.02].map { penalty in
      let probe = probe(SpanAttention(maximum: 50, ramp: 4, penalty: penalty), shares)
      _ = probe.backward(probe.forward())
      return probe.ownGradients[0]
    }
    for (head, share) in shares.enumerated() {
      let pull = gradients[1][head] - gradients[0][head]
      // Of gradients of about 10, in single precision.
      #expect(abs(pull - (0...1 ~= share ? 0.02 * 50 / 5 : 0)) < 1e-5, "head \(head)")
    }
    #expect(gradients[0][0] != 0 && gradients[0][1] != 0 && gradients[0][3] == 0)
  }

  @Test(
    "operations are those of the pairs that the largest spans see",
    arguments: SpanAttention.examples, [1, 13, 100, 333])
  func operations(layer: SpanAttention, length: Int) {
    let probe = probe(layer, [1, 1], length: length)
    probe.forward()
    let pairs = probe.sight(head: 0).keys.reduce(0) { $0 + $1.count }
    #expect(layer.operations(length: length, features: 16).scores == Double(2 * pairs * 16))
  }
}
