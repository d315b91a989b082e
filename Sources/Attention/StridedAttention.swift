// Strided attention (Child et al. 2019, "Generating long sequences with sparse transformers", section 4.2, figure 3b).
import Compute

/// Causal attention to the last `stride` positions and to every `stride`-th one before.
///
/// The paper has heads for either part, or heads that merge both; these merge them, in one softmax.
public struct StridedAttention: PatternLayer, Equatable {
  /// Positions of the window, and from one that is seen before it to the next.
  public var stride: Int

  /// A layer with this stride.
  public init(stride: Int = 128) { self.stride = stride }

  /// `strided`.
  public static let name = "strided"
  /// Strides that see several earlier positions, one more, and none.
  public static let examples = [6, 1, 40].map { StridedAttention(stride: $0) }

  /// At least 1.
  public var problem: String? {
    (1...1 << 27).contains(stride) ? nil : "stride \(stride); legal: 1 or more"
  }

  /// Of the keys that each query sees.
  public func operations(length: Int, features: Int) -> (scores: Double, hash: Double) {
    // Whole windows, but for the first ones; as many keys before as whole strides.
    let short = Double(min(stride, length))
    let (blocks, rest) = length.quotientAndRemainder(dividingBy: stride)
    let windows = Double(length) * short - short * (short - 1) / 2
    let before =
      Double(stride) * Double(blocks) * Double(blocks - 1) / 2 + Double(rest) * Double(blocks)
    return (2 * (windows + before) * Double(features), 0)
  }

  func sizes(length: Int) -> [SightList.Size] {
    [
      SightList.Size(queries: length, keys: length),
      SightList.Size(queries: length, keys: length, strands: min(stride, length)),
    ]
  }

  /// The window; and earlier positions of the same residue class, one class after the other.
  func lists(_ choice: View<Int32>, length: Int, from arena: ScratchArena) -> [SightList] {
    let sizes = sizes(length: length)
    var windows = SightList.Writer(sizes[0], from: arena)
    for position in 0..<length {
      windows.key(position)
      windows.query(position, sees: max(0, position - stride + 1)..<position + 1)
    }
    windows.endStrand()
    var before = SightList.Writer(sizes[1], from: arena)
    for start in 0..<min(stride, length) {
      let first = before.keyCount
      for position in Swift.stride(from: start, to: length, by: stride) {
        before.query(position, sees: first..<before.keyCount)
        before.key(position)
      }
      before.endStrand()
    }
    return [windows.list, before.list]
  }
}
