// A rectangular window on floats, row-major. Tiles, head groups and panels are all cut from one with
// `rows` and `columns`; cutting checks, the kernels behind trust.

/// A non-owning `[rows, columns]` window; rows are `stride` floats apart.
public struct Matrix: @unchecked Sendable {
  /// First element.
  public let base: UnsafeMutablePointer<Float>
  /// Number of rows.
  public let rows: Int
  /// Number of columns.
  public let columns: Int
  /// Floats from one row to the next.
  public let stride: Int

  init(base: UnsafeMutablePointer<Float>, rows: Int, columns: Int, stride: Int) {
    self.base = base
    self.rows = rows
    self.columns = columns
    self.stride = stride
  }

  /// All of `view` as dense rows; traps when the counts disagree.
  public init(_ view: View<Float>, rows: Int, columns: Int) {
    precondition(view.count == rows * columns, "\(view.count) floats as \(rows) x \(columns)")
    self.init(base: view.base, rows: rows, columns: columns, stride: columns)
  }

  /// The numbers of `row` as each of `rows` rows, in no more memory than it has.
  public init(repeating row: View<Float>, rows: Int) {
    self.init(base: row.base, rows: rows, columns: row.count, stride: 0)
  }

  /// A parameter (or its gradient) of two dimensions inside a flat buffer.
  public init(_ flat: View<Float>, _ slot: Slot) {
    precondition(slot.shape.count == 2, "\(slot.name) is no matrix")
    self.init(flat[slot.range], rows: slot.shape[0], columns: slot.shape[1])
  }

  /// The rows in `range`.
  public func rows(_ range: Range<Int>) -> Matrix {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) outside 0..<\(rows)")
    return Matrix(
      base: base + range.lowerBound * stride, rows: range.count, columns: columns, stride: stride)
  }

  /// The columns in `range`.
  public func columns(_ range: Range<Int>) -> Matrix {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= columns,
      "columns \(range) outside 0..<\(columns)")
    return Matrix(base: base + range.lowerBound, rows: rows, columns: range.count, stride: stride)
  }

  /// One row.
  public func row(_ index: Int) -> View<Float> {
    precondition(index >= 0 && index < rows, "row \(index) outside 0..<\(rows)")
    return View(base: base + index * stride, count: columns)
  }

  /// The elements when rows follow each other without gaps; traps otherwise.
  public var dense: View<Float> {
    precondition(stride == columns || rows <= 1, "rows are \(stride) apart, not \(columns)")
    return View(base: base, count: rows * columns)
  }

  /// Sets every element.
  public func fill(_ value: Float) {
    if stride == columns {
      dense.fill(value)
    } else {
      for index in 0..<rows { row(index).fill(value) }
    }
  }

  /// Writes the column of each row's largest element, the first of equal ones, into `columns` `[rows]`.
  public func writeLargestColumns(into columns: View<Int32>) {
    precondition(columns.count == rows, "\(columns.count) columns of \(rows) rows")
    for index in 0..<rows {
      let row = row(index)
      var largest = 0
      for column in 1..<row.count where row[column] > row[largest] { largest = column }
      columns[index] = Int32(largest)
    }
  }

  /// Copies a matrix of the same shape.
  public func copy(from other: Matrix) {
    precondition(other.rows == rows && other.columns == columns, "copy between shapes")
    for index in 0..<rows { row(index).copy(from: other.row(index)) }
  }
}
