// Blocks chosen by content: the choice is that of its definition, and nothing else is computed.
import Attention
import Compute
import TestSupport
import Testing

@Suite("Blocks chosen by landmarks")
struct BlocksTests {
  static let lengths = [1, 2, 13, 100, 333]
  /// Sizes that compare all landmarks.
  static let oneLevel = BlocksAttention.examples.prefix(4)

  /// What each query of a head chooses, by what it sees beside the window.
  private func choices(
    _ layer: BlocksAttention, _ probe: AttentionProbe, head: Int
  ) -> [[Int]] {
    probe.sight(head: head).keys.enumerated().map { query, keys in
      let start = max(0, query / layer.block - layer.window + 1) * layer.block
      let window = keys.filter { $0.mixture == nil }.map(\.position)
      #expect(window == Array(start...query))
      let chosen = keys.filter { $0.mixture != nil }
      #expect(chosen.allSatisfy { $0.mixture == $0.position && $0.position < start })
      // Whole blocks in order, each once.
      let blocks = Set(chosen.map { $0.position / layer.block }).sorted()
      #expect(
        chosen.map(\.position)
          == blocks.flatMap { $0 * layer.block..<($0 + 1) * layer.block })
      #expect(blocks.count == min(layer.top, start / layer.block))
      return blocks
    }
  }

  @Test(
    "queries see their window, and the blocks whose landmarks they meet most", arguments: lengths)
  func choice(length: Int) {
    for layer in Self.oneLevel {
      let probe = AttentionProbe(layer, length: length, seed: 5)
      probe.forward()
      for head in 0..<2 {
        let (queries, keys) = (
          probe.head(head, of: probe.projected[0]), probe.head(head, of: probe.projected[1])
        )
        for (query, chosen) in choices(layer, probe, head: head).enumerated() {
          let candidates = max(0, query / layer.block - layer.window + 1)
          let scores = (0..<candidates).map { block in
            (0..<layer.block * probe.width).reduce(0.0) {
              let feature = query * probe.width + $1 % probe.width
              return $0 + Double(queries[feature])
                * Double(keys[block * layer.block * probe.width + $1]) / Double(layer.block)
            }
          }
          let others = (0..<candidates).filter { !chosen.contains($0) }.map { scores[$0] }
          let worst = chosen.map { scores[$0] }.min() ?? 0
          #expect((others.max() ?? -.infinity) <= worst + 1e-5, "query \(query), head \(head)")
        }
      }
    }
  }

  @Test("of equal blocks the earlier are chosen, in groups, too", arguments: [40, 100, 333])
  func ties(length: Int) {
    for layer in BlocksAttention.examples {
      let probe = AttentionProbe(layer, length: length)
      probe.projected[1] = [Float](repeating: 0.5, count: probe.projected[1].count)
      probe.forward()
      for chosen in choices(layer, probe, head: 1) {
        #expect(chosen == Array(chosen.indices))
      }
    }
  }

  @Test(
    "a block that is like the query is found, at both levels", arguments: BlocksAttention.examples)
  func found(layer: BlocksAttention) {
    let length = 900
    let probe = AttentionProbe(layer, length: length, width: 4)
    // Keys and queries of position p point where no other third of the sequence does, in feature p / 300.
    for index in 0...1 {
      for place in probe.projected[index].indices {
        let (position, feature) = (place / 8, place % 4)
        let asked = index == 0 ? (position + 300) / 300 % 3 : position / 300
        probe.projected[index][place] = feature == asked ? 1 : 0
      }
    }
    probe.forward()
    // The last third looks for the first.
    for (query, chosen) in choices(layer, probe, head: 0).enumerated().dropFirst(600) {
      let start = max(0, query / layer.block - layer.window + 1)
      let inside = (0..<start).filter { ($0 + 1) * layer.block <= 300 }
      #expect(chosen == Array(inside.prefix(layer.top)) + chosen.dropFirst(inside.count))
    }
  }

  @Test(
    "useful operations are those of the pairs seen", arguments: BlocksAttention.examples, lengths)
  func operations(layer: BlocksAttention, length: Int) {
    let probe = AttentionProbe(layer, length: length)
    probe.forward()
    let pairs = (0..<2).reduce(0) { sum, head in
      sum + probe.sight(head: head).keys.reduce(0) { $0 + $1.count }
    }
    #expect(
      layer.operations(length: length, features: 2 * probe.width).scores
        == Double(2 * pairs * probe.width))
  }
}
