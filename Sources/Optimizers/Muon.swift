// Muon: a matrix moves by the orthogonal matrix nearest to the average of its gradients.
import Compute

/// Muon of Jordan and others (2024), scaled so that numbers move as far as by Adam (Liu and others, 2025).
///
/// m = momentum m + (1 - momentum) g; a step takes rate (0.2 sqrt(max(rows, columns)) O + decay p), where O has the
/// singular vectors of (1 - momentum) g + momentum m, and singular values near 1.
enum Muon {
  /// One step on the matrix `parameters`; `keeping`: decay of the average of gradients.
  static func update(
    _ parameters: Matrix, _ gradient: View<Float>, momentum: View<Float>, keeping: Double,
    decay: Double, factors: UpdateFactors, scratch: ScratchArena
  ) {
    let (rows, columns) = (parameters.rows, parameters.columns)
    let share = Float((1 - keeping) * factors.gradientScale)
    let direction = scratch.floats(momentum.count)
    Kernels.weightedSum(momentum, by: Float(keeping), gradient, by: share, into: momentum)
    // Nesterov's: the average as it would be after the same gradient once more.
    Kernels.weightedSum(momentum, by: Float(keeping), gradient, by: share, into: direction)
    let orthogonal = orthogonalised(
      Matrix(direction, rows: rows, columns: columns), scratch: scratch)
    // The numbers of O have a mean square of 1 / max(rows, columns), those of Adam's steps one of about 0.2^2.
    let step = factors.rate * 0.2 * Double(max(rows, columns)).squareRoot()
    for (range, strip) in orthogonal.strips {
      let part = parameters.columns(range)
      for row in 0..<rows {
        Kernels.weightedSum(
          part.row(row), by: Float(1 - factors.rate * decay), strip.row(row), by: Float(-step),
          into: part.row(row))
      }
    }
  }

  // Jordan's quintic: five rounds take singular values between 0.002 and 1 to between 0.68 and 1.21.
  private static let (linear, cubic, quintic) = (Float(3.4445), Float(-4.7750), Float(2.0315))
  private static let rounds = 5

  /// The matrix with the same singular vectors and singular values near 1, by Newton and Schulz's iteration.
  ///
  /// X = a X + b X X^T X + c X (X^T X)^2, from X of norm 1. `matrix` is overwritten.
  static func orthogonalised(_ matrix: Matrix, scratch: ScratchArena) -> Packed<Float> {
    let isTall = matrix.rows >= matrix.columns
    let (long, short) =
      isTall ? (matrix.rows, matrix.columns) : (matrix.columns, matrix.rows)
    let numbers = matrix.dense
    let norm = Kernels.sumOfSquares(numbers).squareRoot()
    // Without a gradient there is no direction: zeros stay zeros.
    Kernels.scale(numbers, by: norm > 0 ? Float(1 / norm) : 0)
    // Tall, so that all products read what the one before has written.
    var (x, next) = (scratch.strips(long, short), scratch.strips(long, short))
    let (gram, factor) = (scratch.strips(short, short), scratch.strips(short, short))
    if isTall { x.copy(from: matrix) } else { x.copy(transposing: matrix) }
    for round in 1...rounds {
      tileProduct(x.left.transposed, x, into: gram.result)
      tileProduct(gram.left, gram, into: factor.result)
      // a + b G + c G^2, which X is multiplied by.
      for (squares, own) in zip(factor.runs, gram.runs) {
        Kernels.weightedSum(squares, by: quintic, own, by: cubic, into: squares)
      }
      for (range, strip) in factor.strips {
        for column in range { strip.row(column)[column - range.lowerBound] += linear }
      }
      if round == rounds, !isTall {
        let turned = Matrix(numbers, rows: long, columns: short)
        tileProduct(x.left, factor, into: turned.result)
        let result = scratch.strips(matrix.rows, matrix.columns)
        result.copy(transposing: turned)
        return result
      }
      tileProduct(x.left, factor, into: next.result)
      swap(&x, &next)
    }
    return x
  }

  /// Floats of scratch that `update` takes, rounded up to cache lines.
  static func scratchCount(_ rows: Int, _ columns: Int) -> Int {
    let (long, short) = (max(rows, columns), min(rows, columns))
    let strips =
      2 * Packed<Float>.count(long, short) + 2 * Packed<Float>.count(short, short)
      + (rows < columns ? Packed<Float>.count(rows, columns) : 0)
    return rows * columns + 16 + strips
  }
}
