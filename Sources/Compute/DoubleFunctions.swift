// Functions in double precision for whatever enters parameters: first values, learning rate, bias corrections,
// what decides whether a step counts. The C library's differ between its versions and processors.
import CKernels

/// Functions of one number whose bits are the same on every machine; bounds and limits: `CKernels.h`.
public enum DoubleFunctions {
  /// e to the power of `x`.
  public static func exp(_ x: Double) -> Double { ck_double_exp(x) }

  /// Natural logarithm.
  public static func log(_ x: Double) -> Double { ck_double_log(x) }

  /// `base` to the power of `exponent`; the base is not negative.
  public static func power(_ base: Double, _ exponent: Double) -> Double {
    precondition(base >= 0, "power of \(base)")
    return ck_double_pow(base, exponent)
  }

  /// Sine of `x`, at most 2^27 in size.
  public static func sine(_ x: Double) -> Double {
    precondition(x.magnitude <= 0x1p27, "sine of \(x)")
    return ck_double_sin(x)
  }

  /// Cosine of `x`, at most 2^27 in size.
  public static func cosine(_ x: Double) -> Double {
    precondition(x.magnitude <= 0x1p27, "cosine of \(x)")
    return ck_double_cos(x)
  }
}
