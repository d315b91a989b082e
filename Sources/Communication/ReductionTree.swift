// The one order in which gradients are summed, over the samples of a rank and over the ranks alike. If
// every rank's samples form aligned power-of-two blocks, the two together are the tree of a single rank.

/// Partial sums over a run of items, merged like the digits of a binary counter.
///
/// Item i carries as adding 1 to i does: equal, aligned power-of-two blocks merge, the earlier block
/// first. At the end the remaining blocks, largest and earliest first, are folded left to right.
public struct ReductionTree<Partial> {
  // levels[k] is the sum of a block of 2^k items, if there is one.
  private var levels: [Partial?] = []

  /// A tree of no items.
  public init() {}

  /// Adds the next item; `merge` makes one partial sum of an earlier and a later one.
  public mutating func push(
    _ item: Partial, merge: (_ earlier: Partial, _ later: Partial) -> Partial
  ) {
    var carry = item
    for level in levels.indices {
      guard let earlier = levels[level] else {
        levels[level] = carry
        return
      }
      levels[level] = nil
      carry = merge(earlier, carry)
    }
    levels.append(carry)
  }

  /// The sum of all items, or nil of none; the tree is empty afterwards.
  public mutating func fold(merge: (_ earlier: Partial, _ later: Partial) -> Partial) -> Partial? {
    var sum: Partial?
    for case let block? in levels.reversed() {
      sum = if let earlier = sum { merge(earlier, block) } else { block }
    }
    levels.removeAll(keepingCapacity: true)
    return sum
  }
}
