// The one place that multiplies matrices: operands by role, the product of tiles, and OpenBLAS as its second route.
import CKernels

/// How this process computes products.
public enum MatrixProducts: String, Sendable, CaseIterable {
  /// By our own product of tiles, with the same bits on every processor.
  case tiles
  /// By OpenBLAS, whose bits are those of its kernel set: for processors on which tiles are slow, and as a check.
  case openblas

  /// That of this process.
  ///
  /// Set it, if at all, before the first `Engine` is made.
  nonisolated(unsafe) public static var current = tiles
}

/// The left side of a product.
///
/// Element (i, p), with S = `Packed.width`, is `base[i / S * rowBlock + i % S * row + p / S * kBlock + p % S * k]`.
public struct LeftOperand<Element: ProductElement> {
  let base: UnsafeMutablePointer<Element>
  let rowBlock: Int
  let row: Int
  let kBlock: Int
  let k: Int
  let rows: Int
  let columns: Int
}

/// Where a product goes: element (i, j) is `base[i * row + j / S * strip + j % S]`.
public struct ResultOperand {
  let base: UnsafeMutablePointer<Float>
  let row: Int
  let strip: Int
  let rows: Int
  let columns: Int
}

/// What becomes of a sum: started at what is there with `continuing`; before it is stored, added to what is there
/// with `accumulate`, `bias` added to each row, negative numbers replaced by 0, and so elements whose `gate` is not
/// positive.
public struct ProductEnd<Element: ProductElement> {
  var accumulate = false
  var continuing = false
  var bias: View<Float>?
  var relu = false
  var gate: Packed<Element>?
}

extension Packed<Float> {
  /// This matrix as the left side.
  public var left: LeftOperand<Float> {
    LeftOperand(
      base: base, rowBlock: Self.width * Self.width, row: Self.width, kBlock: stripStride, k: 1,
      rows: rows, columns: columns)
  }

  /// Its transpose as the left side.
  public var leftTransposed: LeftOperand<Float> {
    LeftOperand(
      base: base, rowBlock: stripStride, row: 1, kBlock: Self.width * Self.width, k: Self.width,
      rows: columns, columns: rows)
  }

  /// This matrix as the result.
  public var result: ResultOperand {
    ResultOperand(base: base, row: Self.width, strip: stripStride, rows: rows, columns: columns)
  }
}

extension Matrix {
  private static var width: Int { Packed<Float>.width }

  /// This matrix as the left side.
  public var left: LeftOperand<Float> {
    LeftOperand(
      base: base, rowBlock: Self.width * stride, row: stride, kBlock: Self.width, k: 1,
      rows: rows, columns: columns)
  }

  /// Its transpose as the left side.
  public var leftTransposed: LeftOperand<Float> {
    LeftOperand(
      base: base, rowBlock: Self.width, row: 1, kBlock: Self.width * stride, k: stride,
      rows: columns, columns: rows)
  }

  /// This matrix as the result.
  public var result: ResultOperand {
    ResultOperand(base: base, row: stride, strip: Self.width, rows: rows, columns: columns)
  }
}

/// c = a b, or c += a b with `accumulate`, finished in registers.
///
/// Then `bias` is added to each row, negative numbers become 0 with `relu`, and elements whose `gate`
/// is not positive become 0. With `continuing` the sums start at what `c` holds and are, by tiles, one chain over all
/// rows of `b`, in order: exact zeros in `a` leave its bits alone, and so does a cut in several products. Traps when
/// shapes disagree. By tiles, the bits of an element depend on its row of `a` and column of `b` alone. `route`:
/// another than this process's, for tests and yardsticks. Called from many threads at once on disjoint results.
public func tileProduct<Element>(
  _ a: LeftOperand<Element>, _ b: Packed<Element>, into c: ResultOperand, accumulate: Bool = false,
  continuing: Bool = false, bias: View<Float>? = nil, relu: Bool = false,
  gate: Packed<Element>? = nil, by route: MatrixProducts = .current
) {
  precondition(
    a.columns == b.rows && a.rows == c.rows && b.columns == c.columns && a.columns > 0,
    "product of \(a.rows) x \(a.columns) and \(b.rows) x \(b.columns) into \(c.rows) x \(c.columns)"
  )
  precondition(bias == nil || bias?.count == c.columns, "bias of a product")
  if let gate {
    precondition(gate.rows == c.rows && gate.columns == c.columns, "gate of a product")
  }
  let end = ProductEnd(
    accumulate: accumulate, continuing: continuing, bias: bias, relu: relu, gate: gate)
  Element.multiply(a, b, into: c, end, by: route)
}

extension Float: ProductElement {
  /// Writes row-major `rows` as strips of the same shape.
  public static func pack(_ rows: Matrix, into strips: Packed<Float>) {
    ck_strips_from_rows(
      rows.base, rows.stride, rows.rows, rows.columns, strips.base, strips.stripStride)
  }

  /// Writes the transpose of row-major `rows` as strips.
  public static func pack(transposing rows: Matrix, into strips: Packed<Float>) {
    ck_strips_transposed(
      rows.base, rows.stride, rows.rows, rows.columns, strips.base, strips.stripStride)
  }

  /// c = a b of shapes that agree, ended as `end` says.
  public static func multiply(
    _ a: LeftOperand<Float>, _ b: Packed<Float>, into c: ResultOperand, _ end: ProductEnd<Float>,
    by route: MatrixProducts
  ) {
    switch route {
    case .tiles:
      ck_product(
        ck_left(base: a.base, row_block: a.rowBlock, row: a.row, k_block: a.kBlock, k: a.k),
        b.base, b.stripStride, c.base, c.row, c.strip, c.rows, c.columns, a.columns,
        end.accumulate ? 1 : 0, end.continuing ? 1 : 0, end.bias?.base, end.relu ? 1 : 0,
        end.gate?.base, end.gate?.stripStride ?? 0)
    case .openblas:
      OpenBLAS.multiply(a, b, into: c, end)
    }
  }
}
