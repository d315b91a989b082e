// The sizes that positions are cut by.

/// How a sequence is cut.
///
/// Fixed numbers: sums over positions are added tile by tile and block by block, so these sizes are
/// part of what the bits depend on.
public enum Tiling {
  /// Positions whose activations stay in a core's second-level cache.
  public static let tileRows = 128
  /// Positions after which weight gradients are added up.
  public static let blockRows = 1024

  /// Positions after which sums of tiles are added to those of spans before.
  public static let spanRows = 128 * tileRows

  /// Cuts `0..<count` in ranges of `size`, the last one shorter.
  public static func ranges(_ count: Int, by size: Int) -> [Range<Int>] {
    ranges(0..<count, by: size)
  }

  /// Cuts `range` in ranges of `size`, the last one shorter.
  public static func ranges(_ range: Range<Int>, by size: Int) -> [Range<Int>] {
    Swift.stride(from: range.lowerBound, to: range.upperBound, by: size).map {
      $0..<min($0 + size, range.upperBound)
    }
  }
}
