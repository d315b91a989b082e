// Curves of figures: made smooth, and thinned to what can be seen.
import Foundation

/// A value, and where it was measured.
struct CurvePoint: Equatable {
  let x: Double
  let y: Double
}

extension [CurvePoint] {
  /// A running mean over x that begins at the first value.
  ///
  /// Each value counts for the stretch from the one before it, and that weight falls to 1/e over a further `span`.
  func smoothed(over span: Double) -> [CurvePoint] {
    // The weights so far, so that the first values do not count for those that are not there.
    var (sum, weight, place) = (0.0, 0.0, 0.0)
    return map { point in
      let stretch = Swift.max(point.x - place, 1e-9)
      let decay = exp(-stretch / span)
      sum = decay * sum + stretch * point.y
      weight = decay * weight + stretch
      place = point.x
      return CurvePoint(x: point.x, y: sum / weight)
    }
  }

  /// At most about `count` points: the first, the last, and of each stretch of points between the least and the greatest,
  /// so that no spike is lost.
  func thinned(to count: Int) -> [CurvePoint] {
    guard self.count > count, let first, let last else { return self }
    let stretches = Swift.max(1, count / 2)
    var result = [first]
    for stretch in 0..<stretches {
      let range = stretch * self.count / stretches..<(stretch + 1) * self.count / stretches
      guard let least = range.min(by: { self[$0].y < self[$1].y }),
        let greatest = range.max(by: { self[$0].y < self[$1].y })
      else { continue }
      result += Set([least, greatest]).sorted().map { self[$0] }
    }
    return result + [last]
  }
}
