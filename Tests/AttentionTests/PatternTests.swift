// Fixed sparse patterns: what their queries see is what the papers say, written down pair by pair; it is all that is
// computed, and nothing in it depends on how long the sequence is.
import Attention
import Compute
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
