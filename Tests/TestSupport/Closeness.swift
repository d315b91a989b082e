// How far numbers are from what they should be. A NaN or a missing element is infinitely far.

/// Largest |a[i] - b[i]|.
public func largestDifference(
  _ first: some Collection<some BinaryFloatingPoint>,
  _ second: some Collection<some BinaryFloatingPoint>
) -> Double {
  guard first.count == second.count else { return .infinity }
  return zip(first, second).reduce(0) { worst, pair in
    let difference = abs(Double(pair.0) - Double(pair.1))
    return difference.isNaN ? .infinity : max(worst, difference)
  }
}

/// |a - b| / |b| in Euclidean norms.
public func relativeDifference(
  _ value: some Collection<some BinaryFloatingPoint>,
  to expected: some Collection<some BinaryFloatingPoint>
) -> Double {
  guard value.count == expected.count else { return .infinity }
  var (difference, size) = (0.0, 0.0)
  for (one, other) in zip(value, expected) {
    difference += (Double(one) - Double(other)) * (Double(one) - Double(other))
    size += Double(other) * Double(other)
  }
  let relative = (difference / max(size, 1e-300)).squareRoot()
  return relative.isNaN ? .infinity : relative
}

extension Collection<Float> {
  /// The numbers' bits: equality of these tells 0 from -0 and finds NaN equal to itself.
  public var bitPatterns: [UInt32] { map(\.bitPattern) }
}
