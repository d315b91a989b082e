// Functions of single features, and turns of pairs of them.
import CKernels

extension Kernels {
  /// out = x * Phi(x).
  public static func gelu(_ x: View<Float>, into out: View<Float>) {
    precondition(x.count == out.count, "shapes of gelu")
    ck_gelu(x.base, out.base, x.count)
  }

  /// dy *= derivative of gelu at x.
  public static func geluBackward(_ dy: View<Float>, x: View<Float>) {
    precondition(x.count == dy.count, "shapes of gelu gradient")
    ck_gelu_backward(dy.base, x.base, dy.base, x.count)
  }

  /// out = x^2.
  public static func square(_ x: View<Float>, into out: View<Float>) {
    precondition(x.count == out.count, "shapes of squares")
    ck_square(x.base, out.base, x.count)
  }

  /// dy *= 2 x.
  public static func squareBackward(_ dy: View<Float>, x: View<Float>) {
    precondition(x.count == dy.count, "shapes of the gradient of squares")
    ck_square_backward(dy.base, x.base, x.count)
  }

  /// out[j] = the largest x[i, j].
  public static func columnMaximum(_ x: Matrix, into out: View<Float>) {
    precondition(x.rows > 0 && out.count == x.columns, "shapes of column maxima")
    ck_column_maximum(x.base, x.stride, x.rows, x.columns, out.base)
  }

  /// x[i, j] = exp(min(x[i, j] - shift[j], top)) + floor; `top` is at most 88.
  public static func columnExponentials(
    _ x: Matrix, minus shift: View<Float>, upTo top: Float, plus floor: Float
  ) {
    precondition(shift.count == x.columns && top <= 88, "shapes of column exponentials")
    ck_column_exp(x.base, x.stride, x.rows, x.columns, shift.base, top, floor)
  }

  /// dy *= x - floor where `x` are such exponentials, 0 where they ended at `top`; sums[j] = those of column j.
  public static func columnExponentialsBackward(
    _ dy: Matrix, x: Matrix, upTo top: Float, plus floor: Float, sums: View<Float>
  ) {
    precondition(
      dy.rows == x.rows && dy.columns == x.columns && sums.count == x.columns,
      "shapes of the gradient of column exponentials")
    ck_column_exp_backward(
      dy.base, dy.stride, x.base, x.stride, x.rows, x.columns, top, floor, sums.base)
  }

  /// Turns the pairs of element i of the first and of the second half of `x` by the sum of two angles, or back.
  ///
  /// Angles: their cosines, then their sines, as long as `x` together.
  public static func turn(
    _ x: View<Float>, by near: View<Float>, and far: View<Float>, back: Bool
  ) {
    precondition(
      x.count % 2 == 0 && near.count == x.count && far.count == x.count, "shapes of a turn")
    ck_turn(x.base, x.count / 2, near.base, far.base, back ? -1 : 1)
  }
}
