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

  @Test("tilings cover everything once", arguments: [(0, 4), (1, 4), (4, 4), (5, 4), (12, 4)])
  func tilings(sizes: (count: Int, size: Int)) {
    let ranges = Tiling.ranges(sizes.count, by: sizes.size)
    #expect(ranges.flatMap(Array.init) == Array(0..<sizes.count))
    #expect(ranges.dropLast().allSatisfy { $0.count == sizes.size })
    #expect(ranges.allSatisfy { (1...sizes.size).contains($0.count) })
  }
}
