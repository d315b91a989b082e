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
  /// Chunks one task walks through.
  ///
  /// Fixed by size: it sets the order in which key gradients are added.
  private var chunksPerTask: Int { max(1, 1024 / chunk) }
  private var tasks: [Range<Int>] { Tiling.ranges(chunksPerRound, by: chunksPerTask) }

  /// Floats that `backward` lends: for all of `heads` heads, and by each thread.
  func scratchFloats(heads: Int, headWidth: Int) -> (shared: Int, perThread: Int) {
    let halo = before * chunk * (2 * headWidth + 1)
    let window = (before + 1) * ChunkWindow.slotRows(chunk: chunk)
    return (
      heads * (length + tasks.count * halo),
      (6 * window + 3 * chunk) * headWidth + (2 * window + before + 4) * chunk
    )
  }

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

  /// One head's gradients: `output` flows in, the others are added to.
  struct HeadGradient {
    let output: Matrix
    let queries: Matrix
    /// With respect to the scaled keys; nil where keys are scaled queries and add to those.
    let keys: Matrix?
    let values: Matrix

    /// Adds rows of gradients at `positions`, which a list of a round has once.
    func add(keys rows: Matrix, values valueRows: Matrix, of head: Head, at positions: View<Int32>)
    {
      if let keys {
        Kernels.scatterAdd(rows, to: keys, rows: positions)
      } else if let scale = head.keyScale {
        Kernels.keyScaleBackward(
          rows, x: head.queries, scale: scale, into: queries, rows: positions)
      }
      Kernels.scatterAdd(valueRows, to: values, rows: positions)
    }
  }

  /// Gradients of the chunks that a task looks back at but does not own.
  private struct Halo {
    let keys: Matrix
    let values: Matrix
    let positions: View<Int32>

    func store(_ keyRows: Matrix, _ valueRows: Matrix, _ at: View<Int32>, chunk index: Int) {
      let rows = index * at.count..<(index + 1) * at.count
      keys.rows(rows).copy(from: keyRows)
      values.rows(rows).copy(from: valueRows)
      positions[rows].copy(from: at)
    }
  }

  /// Computes output, maximum and sum of every head.
  func forward(_ heads: [Head], dropout: Double, engine: Engine) {
    let pieces = Tiling.ranges(length, by: Tiling.blockRows)
    engine.pool.run(heads.count * pieces.count) { task, scratch in
      let head = heads[task / pieces.count]
      let rows = pieces[task % pieces.count]
      head.output.rows(rows).fill(0)
      head.maximum.rows(rows).fill(-.infinity)
      head.sum.rows(rows).fill(0)
      scratch.lap(.merge)
    }
    let tasks = tasks
    for round in 0..<rounds {
      engine.pool.run(heads.count * tasks.count) { task, scratch in
        forward(
          heads[task / tasks.count], round: round, chunks: tasks[task % tasks.count],
          dropout: dropout, scratch: scratch)
      }
    }
    engine.pool.run(heads.count * pieces.count) { task, scratch in
      let head = heads[task / pieces.count]
      let rows = pieces[task % pieces.count]
      if masksSelf { roundLoneSums(head, rows) }
      Kernels.normalizeRows(head.output.rows(rows), by: head.sum.rows(rows))
      scratch.lap(.merge)
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
    let window = ChunkWindow(
      chunk: chunk, before: before, width: width, forGradient: false, from: scratch)
    let queries = scratch.strips(chunk, width)
    let partial = scratch.matrix(chunk, width)
    let scores = scratch.matrix(chunk, window.rows)
    let maximum = scratch.floats(chunk)
    let sum = scratch.floats(chunk)
    for index in chunks.lowerBound - before..<chunks.upperBound {
      let slot = slot(index)
      window.load(positions(head, round: round, chunk: index, scratch), of: head, slot: slot)
      guard index >= chunks.lowerBound else { continue }
      let own = window.positions[window.rows(ofSlot: slot)]
      gather(head.queries, rows: own, into: queries)
      scratch.lap(.gather)
      tileProduct(queries.left, window.keysAcross, into: scores.result)
      scratch.lap(.scores)
      Kernels.maskedSoftmax(
        scores, queryPositions: own, keyPositions: window.positions, masksSelf: masksSelf,
        maximum: maximum, sum: sum)
      if dropout > 0 {
        head.dropoutStream.dropout(
          scores.dense, rate: dropout, first: dropoutAddress(round: round, chunk: index))
      }
      scratch.lap(.softmax)
      tileProduct(scores.left, window.values, into: partial.result)
      scratch.lap(.values)
      Kernels.mergeRows(
        partial, maximum: maximum, sum: sum, into: head.output, maximum: head.maximum,
        sum: head.sum, rows: own)
      scratch.lap(.merge)
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
      engine.pool.run(heads.count * pieces.count) { task, scratch in
        let head = task / pieces.count
        let rows = pieces[task % pieces.count]
        Kernels.rowDots(
          heads[head].output.rows(rows), gradients[head].output.rows(rows),
          into: dots[head].rows(rows).dense)
        scratch.lap(.softmax)
      }
      // A task's first chunks look back at keys that belong to the task before. Their gradients
      // wait here until all tasks of the round are done, so no two threads ever add to one row.
      let halos = heads.map { _ in
        tasks.map { _ in
          Halo(
            keys: engine.scratch.matrix(halo, width), values: engine.scratch.matrix(halo, width),
            positions: engine.scratch.integers(halo))
        }
      }
      for round in 0..<rounds {
        engine.pool.run(heads.count * tasks.count) { task, scratch in
          let (head, part) = task.quotientAndRemainder(dividingBy: tasks.count)
          backward(
            heads[head], gradients[head], dots: dots[head], round: round, chunks: tasks[part],
            halo: halos[head][part], dropout: dropout, scratch: scratch)
        }
        guard halo > 0 else { continue }
        engine.pool.run(heads.count) { head, scratch in
          for part in halos[head] {
            gradients[head].add(
              keys: part.keys, values: part.values, of: heads[head], at: part.positions)
          }
          scratch.lap(.scatter)
        }
      }
    }
  }

  private func backward(
    _ head: Head, _ gradient: HeadGradient, dots: Matrix, round: Int, chunks: Range<Int>,
    halo: Halo, dropout: Double, scratch: ScratchArena
  ) {
    let width = head.queries.columns
    let window = ChunkWindow(
      chunk: chunk, before: before, width: width, forGradient: true, from: scratch)
    let keyGradients = scratch.matrix(window.rows, width)
    let valueGradients = scratch.matrix(window.rows, width)
    let queries = scratch.strips(chunk, width)
    let queryGradients = scratch.matrix(chunk, width)
    let outputGradients = scratch.strips(chunk, width)
    let scores = scratch.matrix(chunk, window.rows)
    let scoreGradients = scratch.matrix(chunk, window.rows)
    let maximum = scratch.matrix(chunk, 1)
    let sum = scratch.matrix(chunk, 1)
    let ownDots = scratch.matrix(chunk, 1)
    let first = chunks.lowerBound - before

    // Gives the gradients of a chunk that no later chunk of the task sees to their positions.
    func finish(_ index: Int) {
      let rows = window.rows(ofSlot: slot(index))
      let (keys, values) = (keyGradients.rows(rows), valueGradients.rows(rows))
      if index < chunks.lowerBound {
        halo.store(keys, values, window.positions[rows], chunk: index - first)
      } else {
        gradient.add(keys: keys, values: values, of: head, at: window.positions[rows])
      }
      scratch.lap(.scatter)
    }

    for index in first..<chunks.upperBound {
      if index - window.slots >= first { finish(index - window.slots) }
      let slot = slot(index)
      let rows = window.rows(ofSlot: slot)
      window.load(positions(head, round: round, chunk: index, scratch), of: head, slot: slot)
      keyGradients.rows(rows).fill(0)
      valueGradients.rows(rows).fill(0)
      guard index >= chunks.lowerBound else { continue }
      let own = window.positions[rows]
      gather(head.queries, rows: own, into: queries)
      gather(gradient.output, rows: own, into: outputGradients)
      Kernels.gather(head.maximum, rows: own, into: maximum)
      Kernels.gather(head.sum, rows: own, into: sum)
      Kernels.gather(dots, rows: own, into: ownDots)
      scratch.lap(.gather)
      tileProduct(queries.left, window.keysAcross, into: scores.result)
      scratch.lap(.scores)
      if let across = window.valuesAcross {
        tileProduct(outputGradients.left, across, into: scoreGradients.result)
      }
      scratch.lap(.values)
      let address = dropoutAddress(round: round, chunk: index)
      if dropout > 0 {
        head.dropoutStream.dropout(scoreGradients.dense, rate: dropout, first: address)
      }
      Kernels.maskedSoftmaxBackward(
        scores, scoreGradients, queryPositions: own, keyPositions: window.positions,
        masksSelf: masksSelf, maximum: maximum.dense, sum: sum.dense, outputDots: ownDots.dense)
      if dropout > 0 {
        head.dropoutStream.dropout(scores.dense, rate: dropout, first: address)
      }
      scratch.lap(.softmax)
      tileProduct(
        scores.leftTransposed, outputGradients, into: valueGradients.result, accumulate: true)
      scratch.lap(.values)
      tileProduct(
        scoreGradients.leftTransposed, queries, into: keyGradients.result, accumulate: true)
      tileProduct(scoreGradients.left, window.keys, into: queryGradients.result)
      scratch.lap(.scores)
      Kernels.scatterAdd(queryGradients, to: gradient.queries, rows: own)
      scratch.lap(.scatter)
    }
    for index in max(first, chunks.upperBound - window.slots)..<chunks.upperBound { finish(index) }
  }

  private func slot(_ index: Int) -> Int { (index + before) % (before + 1) }

  /// Positions of a chunk of the list; past every position where the list has no such chunk.
  private func positions(
    _ head: Head, round: Int, chunk index: Int, _ scratch: ScratchArena
  ) -> View<Int32> {
    let list = rounds * chunksPerRound
    let place = round * chunksPerRound + index
    guard place >= 0 || isCircular else {
      let none = scratch.integers(chunk)
      none.fill(Int32.max)
      return none
    }
    // A look-back longer than the whole list goes round more than once.
    let start = (place % list + list) % list * chunk
    return head.order[start..<start + chunk]
  }

  private func dropoutAddress(round: Int, chunk index: Int) -> Int {
    (round * chunksPerRound + index) * chunk * (before + 1) * ChunkWindow.slotRows(chunk: chunk)
  }
}
