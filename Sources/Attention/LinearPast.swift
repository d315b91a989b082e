// Linear attention row by row: the sums over all complete blocks, and the block that is under way. What a head keeps does not
// grow with the sequence.
import Compute

/// What one head keeps.
struct LinearPast: HeadPast {
  private let sizes: LinearAttention
  /// `[K, M]`.
  private let directions: Packed<Float>
  /// `[M, block]`: features of the keys of the present block.
  private let keys: Packed<Float>
  /// `[block, K + 1]`: its values, each with a 1.
  private let values: Packed<Float>
  /// `[M, K + 1]`: sums of the present run's complete blocks, of the runs before it, and of both.
  private let run, before, all: Packed<Float>
  /// By strip.
  private let chains: [SumChain]

  /// Lends it, empty.
  init(
    _ sizes: LinearAttention, directions: Packed<Float>, headWidth: Int, from arena: ScratchArena
  ) {
    self.sizes = sizes
    self.directions = directions
    keys = arena.strips(sizes.features, sizes.block)
    values = arena.strips(sizes.block, headWidth + 1)
    (run, before, all) = (
      arena.strips(sizes.features, headWidth + 1), arena.strips(sizes.features, headWidth + 1),
      arena.strips(sizes.features, headWidth + 1)
    )
    for sums in [run, before, all] { sums.clear() }
    chains = before.runs.map { SumChain($0.count, length: sizes.spanRuns, from: arena) }
  }

  func enter(_ row: HeadRow, scratch: ScratchArena) {
    let place = row.position % sizes.block
    if place == 0 && row.position > 0 { addBlock(before: row.position) }
    scratch.frame {
      let key = row.turned(row.key, scratch)
      let features = products(key, scratch)
      let half = scratch.floats(1)
      Kernels.rowDots(key, key, into: half)
      Kernels.scale(half, by: 0.5 / Float(key.columns).squareRoot())
      Kernels.columnExponentials(
        features, minus: half, upTo: LinearAttention.top, plus: LinearAttention.floor)
      keys.setColumn(place, to: features.dense)
      let width = row.value.columns
      let value = scratch.matrix(1, width + 1)
      value.columns(0..<width).copy(from: row.value)
      value.row(0)[width] = 1
      values.rows(place..<place + 1).copy(from: value)
    }
  }

  /// `[M, 1]`: directions times a row.
  private func products(_ x: Matrix, _ scratch: ScratchArena) -> Matrix {
    let products = scratch.matrix(1, sizes.features)
    tileProduct(x.left, directions, into: products.result)
    return Matrix(products.dense, rows: sizes.features, columns: 1)
  }

  /// The block that ends at `position` is complete.
  private func addBlock(before position: Int) {
    tileProduct(keys.left, values, into: run.result, accumulate: true)
    if position % sizes.run == 0 {
      for (strip, own) in before.runs.enumerated() {
        own.copy(from: run.runs[strip])
        chains[strip].add(own, number: position / sizes.run - 1)
      }
      run.clear()
    }
    all.set(to: run, plus: before)
  }

  func attend(_ row: HeadRow, scratch: ScratchArena) {
    let seen = 0..<row.position % sizes.block + 1
    let width = row.value.columns
    let features = products(row.turned(row.query, scratch), scratch)
    let most = scratch.floats(1)
    Kernels.columnMaximum(features, into: most)
    Kernels.columnExponentials(features, minus: most, upTo: LinearAttention.top, plus: 0)
    let query = Matrix(features.dense, rows: 1, columns: sizes.features)
    let (scores, partial) = (scratch.matrix(1, seen.count), scratch.matrix(1, width + 1))
    scores.fill(0)
    partial.fill(0)
    tileProduct(query.left, keys.columns(seen), into: scores.result, continuing: true)
    tileProduct(query.left, all, into: partial.result, continuing: true)
    tileProduct(scores.left, values.rows(seen), into: partial.result, continuing: true)
    row.output.copy(from: partial.columns(0..<width))
    Kernels.normalizeRows(row.output, by: partial.columns(width..<width + 1))
  }
}

extension LinearAttention {
  /// Sums, and a block.
  public func past(
    head: Int, length: Int, headWidth: Int, pass: AttentionPass, from arena: ScratchArena
  ) -> any HeadPast {
    let directions = arena.strips(headWidth, features)
    let scratch = pass.engine.scratch
    scratch.frame {
      let rows = scratch.matrix(features, headWidth)
      fillDirections(rows, head: head, pass: pass, scratch: scratch)
      directions.copy(transposing: rows)
    }
    return LinearPast(self, directions: directions, headWidth: headWidth, from: arena)
  }
}
