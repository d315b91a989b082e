// Where the sight of a head fades out (Sukhbaatar et al. 2019, "Adaptive attention span in transformers", section 3.1).
import Compute

/// A key d positions before its query counts by (ramp + span - d) / ramp, but by 1 at most, and not at all below 0.
///
/// It is a number to be added to a logit, which is the same for all queries: the logarithm. n distances lie between the span,
/// up to which nothing is to be added, and the one from which on nothing is seen.
struct SoftEdge {
  /// Positions that a query sees, itself included.
  let window: Int
  /// `[n]`: logarithms of what the farthest keys count by, the farthest first.
  private let logarithms: View<Float>
  /// `[n]`: their derivatives by the span.
  private let slopes: View<Float>

  /// Floats that an edge takes.
  static func floats(ramp: Int) -> Int { 2 * ramp }

  /// Positions within `ramp` of a span, the query's own included.
  static func window(span: Double, ramp: Int) -> Int {
    Int((span + Double(ramp)).rounded(.up))
  }

  /// The edge of a span of 0 or more, lent by `arena`.
  init(span: Double, ramp: Int, from arena: ScratchArena) {
    window = Self.window(span: span, ramp: ramp)
    let count = window - 1 - Int(span)
    (logarithms, slopes) = (arena.floats(count), arena.floats(count))
    for place in 0..<count {
      let left = span + Double(ramp) - Double(window - 1 - place)
      logarithms[place] = Float(DoubleFunctions.log(left / Double(ramp)))
      slopes[place] = Float(1 / left)
    }
  }

  /// Places of the first keys that a query sees from `key` on, of `count`: those that have faded.
  private func faded(query: Int, key: Int, count: Int) -> Range<Int> {
    let first = window - 1 - (query - key)
    return first..<max(first, min(first + count, logarithms.count))
  }

  /// Adds to the logits of a query with the keys from `key` on.
  func fade(_ logits: View<Float>, query: Int, firstKey key: Int) {
    let places = faded(query: query, key: key, count: logits.count)
    if !places.isEmpty { Kernels.add(logits[0..<places.count], logarithms[places]) }
  }

  /// Derivative by the span, from gradients of such logits.
  func derivative(_ gradients: View<Float>, query: Int, firstKey key: Int) -> Double {
    var sum = 0.0
    for (index, place) in faded(query: query, key: key, count: gradients.count).enumerated() {
      sum += Double(gradients[index]) * Double(slopes[place])
    }
    return sum
  }
}
