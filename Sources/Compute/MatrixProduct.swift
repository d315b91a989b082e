// The one place that multiplies matrices, and the only importer of the libraries that do. They are told to use one
// thread: parallel work is cut into our own tiles, so its bits do not depend on the thread count.
import COneDNN
import COpenBLAS
import Glibc

/// c = a b, or c += a b with `accumulate`; traps when shapes disagree.
///
/// Called from many threads at once on disjoint results.
public func multiply(
  _ a: MatrixOperand, _ b: MatrixOperand, into c: Matrix, accumulate: Bool = false
) {
  multiply(a, b, into: c, accumulate: accumulate, with: MatrixLibrary.current)
}

/// The same with a library named, for tests that compare them.
package func multiply(
  _ a: MatrixOperand, _ b: MatrixOperand, into c: Matrix, accumulate: Bool,
  with library: MatrixLibrary
) {
  precondition(
    a.columns == b.rows && a.rows == c.rows && b.columns == c.columns,
    "product of \(a.rows) x \(a.columns) and \(b.rows) x \(b.columns) into \(c.rows) x \(c.columns)"
  )
  guard c.rows > 0 && c.columns > 0 else { return }
  guard a.columns > 0 else {
    if !accumulate { c.fill(0) }
    return
  }
  switch library {
  case .openblas:
    cblas_sgemm(
      CblasRowMajor, a.isTransposed ? CblasTrans : CblasNoTrans,
      b.isTransposed ? CblasTrans : CblasNoTrans, Int32(c.rows), Int32(c.columns),
      Int32(a.columns), 1, a.matrix.base, Int32(a.matrix.stride), b.matrix.base,
      Int32(b.matrix.stride), accumulate ? 1 : 0, c.base, Int32(c.stride))
  case .onednn:
    let status = dnnl_sgemm(
      a.isTransposed ? MatrixLibrary.transposed : MatrixLibrary.plain,
      b.isTransposed ? MatrixLibrary.transposed : MatrixLibrary.plain, Int64(c.rows),
      Int64(c.columns), Int64(a.columns), 1, a.matrix.base, Int64(a.matrix.stride), b.matrix.base,
      Int64(b.matrix.stride), accumulate ? 1 : 0, c.base, Int64(c.stride))
    precondition(status == dnnl_success, "oneDNN refused a product (status \(status.rawValue))")
  }
}

/// The libraries that `multiply` can use.
public enum MatrixLibrary: String, Sendable, CaseIterable {
  /// Fast on tile shapes, and deaf to `OPENBLAS_CORETYPE`.
  case onednn
  /// The portable one.
  case openblas

  static let plain = CChar(UInt8(ascii: "N"))
  static let transposed = CChar(UInt8(ascii: "T"))

  /// The faster one for this kind of processor.
  ///
  /// oneDNN generates code for x86-64 processors from AVX2 on; elsewhere its products are plain loops.
  public static var automatic: MatrixLibrary {
    Kernels.instructionSet == "portable" ? .openblas : .onednn
  }

  /// The library of this process.
  ///
  /// Set it, if at all, before the first `Engine` is made.
  nonisolated(unsafe) public static var current = automatic

  /// Tells the libraries not to start threads for calls from this thread.
  static func prepareThread() {
    openblas_set_num_threads(1)
    setOpenMPThreads?(1)
  }

  // oneDNN counts threads by OpenMP, whose setting is per thread and has no header of its own.
  private static let setOpenMPThreads: (@convention(c) (Int32) -> Void)? = {
    guard let symbol = dlsym(nil, "omp_set_num_threads") else { return nil }
    return unsafeBitCast(symbol, to: (@convention(c) (Int32) -> Void).self)
  }()

  /// Name, version and kernel set, for example `OpenBLAS 0.3.21 SkylakeX`.
  ///
  /// Ranks must agree on it, for the bits of a product depend on it.
  public static var description: String {
    switch current {
    case .openblas:
      let version = String(cString: openblas_get_config()).split(separator: " ").prefix(2)
      return version.joined(separator: " ") + " " + String(cString: openblas_get_corename())
    case .onednn:
      guard let version = dnnl_version()?.pointee else { return "oneDNN" }
      // Its kernels follow the processor, and so do its bits.
      return "oneDNN \(version.major).\(version.minor).\(version.patch) "
        + Kernels.bestInstructionSet
    }
  }

  /// A warning for people when the environment holds the library below what the processor can do.
  public static var environmentWarning: String? {
    guard current == .openblas, Kernels.instructionSet == "avx512",
      let forced = getenv("OPENBLAS_CORETYPE").map({ String(cString: $0) })
    else { return nil }
    let core = String(cString: openblas_get_corename())
    guard !["SkylakeX", "Cooperlake", "SapphireRapids"].contains(core) else { return nil }
    return "OPENBLAS_CORETYPE=\(forced) holds OpenBLAS at \(core) kernels (AVX2) on a machine with "
      + "AVX-512; unset it, or set run.matrix_products = \"onednn\", for about twice the speed"
  }
}
