// Fixed attention (Child et al. 2019, "Generating long sequences with sparse transformers", section 4.2, figure 3c).
import Compute

/// Causal attention to the own block of `stride` positions and to the last `summary` ones of every earlier block.
///
/// The paper has heads for either part, or heads that merge both; these merge them, in one softmax. All heads share the
/// summary positions.
public struct FixedAttention: PatternLayer, Equatable {
  /// Positions of a block.
  public var stride: Int
  /// Last positions of a block that all later blocks see.
  public var summary: Int

  /// A layer with these sizes.
  public init(stride: Int = 128, summary: Int = 8) {
    self.stride = stride
    self.summary = summary
  }

  /// `fixed`.
  public static let name = "fixed"
  /// Blocks that end in a tile and with it, whose summary is some of it, all, and none.
  public static let examples = [(12, 2), (32, 1), (3, 3), (70, 0)].map {
    FixedAttention(stride: $0.0, summary: $0.1)
  }

  /// Blocks of at least a position that hold their summary.
  public var problem: String? {
    (1...1 << 27).contains(stride) && (0...stride).contains(summary)
      ? nil : "stride \(stride), summary \(summary); legal: 1 or more, 0 to stride"
  }

  /// Of the keys that each query sees.
  public func operations(length: Int, features: Int) -> (scores: Double, hash: Double) {
    let (blocks, rest) = length.quotientAndRemainder(dividingBy: stride)
    func triangle(_ count: Int) -> Double { Double(count) * Double(count + 1) / 2 }
    let own = Double(blocks) * triangle(stride) + triangle(rest)
    let before = Double(stride) * triangle(blocks - 1) + Double(rest) * Double(blocks)
    return (2 * (own + Double(summary) * before) * Double(features), 0)
  }

  private func isSummary(_ position: Int) -> Bool { position % stride >= stride - summary }

  func sizes(length: Int) -> [SightList.Size] {
    let blocks = (length + stride - 1) / stride
    return [
      SightList.Size(queries: length, keys: length),
      SightList.Size(queries: summary > 0 ? length : 0, keys: min(length, blocks * summary)),
    ]
  }

  /// The own block; and summaries.
  func lists(_ choice: View<Int32>, length: Int, from arena: ScratchArena) -> [SightList] {
    let sizes = sizes(length: length)
    var blocks = SightList.Writer(sizes[0], from: arena)
    var summaries = SightList.Writer(sizes[1], from: arena)
    for position in 0..<length {
      let block = position / stride
      blocks.key(position)
      blocks.query(position, sees: block * stride..<position + 1)
      guard summary > 0 else { continue }
      summaries.query(position, sees: 0..<block * summary)
      if isSummary(position) { summaries.key(position) }
    }
    blocks.endStrand()
    summaries.endStrand()
    return [blocks.list, summaries.list]
  }
}
