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
