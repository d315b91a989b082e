// Numbers of 16 bits that are stored or sent and not computed with: sign, exponent and the first 8 digits.
import CKernels

extension Kernels {
  /// out = the bf16 numbers nearest to x, ties to even; what is too large for one becomes infinite, and a NaN stays one.
  public static func round(_ x: View<Float>, into out: View<UInt16>) {
    precondition(x.count == out.count, "\(x.count) floats into \(out.count) bf16 numbers")
    ck_halves(x.base, out.base, x.count)
  }

  /// out = the bf16 numbers x.
  public static func widen(_ x: View<UInt16>, into out: View<Float>) {
    precondition(x.count == out.count, "\(x.count) bf16 numbers into \(out.count) floats")
    ck_widen(x.base, out.base, x.count)
  }
}
