import Compute
import TestSupport
import Testing

@Suite("Matrices")
struct MatrixTests {
  /// The numbers from 0 on as `[rows, columns]`.
  private func counted(_ rows: Int, _ columns: Int) -> (buffer: Buffer<Float>, matrix: Matrix) {
    let buffer = Buffer<Float>(rows * columns)
    buffer.view.copy(from: (0..<rows * columns).map(Float.init))
    return (buffer, Matrix(buffer.view, rows: rows, columns: columns))
  }

  private func rows(_ matrix: Matrix) -> [[Float]] {
    (0..<matrix.rows).map { matrix.row($0).array }
  }

  @Test("cuts of rows and columns are windows on the same numbers")
  func cuts() {
    let (buffer, matrix) = counted(4, 5)
    let window = matrix.rows(1..<3).columns(2..<5)
    #expect(window.stride == 5)
    #expect(rows(window) == [[7, 8, 9], [12, 13, 14]])
    window.columns(1..<3).fill(-1)
    #expect(
      rows(matrix) == [
        [0, 1, 2, 3, 4], [5, 6, 7, -1, -1], [10, 11, 12, -1, -1], [15, 16, 17, 18, 19],
      ])
    #expect(buffer.view[8] == -1)
    matrix.rows(0..<2).columns(0..<3).copy(from: matrix.rows(2..<4).columns(0..<3))
    #expect(rows(matrix.rows(0..<2)) == [[10, 11, 12, 3, 4], [15, 16, 17, -1, -1]])
    #expect(matrix.rows(3..<4).columns(1..<3).dense.array == [16, 17])
    #expect(matrix.rows(2..<4).dense.count == 10)
  }

  @Test("a parameter's matrix lies at its slot")
  func slots() {
    let layout = ParameterLayout(groups: [("all", [("first", [3]), ("second", [2, 3])])])
    let flat = Buffer<Float>(layout.count)
    for index in 0..<flat.count { flat.view[index] = Float(index) }
    #expect(rows(Matrix(flat.view, layout["second"])) == [[16, 17, 18], [19, 20, 21]])
  }

  @Test("cuts stop at the edges, and gaps are no dense memory")
  func outOfRange() async {
    await #expect(processExitsWith: .failure) {
      print(Matrix(Buffer<Float>(6).view, rows: 2, columns: 3).columns(1..<4).columns)
    }
    await #expect(processExitsWith: .failure) {
      print(Matrix(Buffer<Float>(6).view, rows: 2, columns: 3).rows(1..<3).rows)
    }
    await #expect(processExitsWith: .failure) {
      print(Matrix(Buffer<Float>(6).view, rows: 2, columns: 3).columns(0..<2).dense.count)
    }
  }

  /// A `rows` by `columns` window inside wider and longer memory, random all around.
  private func window(
    _ rows: Int, _ columns: Int, seed: UInt64
  ) -> (buffer: Buffer<Float>, matrix: Matrix) {
    let buffer = Buffer<Float>((rows + 3) * (columns + 5))
    buffer.view.copy(from: madeUpNormals(buffer.count, seed: seed))
    let whole = Matrix(buffer.view, rows: rows + 3, columns: columns + 5)
    return (buffer, whole.rows(2..<rows + 2).columns(3..<columns + 3))
  }

  @Test(
    "products in every orientation, with gaps between rows, set and added",
    arguments: [(1, 1, 1), (5, 7, 3), (64, 20, 33), (130, 65, 257), (3, 0, 4), (0, 3, 4)],
    [false, true])
  func products(sizes: (rows: Int, columns: Int, depth: Int), accumulate: Bool) {
    for library in MatrixLibrary.allCases {
      for orientation in [(false, false), (false, true), (true, false), (true, true)] {
        product(sizes, accumulate, orientation, library)
      }
    }
  }

  private func product(
    _ sizes: (rows: Int, columns: Int, depth: Int), _ accumulate: Bool,
    _ orientation: (Bool, Bool), _ library: MatrixLibrary
  ) {
    let (aTransposed, bTransposed) = orientation
    do {
      let a =
        aTransposed
        ? window(sizes.depth, sizes.rows, seed: 1) : window(sizes.rows, sizes.depth, seed: 1)
      let b =
        bTransposed
        ? window(sizes.columns, sizes.depth, seed: 2) : window(sizes.depth, sizes.columns, seed: 2)
      let c = window(sizes.rows, sizes.columns, seed: 3)
      let before = c.buffer.view.array
      let (left, right) = (rows(a.matrix), rows(b.matrix))
      let expected = (0..<sizes.rows).map { row in
        (0..<sizes.columns).map { column in
          (0..<sizes.depth).reduce(accumulate ? Double(c.matrix.row(row)[column]) : 0) {
            let x = aTransposed ? left[$1][row] : left[row][$1]
            let y = bTransposed ? right[column][$1] : right[$1][column]
            return $0 + Double(x) * Double(y)
          }
        }
      }
      // What stood there must not matter when the product replaces it.
      if !accumulate { c.matrix.fill(.nan) }
      multiply(
        aTransposed ? a.matrix.transposed : a.matrix.plain,
        bTransposed ? b.matrix.transposed : b.matrix.plain, into: c.matrix, accumulate: accumulate,
        with: library)
      // Each of `depth` additions of numbers around 1 rounds a sum of at most some 10 sqrt(depth).
      let limit = Double(sizes.depth) * 10 * Double(sizes.depth).squareRoot() * 0x1p-24 + 1e-6
      for (row, values) in expected.enumerated() {
        #expect(largestDifference(c.matrix.row(row).array, values) <= limit)
      }
      // And nothing around the result has changed.
      var damaged = 0
      for (place, value) in c.buffer.view.array.enumerated() {
        let (row, column) = place.quotientAndRemainder(dividingBy: sizes.columns + 5)
        let isInside =
          (2..<sizes.rows + 2).contains(row) && (3..<sizes.columns + 3).contains(column)
        if !isInside { damaged += value.bitPattern == before[place].bitPattern ? 0 : 1 }
      }
      #expect(damaged == 0)
    }
  }

  @Test(
    "the parts of a product by rows have the bits of the same parts alone, from any thread",
    arguments: MatrixLibrary.allCases)
  func threads(library: MatrixLibrary) {
    let (a, b) = (window(256, 96, seed: 4), window(96, 80, seed: 5))
    func run(threads: Int) -> [UInt32] {
      let c = Buffer<Float>(256 * 80)
      let matrix = Matrix(c.view, rows: 256, columns: 80)
      let tiles = Tiling.ranges(256, by: 32)
      WorkerPool(threadCount: threads).run(tiles.count) { index, _ in
        multiply(
          a.matrix.rows(tiles[index]).plain, b.matrix.plain, into: matrix.rows(tiles[index]),
          accumulate: false, with: library)
      }
      return c.view.array.bitPatterns
    }
    let alone = run(threads: 1)
    for _ in 0..<20 { #expect(run(threads: 3) == alone) }
  }

  @Test("tilings cover everything once", arguments: [(0, 4), (1, 4), (4, 4), (5, 4), (12, 4)])
  func tilings(sizes: (count: Int, size: Int)) {
    let ranges = Tiling.ranges(sizes.count, by: sizes.size)
    #expect(ranges.flatMap(Array.init) == Array(0..<sizes.count))
    #expect(ranges.dropLast().allSatisfy { $0.count == sizes.size })
    #expect(ranges.allSatisfy { (1...sizes.size).contains($0.count) })
  }
}
