// Matrices in strips, one operand of every product. A strip's rows follow each other, so one layout serves as either
// side of a product without packing: activations are written in it once and read by the forward product, the backward
// product and the weight gradient. Weights are packed once per layer and pass.
import CKernels

/// How this process computes products.
public enum MatrixProducts: String, Sendable, CaseIterable {
  /// By our own product of tiles, with the same bits on every processor.
  case tiles
  /// The same, but those of bf16 numbers `InBlocks`: other bits, the same on every processor too.
  case amx
  /// By OpenBLAS, whose bits are those of its kernel set: for processors on which tiles are slow, and as a check.
  case openblas

  /// That of this process.
  ///
  /// Set it, if at all, before the first `Engine` is made.
  nonisolated(unsafe) public static var current = tiles
}

/// A number that products read: how it lies in strips, and what multiplies it.
///
/// Operands carry it in their type, so that a narrower number, with a layout and a kernel of its own, is another
/// conformance and no other path. Sums are always `Float`.
public protocol ProductElement: BitwiseCopyable, Sendable {
  /// Numbers in an element, which follow each other in k; a last one alone has a zero beside it.
  static var numbers: Int { get }
  /// Writes row-major `rows` as strips of the same shape: a right side.
  static func pack(_ rows: Matrix, into strips: Packed<Self>)
  /// Writes the transpose of row-major `rows` as strips: a right side.
  static func pack(transposing rows: Matrix, into strips: Packed<Self>)
  /// A row-major matrix as the left side, in place or in memory lent by `arena`.
  static func left(_ matrix: Matrix, from arena: ScratchArena) -> LeftOperand<Self>
  /// The transpose of a row-major matrix as the left side, likewise.
  static func transposedLeft(_ matrix: Matrix, from arena: ScratchArena) -> LeftOperand<Self>
  /// Both.
  static func sides(
    _ matrix: Matrix, from arena: ScratchArena
  ) -> (left: LeftOperand<Self>, transposed: LeftOperand<Self>)
  /// See `ScratchArena.factor`.
  static func factor(
    _ rows: Int, _ columns: Int, _ role: FactorRole, from arena: ScratchArena
  ) -> Factor<Self>
  /// See `Factor.copy`.
  static func fill(_ factor: Factor<Self>, from matrix: Matrix)
  /// See `Factor.fill`.
  static func fill(
    _ factor: Factor<Self>, _ scratch: ScratchArena, _ body: (Packed<Float>) -> Void)
  /// c = a b of shapes that agree, ended as `end` says.
  static func multiply(
    _ a: LeftOperand<Self>, _ b: Packed<Self>, into c: ResultOperand, _ end: ProductEnd<Self>,
    by route: MatrixProducts)
}

extension ProductElement {
  /// Elements of so many numbers.
  public static func count(_ numbers: Int) -> Int { (numbers + Self.numbers - 1) / Self.numbers }
}

/// A non-owning `[rows, columns]` window of elements whose columns lie in strips: the right side of products.
public struct Packed<Element: ProductElement>: @unchecked Sendable {
  /// Columns of a strip.
  public static var width: Int { Int(CK_STRIP) }

  let base: UnsafeMutablePointer<Element>
  /// Number of rows.
  public let rows: Int
  /// Number of columns; the last strip is padded with arbitrary numbers.
  public let columns: Int
  /// Elements from one strip to the next.
  let stripStride: Int

  /// Elements that `rows` by `columns` need.
  public static func count(_ rows: Int, _ columns: Int) -> Int {
    (columns + width - 1) / width * width * rows
  }

  /// All of `view` as strips; traps when it has not `count(rows, columns)` elements.
  public init(_ view: View<Element>, rows: Int, columns: Int) {
    precondition(
      view.count == Self.count(rows, columns), "\(view.count) elements as \(rows) x \(columns)")
    self.init(base: view.base, rows: rows, columns: columns, stripStride: rows * Self.width)
  }

  private init(base: UnsafeMutablePointer<Element>, rows: Int, columns: Int, stripStride: Int) {
    self.base = base
    self.rows = rows
    self.columns = columns
    self.stripStride = stripStride
  }

  /// The same memory under another element's name; all are as wide as a float.
  public func bound<Other: ProductElement>(to: Other.Type) -> Packed<Other> {
    Packed<Other>(
      base: UnsafeMutablePointer(OpaquePointer(base)), rows: rows, columns: columns,
      stripStride: stripStride)
  }

  /// The rows in `range`.
  public func rows(_ range: Range<Int>) -> Packed {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) outside 0..<\(rows)")
    return Packed(
      base: base + range.lowerBound * Self.width, rows: range.count, columns: columns,
      stripStride: stripStride)
  }

  /// The columns in `range`, which starts at a strip.
  public func columns(_ range: Range<Int>) -> Packed {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= columns
        && range.lowerBound % Self.width == 0, "columns \(range) outside 0..<\(columns)")
    return Packed(
      base: base + range.lowerBound / Self.width * stripStride, rows: rows, columns: range.count,
      stripStride: stripStride)
  }

  /// Sets all numbers to zero, padding included.
  public func clear() {
    for strip in 0..<stripCount {
      UnsafeMutableRawPointer(base + strip * stripStride).initializeMemory(
        as: UInt8.self, repeating: 0, count: rows * Self.width * MemoryLayout<Element>.stride)
    }
  }

  /// Number of strips.
  public var stripCount: Int { (columns + Self.width - 1) / Self.width }

  /// Copies a row-major matrix `[k, columns]`.
  public func copy(from matrix: Matrix) {
    precondition(
      Element.count(matrix.rows) == rows && matrix.columns == columns, "copy between shapes")
    Element.pack(matrix, into: self)
  }

  /// Copies the transpose of another matrix in strips, element by element.
  public func copy(transposing other: Packed) {
    precondition(other.rows == columns && other.columns == rows, "transpose between shapes")
    let (from, to) = (other.bound(to: Float.self), bound(to: Float.self))
    for strip in 0..<from.stripCount {
      let first = strip * Self.width
      ck_strips_transposed(
        from.base + strip * from.stripStride, Self.width, from.rows,
        min(Self.width, from.columns - first), to.base + first * Self.width, to.stripStride)
    }
  }

  /// Copies the transpose of a row-major matrix `[columns, k]`.
  public func copy(transposing matrix: Matrix) {
    precondition(
      matrix.rows == columns && Element.count(matrix.columns) == rows, "transpose between shapes")
    Element.pack(transposing: matrix, into: self)
  }
}

extension Packed<Float> {
  /// Copies the transpose of the rows `index` of a row-major matrix.
  public func copy(transposing matrix: Matrix, rows index: View<Int32>) {
    precondition(index.count == columns && matrix.columns == rows, "transpose between shapes")
    ck_strips_gathered(
      matrix.base, matrix.stride, index.base, index.count, matrix.columns, base, stripStride)
  }

  /// Each strip with its padding as one run of numbers, for functions of single numbers.
  public var runs: [View<Float>] {
    (0..<stripCount).map { View(base: base + $0 * stripStride, count: rows * Self.width) }
  }

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

  /// The transpose of the same matrix.
  public var transposed: LeftOperand {
    LeftOperand(
      base: base, rowBlock: kBlock, row: k, kBlock: rowBlock, k: row, rows: columns, columns: rows)
  }

  /// The rows in `range`, which starts at a strip.
  public func rows(_ range: Range<Int>) -> LeftOperand {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= rows
        && range.lowerBound % Packed<Element>.width == 0, "rows \(range) outside 0..<\(rows)")
    return LeftOperand(
      base: base + range.lowerBound / Packed<Element>.width * rowBlock, rowBlock: rowBlock,
      row: row, kBlock: kBlock, k: k, rows: range.count, columns: columns)
  }
}

/// Where a product goes: element (i, j) is `base[i * row + j / S * strip + j % S]`.
public struct ResultOperand {
  let base: UnsafeMutablePointer<Float>
  let row: Int
  let strip: Int
  let rows: Int
  let columns: Int

  /// The columns in `range`, which starts at a strip.
  func columns(_ range: Range<Int>) -> ResultOperand {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= columns
        && range.lowerBound % Packed<Float>.width == 0, "columns \(range) outside 0..<\(columns)")
    return ResultOperand(
      base: base + range.lowerBound / Packed<Float>.width * strip, row: row, strip: strip,
      rows: rows, columns: range.count)
  }
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

extension Packed {
  /// This matrix as the left side.
  public var left: LeftOperand<Element> {
    LeftOperand(
      base: base, rowBlock: Self.width * Self.width, row: Self.width, kBlock: stripStride, k: 1,
      rows: rows, columns: columns)
  }
}

extension Packed<Float> {
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

  /// This matrix as the result.
  public var result: ResultOperand {
    ResultOperand(base: base, row: stride, strip: Self.width, rows: rows, columns: columns)
  }
}

extension ScratchArena {
  /// Lends a matrix in strips with undefined contents until the enclosing frame ends.
  public func strips<Element: ProductElement>(
    _ rows: Int, _ columns: Int, of: Element.Type = Float.self
  ) -> Packed<Element> {
    Packed(
      take(Packed<Element>.count(rows, columns), as: Element.self), rows: rows, columns: columns)
  }
}
