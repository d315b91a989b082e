// Matrices in strips of 32 columns, and products of tiles on them. A strip's rows follow each other, so one
// layout serves as either side of a product without packing: activations are written in it once and read by the
// forward product, the backward product and the weight gradient. Weights are packed once per layer and pass.
import CKernels

/// A non-owning `[rows, columns]` window whose columns lie in strips of 32.
public struct StripMatrix: @unchecked Sendable {
  /// Columns of a strip.
  public static let width = 32

  let base: UnsafeMutablePointer<Float>
  /// Number of rows.
  public let rows: Int
  /// Number of columns; the last strip is padded with arbitrary numbers.
  public let columns: Int
  /// Floats from one strip to the next.
  let stripStride: Int

  /// Floats that `rows` by `columns` need.
  public static func floats(_ rows: Int, _ columns: Int) -> Int {
    (columns + width - 1) / width * width * rows
  }

  /// All of `view` as strips; traps when it has not `floats(rows, columns)`.
  public init(_ view: View<Float>, rows: Int, columns: Int) {
    precondition(
      view.count == Self.floats(rows, columns), "\(view.count) floats as \(rows) x \(columns)")
    self.init(base: view.base, rows: rows, columns: columns, stripStride: rows * Self.width)
  }

  private init(base: UnsafeMutablePointer<Float>, rows: Int, columns: Int, stripStride: Int) {
    self.base = base
    self.rows = rows
    self.columns = columns
    self.stripStride = stripStride
  }

  /// The rows in `range`.
  public func rows(_ range: Range<Int>) -> StripMatrix {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) outside 0..<\(rows)")
    return StripMatrix(
      base: base + range.lowerBound * Self.width, rows: range.count, columns: columns,
      stripStride: stripStride)
  }

  /// The columns in `range`, which starts at a strip.
  public func columns(_ range: Range<Int>) -> StripMatrix {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= columns
        && range.lowerBound % Self.width == 0, "columns \(range) outside 0..<\(columns)")
    return StripMatrix(
      base: base + range.lowerBound / Self.width * stripStride, rows: rows, columns: range.count,
      stripStride: stripStride)
  }

  /// Number of strips.
  public var stripCount: Int { (columns + Self.width - 1) / Self.width }

  /// The columns of a strip and its rows as a matrix, padding left out.
  public func strip(_ index: Int) -> (columns: Range<Int>, matrix: Matrix) {
    let range = index * Self.width..<min((index + 1) * Self.width, columns)
    return (
      range,
      Matrix(
        base: base + index * stripStride, rows: rows, columns: range.count, stride: Self.width)
    )
  }

  /// All strips.
  public var strips: [(columns: Range<Int>, matrix: Matrix)] { (0..<stripCount).map(strip) }

  /// Each strip with its padding as one run of floats, for functions of single elements.
  public var runs: [View<Float>] {
    Tiling.ranges(columns, by: Self.width).map { range in
      View(base: base + range.lowerBound / Self.width * stripStride, count: rows * Self.width)
    }
  }

  /// Copies a row-major matrix of the same shape.
  public func copy(from matrix: Matrix) {
    precondition(matrix.rows == rows && matrix.columns == columns, "copy between shapes")
    ck_strips_from_rows(matrix.base, matrix.stride, rows, columns, base, stripStride)
  }

  /// Copies the transpose of a row-major matrix `[columns, rows]`.
  public func copy(transposing matrix: Matrix) {
    precondition(matrix.rows == columns && matrix.columns == rows, "transpose between shapes")
    ck_strips_transposed(
      matrix.base, matrix.stride, matrix.rows, matrix.columns, base, stripStride)
  }

  /// This matrix as the left side of `tileProduct`.
  public var left: LeftOperand {
    LeftOperand(
      left: ck_left(
        base: base, row_block: Self.width * Self.width, row: Self.width, k_block: stripStride,
        k: 1), rows: rows, columns: columns)
  }

  /// Its transpose as the left side of `tileProduct`.
  public var leftTransposed: LeftOperand {
    LeftOperand(
      left: ck_left(
        base: base, row_block: stripStride, row: 1, k_block: Self.width * Self.width,
        k: Self.width), rows: columns, columns: rows)
  }

  /// This matrix as the result of `tileProduct`.
  public var result: ResultOperand {
    ResultOperand(
      base: base, row: Self.width, strip: stripStride, rows: rows, columns: columns)
  }
}

/// The left side of a product of tiles.
public struct LeftOperand {
  let left: ck_left
  let rows: Int
  let columns: Int
}

/// Where a product of tiles goes.
public struct ResultOperand {
  let base: UnsafeMutablePointer<Float>
  let row: Int
  let strip: Int
  let rows: Int
  let columns: Int
}

extension Matrix {
  /// This matrix as the left side of `tileProduct`.
  public var left: LeftOperand {
    LeftOperand(
      left: ck_left(
        base: base, row_block: 32 * stride, row: stride, k_block: StripMatrix.width, k: 1),
      rows: rows, columns: columns)
  }

  /// Its transpose as the left side of `tileProduct`.
  public var leftTransposed: LeftOperand {
    LeftOperand(
      left: ck_left(
        base: base, row_block: StripMatrix.width, row: 1, k_block: 32 * stride, k: stride),
      rows: columns, columns: rows)
  }

  /// This matrix as the result of `tileProduct`.
  public var result: ResultOperand {
    ResultOperand(
      base: base, row: stride, strip: StripMatrix.width, rows: rows, columns: columns)
  }
}

extension ScratchArena {
  /// Lends a matrix in strips with undefined contents until the enclosing frame ends.
  public func strips(_ rows: Int, _ columns: Int) -> StripMatrix {
    StripMatrix(floats(StripMatrix.floats(rows, columns)), rows: rows, columns: columns)
  }
}

/// c = a b, or c += a b with `accumulate`, finished in registers.
///
/// Then `bias` is added to each row, negative numbers become 0 with `relu`, and elements whose `gate`
/// is not positive become 0. With `continuing` the sums start at what `c` holds and are one chain over all rows
/// of `b`, in order: exact zeros in `a` leave its bits alone, and so does a cut in several products. Traps when
/// shapes disagree. Bits of an element depend on its row of `a` and column of `b` alone.
public func tileProduct(
  _ a: LeftOperand, _ b: StripMatrix, into c: ResultOperand, accumulate: Bool = false,
  continuing: Bool = false, bias: View<Float>? = nil, relu: Bool = false, gate: StripMatrix? = nil
) {
  precondition(
    a.columns == b.rows && a.rows == c.rows && b.columns == c.columns,
    "product of \(a.rows) x \(a.columns) and \(b.rows) x \(b.columns) into \(c.rows) x \(c.columns)"
  )
  precondition(bias == nil || bias?.count == c.columns, "bias of a product")
  if let gate {
    precondition(gate.rows == c.rows && gate.columns == c.columns, "gate of a product")
  }
  ck_product(
    a.left, b.base, b.stripStride, c.base, c.row, c.strip, c.rows, c.columns, a.columns,
    accumulate ? 1 : 0, continuing ? 1 : 0, bias?.base, relu ? 1 : 0, gate?.base,
    gate?.stripStride ?? 0)
}
