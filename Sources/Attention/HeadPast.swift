// One row at a time: what generation computes. A head keeps what rows to come can see of earlier ones, so that a row costs
// the same wherever it stands; its bits are those of a pass over the whole sequence.
import Compute

/// One row of one head: a position of a sequence.
///
/// K features per head.
public struct HeadRow {
  /// Place in the sequence.
  public let position: Int
  /// `[1, K]` each, as projected; where both share a projection, keys are the queries.
  let query, key, value: Matrix
  /// `[1, K]`, normalised.
  let output: Matrix
  // The pass owns it: a reference that all threads count, for each row of each head, costs more than the rows.
  private unowned(unsafe) let rotary: RotaryPositions?

  /// Row `row` of head `head` of a group, which stands at `position` of its sequence; `rotary` has to outlive it.
  public init(
    _ group: HeadGroup, head: Int, row: Int, position: Int, rotary: RotaryPositions? = nil
  ) {
    let count = group.projected.count
    self.position = position
    self.rotary = rotary
    query = group.row(row, head: head, of: group.projected[0])
    key = group.row(row, head: head, of: group.projected[count - 2])
    value = group.row(row, head: head, of: group.projected[count - 1])
    output = group.row(row, head: head, of: group.output)
  }
}

/// What one head keeps of a sequence's rows.
public protocol HeadPast: Sendable {
  /// Takes a row in, that of the position after the last one.
  func enter(_ row: HeadRow, scratch: ScratchArena)

  /// Writes the output of the row that was taken in last.
  func attend(_ row: HeadRow, scratch: ScratchArena)
}

/// The softmax of one query over keys that come in several lists.
struct RowSoftmax {
  private let row: HeadRow
  private let query: Matrix
  private let maximum, sum: Matrix
  private let partial: Matrix
  private let partialMaximum, partialSum: View<Float>
  private let scratch: ScratchArena
  /// The only row's index.
  private let place: View<Int32>

  /// Nothing seen yet.
  init(_ row: HeadRow, scratch: ScratchArena) {
    self.row = row
    self.scratch = scratch
    query = row.turned(row.query, scratch)
    (maximum, sum) = (scratch.matrix(1, 1), scratch.matrix(1, 1))
    (partialMaximum, partialSum) = (scratch.floats(1), scratch.floats(1))
    partial = scratch.matrix(1, row.value.columns)
    place = scratch.integers(1)
    place[0] = 0
    row.output.fill(0)
    maximum.fill(-.infinity)
    sum.fill(0)
  }

  /// Adds the rows `seen` of keys and values `[length, K]`, oldest first; with `lastResort` the query's own is the last,
  /// which counts only where there is no other.
  ///
  /// `fading`: where the sight of the head fades out, if it does, and the position of the first of these rows, which the
  /// others follow.
  func add(
    _ seen: View<Int32>, keys: Matrix, values: Matrix, lastResort: Bool = true,
    fading: (edge: SoftEdge, firstKey: Int)? = nil
  ) {
    scratch.frame {
      let across = scratch.strips(keys.columns, seen.count)
      across.copy(transposing: keys, rows: seen)
      add(seen, ring: across, oldest: 0, values: values, lastResort: lastResort, fading: fading)
    }
  }

  /// The same, of keys that are in a ring `[K, n]`, whose column `oldest` is the first one's.
  func add(
    _ seen: View<Int32>, ring: Packed<Float>, oldest: Int, values: Matrix, lastResort: Bool = true,
    fading: (edge: SoftEdge, firstKey: Int)? = nil
  ) {
    scratch.frame {
      let end = scratch.integers(1)
      end[0] = Int32(seen.count)
      let around = scratch.matrix(1, ring.columns)
      tileProduct(query.left, ring, into: around.result)
      let scores = scratch.matrix(1, seen.count)
      let beforeEnd = min(seen.count, ring.columns - oldest)
      scores.dense[0..<beforeEnd].copy(from: around.dense[oldest..<oldest + beforeEnd])
      scores.dense[beforeEnd..<seen.count].copy(from: around.dense[0..<seen.count - beforeEnd])
      if let (edge, firstKey) = fading {
        edge.fade(scores.dense, query: row.position, firstKey: firstKey)
      }
      Kernels.runSoftmax(
        scores, first: place, end: end, lastResort: lastResort, maximum: partialMaximum,
        sum: partialSum)
      partial.fill(0)
      Kernels.add(values, rows: seen, by: scores.dense, to: partial.dense)
    }
    merge()
  }

  /// Adds the keys up to the query's position among those at `positions` `[n]`; `keysAcross` are `[K, n]`.
  func add(
    keysAcross: Packed<Float>, values: Packed<Float>, positions: View<Int32>, masksSelf: Bool
  ) {
    scratch.frame {
      let scores = scratch.matrix(1, positions.count)
      let own = scratch.integers(1)
      own[0] = Int32(row.position)
      tileProduct(query.left, keysAcross, into: scores.result)
      Kernels.maskedSoftmax(
        scores, queryPositions: own, keyPositions: positions, masksSelf: masksSelf,
        maximum: partialMaximum, sum: partialSum)
      tileProduct(scores.left, values, into: partial.result)
    }
    merge()
  }

  private func merge() {
    Kernels.mergeRows(
      partial, maximum: partialMaximum, sum: partialSum, into: row.output, maximum: maximum,
      sum: sum, rows: place)
  }

  /// Makes the output the mean of the values seen.
  func finish() { Kernels.normalizeRows(row.output, by: sum) }
}

extension HeadRow {
  /// Queries or a key as they meet: where positions are rotary, a copy that is turned.
  func turned(_ features: Matrix, _ scratch: ScratchArena) -> Matrix {
    guard let rotary else { return features }
    let copy = scratch.matrix(1, features.columns)
    copy.copy(from: features)
    rotary.turn(copy.dense, of: position)
    return copy
  }

  /// The key, turned, times its scale into `out` `[1, K]`: of unit length over sqrt(K) where it shares the query's
  /// projection, over sqrt(K) otherwise.
  func scaleKey(sharesQueryKey: Bool, into out: Matrix, scratch: ScratchArena) {
    scratch.frame {
      let (scale, place) = (scratch.matrix(1, 1), scratch.integers(1))
      let key = turned(key, scratch)
      place[0] = 0
      if sharesQueryKey {
        Kernels.keyScale(key, into: scale)
      } else {
        scale.fill(1 / Float(key.columns).squareRoot())
      }
      Kernels.gather(key, rows: place, scale: scale, into: out)
    }
  }
}

extension Packed<Float> {
  /// Sets one column.
  func setColumn(_ column: Int, to values: View<Float>) {
    precondition(values.count == rows && column < columns, "column \(column) of \(columns)")
    let (strip, lane) = column.quotientAndRemainder(dividingBy: Self.width)
    let matrix = self.strip(strip).matrix
    for row in 0..<rows { matrix.base[row * matrix.stride + lane] = values.base[row] }
  }
}
