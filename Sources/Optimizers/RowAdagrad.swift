// The optimizer of sparse tables: a row moves when a batch has looked it up, by the sum of its gradients over a power of
// all that it has seen before (Adagrad, Duchi et al. 2011, with one sum of squares a row).
import Compute

/// Updates rows of tables from lists of lookups.
///
/// V columns. A row's gradients are added in the order of the list, in runs of 128, so neither threads nor ranks enter
/// its bits.
public struct RowAdagrad: Sendable {
  /// A row's first gradient g moves it by rate times |g| to the power of 1 - 2 `power`.
  public let rate: Double
  /// The power of the sum of squared norms that a row's gradient is divided by.
  ///
  /// Adagrad's is a half; rows of n-gram counts learn faster with less (docs/results/learning.md).
  public static let power = 0.3

  /// An optimizer of this rate.
  public init(rate: Double) { self.rate = rate }

  /// Pieces in which a table's rows are shared out over tasks.
  private static let pieces = 16

  /// One step.
  ///
  /// - `tables`: rows `[rows, V]` and the sum of squares of each `[rows]`.
  /// - `lookups`: `[n, tables]`, the row of each table that a position looked up. `gradients`: `[n, V]`.
  public func update(
    _ tables: [(rows: Matrix, squares: View<Float>)], lookups: View<Int32>, gradients: Matrix,
    pool: WorkerPool
  ) {
    let count = gradients.rows
    precondition(lookups.count == count * tables.count, "lookups of other tables")
    let sorted = Buffer<Int>(count * tables.count)
    pool.run(tables.count) { place, scratch in
      let keys = sorted.view[place * count..<(place + 1) * count]
      for index in 0..<count {
        keys[index] = Int(lookups[index * tables.count + place]) * count + index
      }
      var buffer = UnsafeMutableBufferPointer(start: keys.base, count: count)
      buffer.sort()
      scratch.lap(.optimizer)
    }
    pool.run(tables.count * Self.pieces) { task, scratch in
      let (place, piece) = task.quotientAndRemainder(dividingBy: Self.pieces)
      let (rows, squares) = tables[place]
      let own = Self.part(piece, of: rows.rows)
      update(
        rows, squares: squares, keys: sorted.view[place * count..<(place + 1) * count],
        own: own, gradients: gradients, scratch: scratch)
      scratch.lap(.optimizer)
    }
  }

  private static func part(_ piece: Int, of rows: Int) -> Range<Int> {
    piece * rows / pieces..<(piece + 1) * rows / pieces
  }

  /// Updates the rows of `own` from `keys`, which are row times count plus place, ascending.
  private func update(
    _ rows: Matrix, squares: View<Float>, keys: View<Int>, own: Range<Int>, gradients: Matrix,
    scratch: ScratchArena
  ) {
    let count = keys.count
    let sum = scratch.floats(rows.columns)
    let run = scratch.floats(rows.columns)
    var index = firstKey(keys, notBelow: own.lowerBound * count)
    while index < count, keys[index] < own.upperBound * count {
      let row = keys[index] / count
      sum.fill(0)
      while index < count, keys[index] / count == row {
        run.copy(from: gradients.row(keys[index] % count))
        index += 1
        var length = 1
        while length < Tiling.tileRows, index < count, keys[index] / count == row {
          Kernels.add(run, gradients.row(keys[index] % count))
          index += 1
          length += 1
        }
        Kernels.add(sum, run)
      }
      squares[row] += Float(Kernels.sumOfSquares(sum))
      guard squares[row] > 0 else { continue }
      let factor = rate / DoubleFunctions.power(Double(squares[row]), Self.power)
      Kernels.scale(sum, by: Float(-factor))
      Kernels.add(rows.row(row), sum)
    }
  }

  private func firstKey(_ keys: View<Int>, notBelow bound: Int) -> Int {
    var (low, high) = (0, keys.count)
    while low < high {
      let middle = (low + high) / 2
      if keys[middle] < bound { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
