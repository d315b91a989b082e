// What a rank keeps for some places of the flat layout: moments and averages of the optimizer.

/// Numbers for some places of a layout, which checkpoints keep under a name.
public struct LayoutShard: Sendable {
  /// The name in checkpoints: `first_moment`.
  public let name: String
  /// Places in the flat layout, in the order of the numbers.
  public let ranges: [Range<Int>]
  /// The numbers of the ranges one after the other, `[sum of range counts]`.
  public let values: Buffer<Float>

  /// Zeros for `ranges`.
  public init(_ name: String, ranges: [Range<Int>]) {
    self.name = name
    self.ranges = ranges
    values = Buffer(Self.count(ranges))
  }

  /// Numbers that `ranges` have together.
  public static func count(_ ranges: [Range<Int>]) -> Int { ranges.reduce(0) { $0 + $1.count } }
}
