// Pairs of like lengths in one step: nothing is padded, but ranks wait for the one whose pairs are longest.
import Synchronization

/// Which pairs of an epoch are in a step together.
///
/// So many steps' pairs in random order are sorted by their bytes and cut into steps again, which come in an order of their own:
/// a function of the pairs and of the seed, whatever the ranks.
final class LengthGroups: Sendable {
  /// Steps that are sorted together: lengths of a step are alike to a sixteenth, and a step still has pairs from anywhere.
  private static let steps = 16

  /// Steps that were sorted together.
  private struct Pool {
    let key: UInt64
    let order: [Int]
  }

  private let pairs: LinePairs
  /// Pairs of a step.
  private let size: Int
  /// The last one: steps ask for all pairs of one before those of another, several times each.
  private let last = Mutex<Pool?>(nil)

  /// Groups of `size` of the first pairs.
  init(of pairs: LinePairs, size: Int) {
    self.pairs = pairs
    self.size = size
  }

  /// Pairs that an epoch visits of `count`: whole steps, where there is one; which pairs are left out is its order's matter.
  func visited(of count: Int) -> Int { count < size ? count : count - count % size }

  /// The pair that comes at `place` of an epoch that visits `count`, in the random order `order` without groups; `key` gives
  /// the keys of the orders of steps, all different.
  func pair(
    at place: Int, of count: Int, in order: RandomOrder, key: (_ pool: Int) -> UInt64
  ) -> Int {
    guard count >= size else { return order[place] }
    let (number, offset) = place.quotientAndRemainder(dividingBy: size * Self.steps)
    let key = key(number)
    return last.withLock { last in
      if let last, last.key == key { return last.order[offset] }
      let first = place - offset
      let pool = pool(first..<min(first + size * Self.steps, count), of: order, key: key)
      last = pool
      return pool.order[offset]
    }
  }

  private func pool(_ places: Range<Int>, of order: RandomOrder, key: UInt64) -> Pool {
    let sorted = places.sorted { one, other in
      let (first, second) = (pairs.byteCount(order[one]), pairs.byteCount(order[other]))
      return first == second ? one < other : first < second
    }
    let steps = RandomOrder(count: places.count / size, key: key)
    var ordered: [Int] = []
    for step in 0..<places.count / size {
      let first = steps[step] * size
      // In the order in which they would come without groups: no rank has the longer ones.
      ordered += sorted[first..<first + size].sorted().map { order[$0] }
    }
    return Pool(key: key, order: ordered)
  }
}
