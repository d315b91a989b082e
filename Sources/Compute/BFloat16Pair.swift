// Numbers of 16 bits in products: sign, exponent and the first 8 digits of a single-precision number.
import CKernels

/// Numbers that products read; sums, parameters, streams and everything else are in single precision or integers.
public enum Precision: Sendable, CaseIterable {
  /// Single precision.
  case fp32
  /// The nearest bf16 numbers, added `InPairs`.
  case bf16
  /// The same, added `InBlocks`.
  case bf16InBlocks
}

/// The order in which products add bf16 numbers, which their bits follow from.
public protocol PairSums: Sendable {
  /// Whether it is that of blocks.
  static var areBlocks: Bool { get }
}

extension PairSums {
  /// Whether the processor has an instruction for it; without it products take at least as long as those of `Float`.
  public static var isFast: Bool { (areBlocks ? ck_has_tiles() : ck_has_pair_instruction()) != 0 }
}

/// Pair after pair, as the instruction vdpbf16ps does (AVX512-BF16).
public enum InPairs: PairSums {
  /// No.
  public static var areBlocks: Bool { false }
}

/// By blocks of 32 numbers along k, as the instruction tdpbf16ps does (AMX).
public enum InBlocks: PairSums {
  /// Yes.
  public static var areBlocks: Bool { true }
}

/// Two bf16 numbers that follow each other in k, the first in the lower half of the bits.
///
/// Products round to nearest even into single-precision sums; numbers below the normal ones count as zero. The bits of
/// a sum are those of the instruction that `Sums` names whether the processor has it or not.
public struct BFloat16Pair<Sums: PairSums>: ProductElement {
  /// Both numbers.
  public let bits: UInt32

  /// Two.
  public static var numbers: Int { 2 }

  /// Writes row-major `rows` as pairs of rows.
  public static func pack(_ rows: Matrix, into strips: Packed<Self>) {
    ck_round_pairs(
      rows.base, rows.stride, Packed<Float>.width, rows.rows, rows.columns, nil, 0, bits(strips),
      strips.stripStride)
  }

  /// Writes the transpose of row-major `rows` as pairs of its rows.
  public static func pack(transposing rows: Matrix, into strips: Packed<Self>) {
    ck_pairs_transposed(
      rows.base, rows.stride, rows.rows, rows.columns, bits(strips), strips.stripStride)
  }

  /// A rounded copy in memory lent by `arena`.
  public static func left(
    _ matrix: Matrix, from arena: ScratchArena
  ) -> LeftOperand<Self> {
    rounded(matrix, .left, from: arena).left
  }

  /// A rounded copy in memory lent by `arena`.
  public static func transposedLeft(
    _ matrix: Matrix, from arena: ScratchArena
  ) -> LeftOperand<Self> {
    rounded(matrix, .right, from: arena).transposed
  }

  /// Rounded copies in memory lent by `arena`.
  public static func sides(
    _ matrix: Matrix, from arena: ScratchArena
  ) -> (left: LeftOperand<Self>, transposed: LeftOperand<Self>) {
    let factor = rounded(matrix, .both, from: arena)
    return (factor.left, factor.transposed)
  }

  private static func rounded(
    _ matrix: Matrix, _ role: FactorRole, from arena: ScratchArena
  ) -> Factor<Self> {
    let factor = factor(matrix.rows, matrix.columns, role, from: arena)
    fill(factor, from: matrix)
    return factor
  }

  /// Lends a copy for each role.
  public static func factor(
    _ rows: Int, _ columns: Int, _ role: FactorRole, from arena: ScratchArena
  ) -> Factor<Self> {
    Factor(
      rows: rows, columns: columns,
      across: role == .right ? nil : arena.strips(rows, count(columns), of: Self.self),
      down: role == .left ? nil : arena.strips(count(rows), columns, of: Self.self))
  }

  /// Rounds a row-major matrix of the same shape.
  public static func fill(_ factor: Factor<Self>, from matrix: Matrix) {
    round(matrix.result, into: factor)
  }

  /// Rounds what `body` computes.
  public static func fill(
    _ factor: Factor<Self>, _ scratch: ScratchArena, _ body: (Packed<Float>) -> Void
  ) {
    scratch.frame {
      let strips = scratch.strips(factor.rows, factor.columns)
      body(strips)
      round(strips.result, into: factor)
    }
  }

  private static func round(_ numbers: ResultOperand, into factor: Factor<Self>) {
    precondition(
      numbers.rows == factor.rows && numbers.columns == factor.columns, "copy between shapes")
    ck_round_pairs(
      numbers.base, numbers.row, numbers.strip, numbers.rows, numbers.columns,
      factor.across.map(bits), factor.across?.stripStride ?? 0, factor.down.map(bits),
      factor.down?.stripStride ?? 0)
  }

  /// c = a b of shapes that agree, ended as `end` says; not by OpenBLAS.
  public static func multiply(
    _ a: LeftOperand<Self>, _ b: Packed<Self>, into c: ResultOperand,
    _ end: ProductEnd<Self>, by route: MatrixProducts
  ) {
    precondition(route != .openblas, "bf16 products by \(route)")
    // Pairs are as wide as the floats that kernels know.
    func floats(_ pairs: UnsafeMutablePointer<Self>) -> UnsafePointer<Float> {
      UnsafePointer(OpaquePointer(pairs))
    }
    let product = Sums.areBlocks ? ck_product_blocks : ck_product_pairs
    product(
      ck_left(base: floats(a.base), row_block: a.rowBlock, row: a.row, k_block: a.kBlock, k: a.k),
      floats(b.base), b.stripStride, c.base, c.row, c.strip, c.rows, c.columns, a.columns,
      end.accumulate ? 1 : 0, end.continuing ? 1 : 0, end.bias?.base, end.relu ? 1 : 0,
      end.gate.map { UnsafePointer(OpaquePointer($0.base)) }, end.gate?.stripStride ?? 0)
  }

  private static func bits(_ strips: Packed<Self>) -> UnsafeMutablePointer<UInt32> {
    UnsafeMutablePointer(OpaquePointer(strips.base))
  }
}
