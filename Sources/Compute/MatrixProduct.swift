// The one place that multiplies matrices, and the only importer of COpenBLAS. The library is told
// to use one thread: parallel work is cut into our own tiles, so its bits do not depend on the
// thread count.
import COpenBLAS
import Glibc

/// c = a b, or c += a b with `accumulate`.
///
/// Traps when shapes disagree.
///
/// Called from many threads at once on disjoint results.
public func multiply(
  _ a: MatrixOperand, _ b: MatrixOperand, into c: Matrix, accumulate: Bool = false
) {
  precondition(
    a.columns == b.rows && a.rows == c.rows && b.columns == c.columns,
    "product of \(a.rows) x \(a.columns) and \(b.rows) x \(b.columns) into \(c.rows) x \(c.columns)"
  )
  guard c.rows > 0 && c.columns > 0 else { return }
  cblas_sgemm(
    CblasRowMajor, a.isTransposed ? CblasTrans : CblasNoTrans,
    b.isTransposed ? CblasTrans : CblasNoTrans, Int32(c.rows), Int32(c.columns), Int32(a.columns),
    1, a.matrix.base, Int32(a.matrix.stride), b.matrix.base, Int32(b.matrix.stride),
    accumulate ? 1 : 0, c.base, Int32(c.stride))
}

/// The library behind `multiply`.
public enum MatrixLibrary {
  /// Prepares the library: one thread per call.
  ///
  /// Call once before the first product.
  public static func configure() { openblas_set_num_threads(1) }

  /// Name, version and kernel set, for example `OpenBLAS 0.3.21 SkylakeX`.
  ///
  /// Ranks must agree on it, for the bits of a product depend on it.
  public static var description: String {
    let version = String(cString: openblas_get_config()).split(separator: " ").prefix(2)
      .joined(separator: " ")
    return version + " " + String(cString: openblas_get_corename())
  }

  /// A warning for people when the environment holds the library below what the processor can do.
  public static func environmentWarning(instructionSet: String) -> String? {
    guard let forced = getenv("OPENBLAS_CORETYPE").map({ String(cString: $0) }) else { return nil }
    let core = String(cString: openblas_get_corename())
    guard instructionSet == "avx512", !["SkylakeX", "Cooperlake", "SapphireRapids"].contains(core)
    else { return nil }
    return "OPENBLAS_CORETYPE=\(forced) holds OpenBLAS at \(core) kernels (AVX2) on a machine with "
      + "AVX-512; unset it for about twice the matrix speed"
  }
}
