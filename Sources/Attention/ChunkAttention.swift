// Attention over chunks of a list of positions, the common part of local and LSH attention. The
// list is the sequence itself (local) or all hash rounds one after the other, each sorted by bucket
// (LSH). A chunk sees itself and the chunks just before it; all rounds together are one softmax
// over the multiset of keys seen, so rounds are merged as they come and nothing of a round is kept
// (flash attention, Dao et al. 2022; DESIGN 3).
import Compute
import Glibc

/// Sizes of a pass over chunks.
///
/// C positions per chunk, `before` earlier chunks, R rounds.
struct ChunkAttention {
  let chunk: Int
  let before: Int
  let rounds: Int
  let length: Int
  /// Whether a position attends to itself only when nothing else is left (LSH).
  let masksSelf: Bool
  /// Whether the first chunk of the list sees the last ones, as Hugging Face's look-back does.
  ///
  /// Only hash rounds need it; in sequence order the causal mask would hide those chunks anyway.
  let isCircular: Bool

  /// The length rounded up to whole chunks; the padding is past every position, so causality masks
  /// it.
  var paddedLength: Int { (length + chunk - 1) / chunk * chunk }
  private var chunksPerRound: Int { paddedLength / chunk }
  private var window: Int { (before + 1) * chunk }
  /// Chunks one task walks through.
  ///
  /// Fixed by size: it sets the order in which key gradients are added.
  private var chunksPerTask: Int { max(1, 1024 / chunk) }
  private var tasks: [Range<Int>] { Tiling.ranges(chunksPerRound, by: chunksPerTask) }

  /// One head's part of a pass.
  struct Head {
    let queries: Matrix
    let keys: Matrix
    let values: Matrix
    /// Per-row factor from stored to used keys, or nil.
    let keyScale: Matrix?
    /// `[R, padded L]`.
    let order: View<Int32>
    let output: Matrix
    let maximum: Matrix
    let sum: Matrix
    let dropoutStream: CounterRandom
  }

  /// One head's gradients.
  ///
  /// All are added to.
  struct HeadGradient {
    let output: Matrix
    let queries: Matrix
    /// With respect to the scaled keys.
    let keys: Matrix
    let values: Matrix
  }

  /// Computes output, maximum and sum of every head.
  func forward(_ heads: [Head], dropout: Double, engine: Engine) {
    let pieces = Tiling.ranges(length, by: Tiling.blockRows)
    engine.pool.run(heads.count * pieces.count) { task, _ in
      let head = heads[task / pieces.count]
      let rows = pieces[task % pieces.count]
      head.output.rows(rows).fill(0)
      head.maximum.rows(rows).fill(-.infinity)
      head.sum.rows(rows).fill(0)
    }
    let tasks = tasks
    for round in 0..<rounds {
      engine.pool.run(heads.count * tasks.count) { task, scratch in
        forward(
          heads[task / tasks.count], round: round, chunks: tasks[task % tasks.count],
          dropout: dropout, scratch: scratch)
      }
    }
    engine.pool.run(heads.count * pieces.count) { task, _ in
      let head = heads[task / pieces.count]
      let rows = pieces[task % pieces.count]
      if masksSelf { roundLoneSums(head, rows) }
      Kernels.normalizeRows(head.output.rows(rows), by: head.sum.rows(rows))
    }
  }

  /// A position that saw only itself has logit -1e5 in every round.
  ///
  /// Hugging Face weighs rounds by a single-precision log-sum-exp, which at that size is rounded to
  /// 1/128, so the rounds' weights do not quite add up to 1. Models trained there expect that;
  /// every other row has logits so small that the rounding is nothing.
  private func roundLoneSums(_ head: Head, _ rows: Range<Int>) {
    let (maximum, sum) = (head.maximum.rows(rows), head.sum.rows(rows))
    for row in 0..<rows.count {
      let largest = maximum.row(row)[0]
      guard largest <= -5e4 else { continue }
      let logSumExp = largest + log(sum.row(row)[0])
      sum.row(row)[0] = exp(logSumExp - largest)
    }
  }

  private func forward(
    _ head: Head, round: Int, chunks: Range<Int>, dropout: Double, scratch: ScratchArena
  ) {
    let width = head.queries.columns
    let positions = windowPositions(head, round: round, chunks: chunks, scratch: scratch)
    let keys = gathered(head.keys, positions, scale: head.keyScale, scratch)
    let values = gathered(head.values, positions, scale: nil, scratch)
    let queries = scratch.matrix(chunk, width)
    let partial = scratch.matrix(chunk, width)
    let scores = scratch.matrix(chunk, window)
    let maximum = scratch.floats(chunk)
    let sum = scratch.floats(chunk)
    for (step, index) in chunks.enumerated() {
      let seen = step * chunk..<step * chunk + window
      let own = positions[seen.upperBound - chunk..<seen.upperBound]
      Kernels.gather(head.queries, rows: own, into: queries)
      multiplyByTranspose(queries, keys, seen, into: scores)
      Kernels.maskedSoftmax(
        scores, queryPositions: own, keyPositions: positions[seen], masksSelf: masksSelf,
        maximum: maximum, sum: sum)
      if dropout > 0 {
        head.dropoutStream.dropout(
          scores.dense, rate: dropout, first: dropoutAddress(round: round, chunk: index))
      }
      tileProduct(scores.left, values.strips.rows(seen), into: partial.result)
      Kernels.mergeRows(
        partial, maximum: maximum, sum: sum, into: head.output, maximum: head.maximum,
        sum: head.sum, rows: own)
    }
  }

  /// Adds the gradients of every head.
  func backward(
    _ heads: [Head], _ gradients: [HeadGradient], dropout: Double, engine: Engine
  ) {
    let width = heads[0].queries.columns
    let tasks = tasks
    let halo = before * chunk
    engine.scratch.frame {
      // Sum over features of output times its gradient: what the softmax gradient subtracts.
      let dots = heads.map { _ in engine.scratch.matrix(length, 1) }
      let pieces = Tiling.ranges(length, by: Tiling.blockRows)
      engine.pool.run(heads.count * pieces.count) { task, _ in
        let head = task / pieces.count
        let rows = pieces[task % pieces.count]
        Kernels.rowDots(
          heads[head].output.rows(rows), gradients[head].output.rows(rows),
          into: dots[head].rows(rows).dense)
      }
      // A task's first chunks look back at keys that belong to the task before. Their gradients
      // wait here until all tasks of the round are done, so no two threads ever add to one row.
      let halos = heads.map { _ in engine.scratch.matrix(tasks.count * 2 * halo, width) }
      let haloPositions = heads.map { _ in engine.scratch.integers(tasks.count * halo) }
      for round in 0..<rounds {
        engine.pool.run(heads.count * tasks.count) { task, scratch in
          let (head, part) = task.quotientAndRemainder(dividingBy: tasks.count)
          backward(
            heads[head], gradients[head], dots: dots[head], round: round, chunks: tasks[part],
            halo: halos[head].rows(part * 2 * halo..<(part + 1) * 2 * halo),
            haloPositions: haloPositions[head][part * halo..<(part + 1) * halo], dropout: dropout,
            scratch: scratch)
        }
        guard halo > 0 else { continue }
        engine.pool.run(heads.count) { head, _ in
          for part in tasks.indices {
            let index = haloPositions[head][part * halo..<(part + 1) * halo]
            let rows = halos[head].rows(part * 2 * halo..<(part + 1) * 2 * halo)
            Kernels.scatterAdd(rows.rows(0..<halo), to: gradients[head].keys, rows: index)
            Kernels.scatterAdd(rows.rows(halo..<2 * halo), to: gradients[head].values, rows: index)
          }
        }
      }
    }
  }

  private func backward(
    _ head: Head, _ gradient: HeadGradient, dots: Matrix, round: Int, chunks: Range<Int>,
    halo: Matrix, haloPositions: View<Int32>, dropout: Double, scratch: ScratchArena
  ) {
    let width = head.queries.columns
    let positions = windowPositions(head, round: round, chunks: chunks, scratch: scratch)
    let keys = gathered(head.keys, positions, scale: head.keyScale, scratch)
    let values = gathered(head.values, positions, scale: nil, scratch)
    let keyGradients = scratch.matrix(positions.count, width)
    let valueGradients = scratch.matrix(positions.count, width)
    keyGradients.fill(0)
    valueGradients.fill(0)
    let queries = scratch.matrix(chunk, width)
    let queryGradients = scratch.matrix(chunk, width)
    let outputGradients = scratch.matrix(chunk, width)
    let scores = scratch.matrix(chunk, window)
    let scoreGradients = scratch.matrix(chunk, window)
    let scoreStrips = scratch.strips(chunk, window)
    let rowStrips = scratch.strips(chunk, width)
    let maximum = scratch.matrix(chunk, 1)
    let sum = scratch.matrix(chunk, 1)
    let ownDots = scratch.matrix(chunk, 1)
    for (step, index) in chunks.enumerated() {
      let seen = step * chunk..<step * chunk + window
      let own = positions[seen.upperBound - chunk..<seen.upperBound]
      Kernels.gather(head.queries, rows: own, into: queries)
      Kernels.gather(gradient.output, rows: own, into: outputGradients)
      Kernels.gather(head.maximum, rows: own, into: maximum)
      Kernels.gather(head.sum, rows: own, into: sum)
      Kernels.gather(dots, rows: own, into: ownDots)
      multiplyByTranspose(queries, keys, seen, into: scores)
      multiplyByTranspose(outputGradients, values, seen, into: scoreGradients)
      let first = dropoutAddress(round: round, chunk: index)
      if dropout > 0 {
        head.dropoutStream.dropout(scoreGradients.dense, rate: dropout, first: first)
      }
      Kernels.maskedSoftmaxBackward(
        scores, scoreGradients, queryPositions: own, keyPositions: positions[seen],
        masksSelf: masksSelf, maximum: maximum.dense, sum: sum.dense, outputDots: ownDots.dense)
      if dropout > 0 {
        head.dropoutStream.dropout(scores.dense, rate: dropout, first: first)
      }
      for (left, right, gradient) in [
        (scores, outputGradients, valueGradients), (scoreGradients, queries, keyGradients),
      ] {
        scoreStrips.copy(from: left)
        rowStrips.copy(from: right)
        tileProduct(
          scoreStrips.leftTransposed, rowStrips, into: gradient.rows(seen).result,
          accumulate: true)
      }
      tileProduct(scoreGradients.left, keys.strips.rows(seen), into: queryGradients.result)
      Kernels.scatterAdd(queryGradients, to: gradient.queries, rows: own)
    }
    let haloRows = before * chunk
    let own = haloRows..<positions.count
    Kernels.scatterAdd(keyGradients.rows(own), to: gradient.keys, rows: positions[own])
    Kernels.scatterAdd(valueGradients.rows(own), to: gradient.values, rows: positions[own])
    halo.rows(0..<haloRows).copy(from: keyGradients.rows(0..<haloRows))
    halo.rows(haloRows..<2 * haloRows).copy(from: valueGradients.rows(0..<haloRows))
    haloPositions.copy(from: positions[0..<haloRows])
  }

  /// Rows of a task's keys or values in list order, laid out for both products they enter.
  private struct Gathered {
    /// `[positions, K]`.
    let strips: StripMatrix
    /// `[K, positions]`, where chunks are whole strips; else the rows as they were gathered.
    let across: StripMatrix?
    let rows: Matrix
  }

  private func gathered(
    _ source: Matrix, _ positions: View<Int32>, scale: Matrix?, _ scratch: ScratchArena
  ) -> Gathered {
    let rows = scratch.matrix(positions.count, source.columns)
    let strips = scratch.strips(positions.count, source.columns)
    Kernels.gather(source, rows: positions, scale: scale, into: rows)
    strips.copy(from: rows)
    guard chunk % StripMatrix.width == 0 else {
      return Gathered(strips: strips, across: nil, rows: rows)
    }
    let across = scratch.strips(source.columns, positions.count)
    across.copy(transposing: rows)
    return Gathered(strips: strips, across: across, rows: rows)
  }

  /// Scores of a chunk's rows with the keys (or values) it sees.
  private func multiplyByTranspose(
    _ left: Matrix, _ right: Gathered, _ seen: Range<Int>, into scores: Matrix
  ) {
    if let across = right.across {
      tileProduct(left.left, across.columns(seen), into: scores.result)
    } else {
      multiply(left.plain, right.rows.rows(seen).transposed, into: scores)
    }
  }

  /// Positions of the list from `before` chunks ahead of `chunks` to their end.
  private func windowPositions(
    _ head: Head, round: Int, chunks: Range<Int>, scratch: ScratchArena
  ) -> View<Int32> {
    let list = rounds * chunksPerRound
    let positions = scratch.integers((before + chunks.count) * chunk)
    for step in 0..<before + chunks.count {
      let target = positions[step * chunk..<(step + 1) * chunk]
      let index = round * chunksPerRound + chunks.lowerBound + step - before
      if index < 0 && !isCircular {
        target.fill(Int32.max)
      } else {
        // A look-back longer than the whole list goes round more than once.
        let start = (index % list + list) % list * chunk
        target.copy(from: head.order[start..<start + chunk])
      }
    }
    return positions
  }

  private func dropoutAddress(round: Int, chunk index: Int) -> Int {
    (round * chunksPerRound + index) * chunk * window
  }
}
