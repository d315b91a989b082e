// The one place that multiplies matrices: the product of tiles, and OpenBLAS as its second route.
import CKernels

/// c = a b, or c += a b with `accumulate`, finished in registers.
///
/// Then `bias` is added to each row, negative numbers become 0 with `relu`, and elements whose `gate`
/// is not positive become 0. With `continuing` the sums start at what `c` holds and are, by tiles, one chain over all
/// rows of `b`, in order: exact zeros in `a` leave its bits alone, and so does a cut in several products (of bf16 numbers
/// in the order of AMX: at multiples of 32). Traps when shapes disagree. By tiles, the bits of an element depend on its row of `a` and column of `b` alone. `route`:
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
    precondition(
      gate.rows == c.rows && gate.columns == Element.count(c.columns), "gate of a product")
  }
  let end = ProductEnd(
    accumulate: accumulate, continuing: continuing, bias: bias, relu: relu, gate: gate)
  Element.multiply(a, b, into: c, end, by: route)
}

extension Float: ProductElement {
  /// One.
  public static var numbers: Int { 1 }

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
    case .tiles, .amx:
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
