import Compute

/// Moments for tests.
enum Moments {
  /// Two moments of `ranges`, and averages where asked for: the number of a place, minus that, and twice.
  static func of(
    _ ranges: [Range<Int>], averages: Bool = false, _ number: (Int) -> Float
  ) -> [LayoutShard] {
    let names = [("first_moment", 1), ("second_moment", -1)] + (averages ? [("average", 2)] : [])
    return names.map { name, factor in
      let shard = LayoutShard(name, ranges: ranges)
      shard.values.view.copy(from: ranges.joined().map { Float(factor) * number($0) })
      return shard
    }
  }
}
