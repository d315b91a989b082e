// Adafactor: second moments of a matrix from means of its rows and columns.
import Compute

/// Adafactor (Shazeer and Stern 2018) without a first moment, its rate that of the schedule.
///
/// A step of the tensor p takes rate (max(1e-3, rms(p)) u / max(1, rms(u)) + decay p), with u = g / sqrt(v) and v
/// the mean of squares with decay 1 - step^-0.8; of a matrix, v = R C / mean(R) of the means R of rows and C of columns.
enum Adafactor {
  // The paper's epsilon 1 and 2.
  private static let leastSquare = 1e-30
  private static let leastScale = 1e-3

  /// u of a matrix, in scratch.
  static func direction(
    _ gradient: Matrix, rowMeans: View<Float>, columnMeans: View<Float>, factors: UpdateFactors,
    scratch: ScratchArena
  ) -> View<Float> {
    let (rows, columns) = (gradient.rows, gradient.columns)
    let (scale, share) = (factors.gradientScale, share(factors))
    let columnSquares = scratch.doubles(columns)
    columnSquares.fill(0)
    var total = 0.0
    for row in 0..<rows {
      Kernels.addSquares(of: gradient.row(row), to: columnSquares)
      let square = Kernels.sumOfSquares(gradient.row(row)) * scale * scale / Double(columns)
      total += follow(&rowMeans.base[row], square, share)
    }
    let mean = total / Double(rows)
    let columnFactors = scratch.floats(columns)
    for column in 0..<columns {
      let square = columnSquares[column] * scale * scale / Double(rows)
      let now = follow(&columnMeans.base[column], square, share)
      columnFactors[column] = Float(1 / now.squareRoot())
    }
    let direction = scratch.floats(rows * columns)
    let result = Matrix(direction, rows: rows, columns: columns)
    for row in 0..<rows {
      let factor = scale * (mean / Double(rowMeans[row])).squareRoot()
      Kernels.multiply(
        gradient.row(row), columnFactors, by: Float(factor), into: result.row(row))
    }
    return direction
  }

  /// u of numbers that have a mean each, in scratch.
  static func direction(
    _ gradient: View<Float>, means: View<Float>, factors: UpdateFactors, scratch: ScratchArena
  ) -> View<Float> {
    let share = share(factors)
    let direction = scratch.floats(gradient.count)
    for index in 0..<gradient.count {
      let scaled = Double(gradient[index]) * factors.gradientScale
      let now = follow(&means.base[index], scaled * scaled, share)
      direction[index] = Float(scaled / now.squareRoot())
    }
    return direction
  }

  /// What a step's squares are of their mean: all of it at the first step, which has zeros before it.
  private static func share(_ factors: UpdateFactors) -> Double {
    DoubleFunctions.power(Double(factors.step), -0.8)
  }

  /// Moves a mean of squares on; returns it.
  private static func follow(_ mean: inout Float, _ square: Double, _ share: Double) -> Double {
    mean = Float((1 - share) * Double(mean) + share * (square + leastSquare))
    return Double(mean)
  }

  /// The step of `parameters`, one tensor, by `direction`.
  static func apply(
    _ direction: View<Float>, to parameters: View<Float>, decay: Double, rate: Double
  ) {
    let scale = max(leastScale, rootMeanSquare(parameters))
    let step = rate * scale / max(1, rootMeanSquare(direction))
    Kernels.weightedSum(
      parameters, by: Float(1 - rate * decay), direction, by: Float(-step), into: parameters)
  }

  private static func rootMeanSquare(_ numbers: View<Float>) -> Double {
    (Kernels.sumOfSquares(numbers) / Double(numbers.count)).squareRoot()
  }
}
