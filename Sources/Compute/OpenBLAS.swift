// OpenBLAS, and its only importer: the second route of every product. It is told to use one thread: parallel work is
// cut into our own tiles, so its bits do not depend on the thread count.
import COpenBLAS
import Glibc

/// The library.
public enum OpenBLAS {
  /// Tells the library not to start threads for calls from this thread.
  static func prepareThread() { openblas_set_num_threads(1) }

  /// c = a b of dense matrices in one call, the library at its best.
  static func multiply(_ a: Matrix, _ b: Matrix, into c: Matrix) {
    precondition(
      a.columns == b.rows && a.rows == c.rows && b.columns == c.columns, "shapes of a product")
    cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(c.rows), Int32(c.columns),
      Int32(a.columns), 1, a.base, Int32(a.stride), b.base, Int32(b.stride), 0, c.base,
      Int32(c.stride))
  }

  /// The product of `Float.multiply`: a call for every strip of the result and every part of the left side in which
  /// rows lie equally far apart; the end of the sum follows.
  static func multiply(
    _ a: LeftOperand<Float>, _ b: Packed<Float>, into c: ResultOperand, _ end: ProductEnd<Float>
  ) {
    let width = Packed<Float>.width
    func parts(_ count: Int, step: Int, block: Int) -> [Range<Int>] {
      block == width * step ? [0..<count] : Tiling.ranges(count, by: width)
    }
    let rowParts = parts(a.rows, step: a.row, block: a.rowBlock)
    let kParts = parts(a.columns, step: a.k, block: a.kBlock)
    for columns in Tiling.ranges(c.columns, by: width) {
      let strip = columns.lowerBound / width
      for rows in rowParts {
        for k in kParts {
          // Parts begin at blocks; what steps by one is what the library calls columns.
          let left =
            a.base + rows.lowerBound / width * a.rowBlock + k.lowerBound / width * a.kBlock
          cblas_sgemm(
            CblasRowMajor, a.k == 1 ? CblasNoTrans : CblasTrans, CblasNoTrans, Int32(rows.count),
            Int32(columns.count), Int32(k.count), 1, left,
            Int32(a.k == 1 ? max(a.row, k.count) : a.k),
            b.base + strip * b.stripStride + k.lowerBound * width, Int32(width),
            end.accumulate || end.continuing || k.lowerBound > 0 ? 1 : 0,
            c.base + strip * c.strip + rows.lowerBound * c.row, Int32(c.row))
        }
      }
    }
    if end.bias != nil || end.relu || end.gate != nil { finish(c, end) }
  }

  private static func finish(_ c: ResultOperand, _ end: ProductEnd<Float>) {
    let width = Packed<Float>.width
    for column in 0..<c.columns {
      let (strip, lane) = column.quotientAndRemainder(dividingBy: width)
      let bias = end.bias?[column]
      for row in 0..<c.rows {
        let place = c.base + row * c.row + strip * c.strip + lane
        var sum = place.pointee
        if let bias { sum += bias }
        if end.relu && sum < 0 { sum = 0 }
        if let gate = end.gate, !(gate.base[strip * gate.stripStride + row * width + lane] > 0) {
          sum = 0
        }
        place.pointee = sum
      }
    }
  }

  /// Version and kernel set, for example `OpenBLAS 0.3.21 SkylakeX`.
  public static var description: String {
    let version = String(cString: openblas_get_config()).split(separator: " ").prefix(2)
    return version.joined(separator: " ") + " " + String(cString: openblas_get_corename())
  }

  /// A warning for people when the environment holds the library below what the processor can do.
  public static var environmentWarning: String? {
    guard MatrixProducts.current == .openblas, Kernels.bestInstructionSet.hasPrefix("avx512"),
      let forced = getenv("OPENBLAS_CORETYPE").map({ String(cString: $0) })
    else { return nil }
    let core = String(cString: openblas_get_corename())
    guard !["SkylakeX", "Cooperlake", "SapphireRapids"].contains(core) else { return nil }
    return "OPENBLAS_CORETYPE=\(forced) holds OpenBLAS at \(core) kernels (AVX2) on a machine with "
      + "AVX-512; unset it, or set run.matrix_products = \"tiles\", for about twice the speed"
  }
}

extension MatrixProducts {
  /// What the bits of a product depend on; ranks must agree on it.
  public static var description: String {
    switch current {
    case .tiles: "products of tiles"
    case .amx: "products of AMX tiles"
    case .openblas: OpenBLAS.description
    }
  }
}
