// Gradients against differences of the loss. Directions are random normal, so that the expected
// product with the gradient is as large as the gradient and an error in any element shows.
import Compute

/// Compares claimed gradients with finite differences.
public enum GradientCheck {
  /// Derivative at 0 of a function of one number.
  ///
  /// Central differences at `step` and `step / 2`, combined so that errors of order step^2 cancel
  /// (Richardson). What remains is of order step^4, and noise of the loss divided by `step`.
  public static func derivative(
    step: Double, _ loss: (Double) throws -> Double
  ) rethrows -> Double {
    let whole = (try loss(step) - loss(-step)) / (2 * step)
    let half = (try loss(step / 2) - loss(-step / 2)) / step
    return (4 * half - whole) / 3
  }

  /// Worst |measured - claimed| / max(|gradient|, floor) over random directions.
  ///
  /// - `floor`: size below which a gradient counts as rounding around 0.
  /// - `gradient`: claimed gradient at `point`. `loss`: reads `point`, put back afterwards.
  public static func worstError(
    of gradient: [Float], at point: View<Float>, step: Double, directions: Int = 2,
    floor: Double, seed: UInt64, loss: () throws -> Double
  ) rethrows -> Double {
    let start = point.array
    defer { point.copy(from: start) }
    return try worst(gradient, directions: directions, floor: floor, seed: seed) { direction in
      try derivative(step: step) { offset in
        for index in start.indices {
          point[index] = Float(Double(start[index]) + offset * Double(direction[index]))
        }
        return try loss()
      }
    }
  }

  /// The same for a loss in double precision, where a step of 1e-4 leaves errors below 1e-7.
  public static func worstError(
    of gradient: [Float], at point: [Float], directions: Int = 2, floor: Double, seed: UInt64,
    loss: ([Double]) -> Double
  ) -> Double {
    worst(gradient, directions: directions, floor: floor, seed: seed) { direction in
      derivative(step: 1e-4) { offset in
        loss(zip(point, direction).map { Double($0) + offset * Double($1) })
      }
    }
  }

  private static func worst(
    _ gradient: [Float], directions: Int, floor: Double, seed: UInt64,
    measure: ([Float]) throws -> Double
  ) rethrows -> Double {
    let size = gradient.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
    var worst = 0.0
    for number in 0..<directions {
      let direction = madeUpNormals(gradient.count, seed: seed &* 1000 &+ UInt64(number))
      let claimed = zip(gradient, direction).reduce(0) { $0 + Double($1.0) * Double($1.1) }
      let error = abs(try measure(direction) - claimed) / max(size, floor)
      worst = error.isNaN ? .infinity : max(worst, error)
    }
    return worst
  }
}
