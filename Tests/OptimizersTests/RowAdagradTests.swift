import Compute
import Foundation
import Optimizers
import TestSupport
import Testing

@Suite("Updates of sparse tables")
struct RowAdagradTests {
  private static let (columns, positions) = (24, 700)
  private static let rowCounts = [1, 9, 200]

  /// Tables of made-up rows after some steps on `threads` threads, with the sums of squares.
  private func run(threads: Int, steps: Int) -> [[Float]] {
    let (rows, squares) = (Self.rowCounts.map { Buffer<Float>($0 * Self.columns) }, Self.squares())
    for (index, buffer) in rows.enumerated() {
      buffer.view.copy(from: madeUpNormals(buffer.count, seed: UInt64(index)))
    }
    let tables = zip(rows, squares).map { buffer, squares in
      (
        rows: Matrix(buffer.view, rows: squares.count, columns: Self.columns),
        squares: squares.view
      )
    }
    let pool = WorkerPool(threadCount: threads)
    for step in 0..<steps {
      let lookups = Buffer<Int32>(Self.positions * tables.count)
      lookups.view.copy(from: Self.lookups(step))
      let gradients = Buffer<Float>(Self.positions * Self.columns)
      gradients.view.copy(from: Self.gradients(step))
      RowAdagrad(rate: 0.7).update(
        tables, lookups: lookups.view,
        gradients: Matrix(gradients.view, rows: Self.positions, columns: Self.columns), pool: pool)
    }
    return (rows + squares).map(\.view.array)
  }

  private static func squares() -> [Buffer<Float>] { rowCounts.map { Buffer<Float>($0) } }

  /// Every seventh row of the last table is never looked up.
  private static func lookups(_ step: Int) -> [Int32] {
    (0..<positions).flatMap { position in
      rowCounts.map { rows in
        let row = (position * (31 + step) + position / 5) % rows
        return Int32(rows == 200 && row % 7 == 3 ? row - 1 : row)
      }
    }
  }

  private static func gradients(_ step: Int) -> [Float] {
    madeUpNormals(positions * columns, seed: UInt64(100 + step))
  }

  @Test("steps agree with the formula in double precision; rows not looked up stay")
  func reference() {
    let steps = 3
    let got = run(threads: 1, steps: steps)
    for (place, count) in Self.rowCounts.enumerated() {
      var rows = madeUpNormals(count * Self.columns, seed: UInt64(place)).map(Double.init)
      let untouched = rows
      var squares = [Double](repeating: 0, count: count)
      for step in 0..<steps {
        let (lookups, gradients) = (Self.lookups(step), Self.gradients(step))
        var sums = [Double](repeating: 0, count: rows.count)
        for position in 0..<Self.positions {
          let row = Int(lookups[position * Self.rowCounts.count + place])
          for column in 0..<Self.columns {
            sums[row * Self.columns + column] += Double(
              gradients[position * Self.columns + column])
          }
        }
        for row in 0..<count {
          let own = row * Self.columns..<(row + 1) * Self.columns
          squares[row] += own.reduce(0) { $0 + sums[$1] * sums[$1] }
          guard squares[row] > 0 else { continue }
          for index in own { rows[index] -= 0.7 * sums[index] / pow(squares[row], 0.3) }
        }
      }
      for (index, expected) in rows.enumerated() {
        #expect(abs(Double(got[place][index]) - expected) <= 1e-4 * max(1, abs(expected)))
        if count == 200, index / Self.columns % 7 == 3 {
          #expect(got[place][index] == Float(untouched[index]))
        }
      }
    }
  }

  @Test("threads do not change a bit", arguments: 2...4)
  func threads(_ count: Int) {
    #expect(run(threads: count, steps: 2) == run(threads: 1, steps: 2))
  }
}
