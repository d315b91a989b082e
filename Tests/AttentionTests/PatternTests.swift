// Fixed sparse patterns: what their queries see is what the papers say, written down pair by pair; it is all that is
// computed, and nothing in it depends on how long the sequence is.
import Attention
import Compute
import Glibc
import TestSupport
import Testing

@Suite("Fixed sparse patterns")
struct PatternTests {
  static let lengths = [1, 2, 13, 100, 333]

  /// Whether query `i` of head `head` sees key `j`, which is not later.
  typealias Definition = @Sendable (_ i: Int, _ j: Int, _ head: Int) -> Bool

  struct Case: Sendable, CustomStringConvertible {
    let layer: any AttentionLayer
    let sees: Definition
    let description: String

    init(_ layer: any AttentionLayer, _ sees: @escaping Definition) {
      (self.layer, self.sees, description) = (layer, sees, "\(layer)")
    }
  }

  // Longformer, section 3.1: figure 2b to d, seen from below the diagonal.
  static let sliding =
    (SlidingAttention.examples + [
      SlidingAttention(window: 3, dilation: [5], global: 2, globalEvery: 5),
      SlidingAttention(window: 9, global: 40), SlidingAttention(window: 4, globalEvery: 1),
      SlidingAttention(window: 1), SlidingAttention(window: 3, dilation: [500, 2]),
    ]).map { layer in
      Case(layer) { i, j, head in
        let step = layer.dilation[head % layer.dilation.count]
        func isGlobal(_ p: Int) -> Bool {
          p < layer.global || (layer.globalEvery > 0 && p % layer.globalEvery == 0)
        }
        return isGlobal(i) || isGlobal(j)
          || ((i - j) % step == 0 && (i - j) / step < layer.window)
      }
    }

  // Sparse Transformer, section 4.2: the union of A(1), whose window is l + 1 long, and A(2).
  static let strided = StridedAttention.examples.map { layer in
    Case(layer) { i, j, _ in i - j <= layer.stride || (i - j) % layer.stride == 0 }
  }

  static let fixed = FixedAttention.examples.map { layer in
    Case(layer) { i, j, _ in
      i / layer.stride == j / layer.stride || j % layer.stride >= layer.stride - layer.summary
    }
  }

  @Test(
    "queries see what the definition says, each key once", arguments: sliding + strided + fixed,
    lengths)
  func definition(test: Case, length: Int) {
    for firstHead in [0, 3] {
      let probe = AttentionProbe(test.layer, length: length, heads: 3, firstHead: firstHead)
      probe.forward()
      for head in 0..<3 {
        for (query, keys) in probe.sight(head: head).keys.enumerated() {
          let expected = (0...query).filter { test.sees(query, $0, firstHead + head) }
          #expect(keys.map(\.position).sorted() == expected, "query \(query), head \(head)")
        }
      }
    }
  }

  @Test(
    "useful operations are those of the pairs seen",
    arguments: (sliding + strided + fixed).map(\.layer) + BigBirdAttention.examples, lengths)
  func operations(layer: any AttentionLayer, length: Int) {
    // As many heads as share out the dilations.
    let probe = AttentionProbe(layer, length: length, heads: 2)
    probe.forward()
    let pairs = (0..<2).reduce(0) { sum, head in
      sum + probe.sight(head: head).keys.reduce(0) { $0 + $1.count }
    }
    let operations = layer.operations(length: length, features: 2 * probe.width)
    #expect(operations.scores == Double(2 * pairs * probe.width))
    #expect(operations.hash == 0)
  }

  /// Sizes whose lists have several tiles and spans.
  static let long: [any AttentionLayer] = [
    SlidingAttention(window: 150, global: 3), SlidingAttention(window: 90, dilation: [2, 5]),
    SlidingAttention(window: 700, dilation: [1], global: 1, globalEvery: 3),
    StridedAttention(stride: 1), StridedAttention(stride: 30),
    FixedAttention(stride: 40, summary: 30),
    BigBirdAttention(block: 32, window: 3, global: 20, random: 3),
    BigBirdAttention(block: 150, window: 1, global: 1, random: 4),
    SpanAttention(maximum: 900, ramp: 150, penalty: 0),
  ]

  /// Output and gradients of queries, keys and values of one head, by what each query sees, in double precision.
  private func dense(
    _ sight: Sight, _ inputs: [[Float]], _ incoming: [Float], width: Int,
    weight: (_ distance: Int) -> Double
  ) -> [[Double]] {
    func row(_ values: [Float], _ index: Int) -> [Double] {
      values[index * width..<(index + 1) * width].map(Double.init)
    }
    func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
    var results = [[Double]](
      repeating: [Double](repeating: 0, count: incoming.count), count: 4)
    func add(_ values: [Double], by factor: Double, to result: Int, _ index: Int) {
      for (feature, value) in values.enumerated() {
        results[result][index * width + feature] += factor * value
      }
    }
    let scale = 1 / Double(width).squareRoot()
    for (query, seen) in sight.keys.enumerated() {
      let keys = seen.map(\.position)
      let (own, gradient) = (row(inputs[0], query), row(incoming, query))
      let logits = keys.map { dot(own, row(inputs[1], $0)) * scale }
      let largest = logits.max() ?? 0
      let weights = zip(keys, logits).map { weight(query - $0) * exp($1 - largest) }
      let sum = weights.reduce(0, +)
      let slopes = keys.map { dot(gradient, row(inputs[2], $0)) }
      let mean = zip(weights, slopes).reduce(0) { $0 + $1.0 * $1.1 } / sum
      for (index, key) in keys.enumerated() {
        let probability = weights[index] / sum
        let logit = probability * (slopes[index] - mean) * scale
        add(row(inputs[2], key), by: probability, to: 0, query)
        add(row(inputs[1], key), by: logit, to: 1, query)
        add(own, by: logit, to: 2, key)
        add(gradient, by: probability, to: 3, key)
      }
    }
    return results
  }

  @Test("long sequences: output and gradients are those of what is seen", arguments: long)
  func long(layer: any AttentionLayer) {
    let probe = AttentionProbe(layer, length: 1300, width: 6, threads: 2, seed: 4)
    // One head sees across the places where runs are cut, the other does not.
    for own in probe.own { own.view.copy(from: [0.71, 0.2]) }
    let parameters = probe.own.map { $0.view.array.map(Double.init) }
    let output = probe.forward()
    let incoming = madeUpNormals(output.count, seed: 12)
    let results = [output] + probe.backward(incoming)
    for head in 0..<2 {
      let expected = dense(
        probe.sight(head: head), probe.projected.map { probe.head(head, of: $0) },
        probe.head(head, of: incoming), width: probe.width
      ) { layer.weight(distance: $0, head: head, parameters: parameters) }
      for (result, expected) in zip(results, expected) {
        // Sums of up to 1,300 terms whose logits are 1e-6 off.
        let scale = expected.map(abs).max() ?? 0
        #expect(
          largestDifference(probe.head(head, of: result)[...], expected[...]) <= 2e-5 * scale)
      }
    }
  }

  /// Random blocks of every block of queries, by what is seen beside the window and the global blocks.
  private func randomBlocks(_ layer: BigBirdAttention, _ probe: AttentionProbe, head: Int)
    -> [[Int]]
  {
    var blocks: [[Int]] = []
    for (query, keys) in probe.sight(head: head).keys.enumerated() {
      let index = query / layer.block
      let isGlobal = index < layer.global
      func sees(_ key: Int) -> Bool {
        isGlobal || key / layer.block < layer.global || key / layer.block > index - layer.window
      }
      let (known, rest) = (
        keys.map(\.position).filter(sees), keys.map(\.position).filter { !sees($0) }
      )
      #expect(known.sorted() == (0...query).filter(sees))
      // Whole blocks, each once.
      let drawn = Set(rest.map { $0 / layer.block }).sorted()
      #expect(rest == drawn.flatMap { $0 * layer.block..<($0 + 1) * layer.block })
      let candidates = isGlobal ? 0 : max(0, index - layer.window + 1 - layer.global)
      #expect(drawn.count == min(layer.random, candidates))
      if query % layer.block == 0 { blocks.append(drawn) } else { #expect(blocks.last == drawn) }
    }
    return blocks
  }

  @Test(
    "BigBird: window, global blocks, and as many random ones as there are",
    arguments: BigBirdAttention.examples, lengths)
  func bigBird(layer: BigBirdAttention, length: Int) {
    let probe = AttentionProbe(layer, length: length)
    probe.forward()
    for head in 0..<2 { _ = randomBlocks(layer, probe, head: head) }
  }

  @Test("random blocks differ by seed and head, not by step or length, and all are drawn")
  func draws() {
    let layer = BigBirdAttention(block: 2, window: 1, global: 1, random: 3)
    func blocks(
      length: Int = 200, head: Int = 0, firstHead: Int = 0, seed: UInt64 = 1, step: UInt64 = 1
    ) -> [[Int]] {
      let probe = AttentionProbe(layer, length: length, firstHead: firstHead, seed: seed)
      probe.draw(step: step)
      probe.forward()
      return randomBlocks(layer, probe, head: head)
    }
    let usual = blocks()
    #expect(blocks(step: 9) == usual)
    #expect(blocks(length: 90) == Array(usual[..<45]))
    #expect(blocks(head: 1) != usual && blocks(head: 1) == blocks(firstHead: 1))
    #expect(blocks(seed: 2) != usual)
    // Of some 300 draws none avoids the first or the last candidates throughout.
    let places = usual.enumerated().flatMap { index, drawn in
      drawn.map { Double($0 - 1) / Double(max(1, index - 2)) }
    }
    #expect(places.contains(0) && places.contains(1))
    #expect(abs(places.reduce(0, +) / Double(places.count) - 0.5) < 0.06)
  }
}
