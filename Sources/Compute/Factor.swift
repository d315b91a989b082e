// Matrices that are computed once and read by several products, on either side. In single precision one layout serves
// all; narrower numbers are rounded once into a layout for each side.

/// What products read a matrix as.
public enum FactorRole: Sendable {
  /// The left side.
  case left
  /// The right side, or the transpose of a left one: k are its rows.
  case right
  /// Both.
  case both
}

/// A matrix `[rows, columns]` as products read it.
public struct Factor<Element: ProductElement>: Sendable {
  /// Number of rows.
  public let rows: Int
  /// Number of columns.
  public let columns: Int
  let across: Packed<Element>?
  let down: Packed<Element>?

  init(rows: Int, columns: Int, across: Packed<Element>?, down: Packed<Element>?) {
    self.rows = rows
    self.columns = columns
    self.across = across
    self.down = down
  }

  /// As the left side.
  public var left: LeftOperand<Element> { gate.left }

  /// As the left side, by which another product is gated.
  public var gate: Packed<Element> {
    guard let across else { preconditionFailure("a factor of the right alone") }
    return across
  }

  /// As the left side, transposed.
  public var transposed: LeftOperand<Element> { right.left.transposed }

  /// As the right side.
  public var right: Packed<Element> {
    guard let down else { preconditionFailure("a factor of the left alone") }
    return down
  }

  /// The rows in `range`, which starts at an element.
  public func rows(_ range: Range<Int>) -> Factor {
    precondition(
      range.lowerBound % Element.numbers == 0 && range.upperBound <= rows,
      "rows \(range) outside 0..<\(rows)")
    let elements = range.lowerBound / Element.numbers..<Element.count(range.upperBound)
    return Factor(
      rows: range.count, columns: columns, across: across?.rows(range), down: down?.rows(elements))
  }

  /// Sets all numbers to zero, padding included.
  public func clear() {
    across?.clear()
    down?.clear()
  }

  /// Copies a row-major matrix of the same shape.
  public func copy(from matrix: Matrix) { Element.fill(self, from: matrix) }

  /// Sets it to what `body` computes in strips, which are this matrix itself or lent by `scratch`.
  public func fill(_ scratch: ScratchArena, _ body: (Packed<Float>) -> Void) {
    Element.fill(self, scratch, body)
  }
}

extension ScratchArena {
  /// Lends a factor with undefined contents until the enclosing frame ends.
  public func factor<Element: ProductElement>(
    _ rows: Int, _ columns: Int, _ role: FactorRole, of: Element.Type = Element.self
  ) -> Factor<Element> { Element.factor(rows, columns, role, from: self) }
}

extension Float {
  /// The matrix where it is.
  public static func left(_ matrix: Matrix, from arena: ScratchArena) -> LeftOperand<Float> {
    matrix.left
  }

  /// Its transpose where it is.
  public static func transposedLeft(
    _ matrix: Matrix, from arena: ScratchArena
  ) -> LeftOperand<Float> { matrix.left.transposed }

  /// Both where it is.
  public static func sides(
    _ matrix: Matrix, from arena: ScratchArena
  ) -> (left: LeftOperand<Float>, transposed: LeftOperand<Float>) {
    (matrix.left, matrix.left.transposed)
  }

  /// Lends strips for all roles.
  public static func factor(
    _ rows: Int, _ columns: Int, _ role: FactorRole, from arena: ScratchArena
  ) -> Factor<Float> {
    let strips = arena.strips(rows, columns)
    return Factor(rows: rows, columns: columns, across: strips, down: strips)
  }

  /// Copies.
  public static func fill(_ factor: Factor<Float>, from matrix: Matrix) {
    factor.right.copy(from: matrix)
  }

  /// Has `body` compute in place.
  public static func fill(
    _ factor: Factor<Float>, _ scratch: ScratchArena, _ body: (Packed<Float>) -> Void
  ) { body(factor.right) }
}
