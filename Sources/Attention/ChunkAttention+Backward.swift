// The gradient of attention over chunks. A task owns a run of chunks and looks back at keys that the task before
// owns; what it has for those waits until all tasks of the round are done.
import Compute

extension ChunkAttention {
  /// Where gradients of keys go.
  enum KeyGradient {
    /// To keys of their own: gradients with respect to the scaled keys.
    case own(Matrix)
    /// To the queries, whose scaled rows the keys are.
    case throughQueries
  }

  /// One head's gradients: `output` flows in, the others are added to.
  struct HeadGradient {
    let output: Matrix
    let queries: Matrix
    let keys: KeyGradient
    let values: Matrix

    /// Adds rows of gradients at `positions`, which a list of a round has once.
    func add(keys rows: Matrix, values valueRows: Matrix, of head: Head, at positions: View<Int32>)
    {
      switch keys {
      case .own(let keys):
        Kernels.scatterAdd(rows, to: keys, rows: positions)
      case .throughQueries:
        Kernels.keyScaleBackward(
          rows, x: head.queries, scale: head.keyScale, into: queries, rows: positions)
      }
      Kernels.scatterAdd(valueRows, to: values, rows: positions)
    }
  }

  /// Gradients of the chunks that a task looks back at but does not own.
  private struct Halo {
    let keys: Matrix
    let values: Matrix
    let positions: View<Int32>

    init(rows: Int, width: Int, from arena: ScratchArena) {
      keys = arena.matrix(rows, width)
      values = arena.matrix(rows, width)
      positions = arena.integers(rows)
    }

    func store(_ keyRows: Matrix, _ valueRows: Matrix, _ at: View<Int32>, chunk index: Int) {
      let rows = index * at.count..<(index + 1) * at.count
      keys.rows(rows).copy(from: keyRows)
      values.rows(rows).copy(from: valueRows)
      positions[rows].copy(from: at)
    }
  }

  /// Writes the gradients of what was projected, those of keys with respect to the scaled ones where they have
  /// a projection of their own.
  func backward(
    _ group: HeadGroup, rows: SoftmaxRows, outputGradient: Matrix, gradients projected: [Matrix],
    pass: AttentionPass, order: (Int) -> Order
  ) {
    let width = group.headWidth
    let (pieces, tasks) = (pieces, tasks)
    let (engine, dropout) = (pass.engine, pass.dropout)
    let heads = heads(group, rows, pass, order)
    let last = projected.count - 1
    let gradients = (0..<group.heads).map { head in
      HeadGradient(
        output: group.head(head, of: outputGradient), queries: group.head(head, of: projected[0]),
        keys: last == 1 ? .throughQueries : .own(group.head(head, of: projected[1])),
        values: group.head(head, of: projected[last]))
    }
    engine.pool.run(pieces.count) { task, scratch in
      for gradient in projected { gradient.rows(pieces[task]).fill(0) }
      scratch.lap(.scatter)
    }
    engine.scratch.frame {
      // Sum over features of output times its gradient: what the softmax gradient subtracts.
      let dots = heads.map { _ in engine.scratch.matrix(length, 1) }
      engine.pool.run(heads.count * pieces.count) { task, scratch in
        let head = task / pieces.count
        let rows = pieces[task % pieces.count]
        Kernels.rowDots(
          heads[head].output.rows(rows), gradients[head].output.rows(rows),
          into: dots[head].rows(rows).dense)
        scratch.lap(.softmax)
      }
      let halos = heads.map { _ in
        tasks.map { _ in Halo(rows: before * chunk, width: width, from: engine.scratch) }
      }
      for round in 0..<rounds {
        engine.pool.run(heads.count * tasks.count) { task, scratch in
          let (head, part) = task.quotientAndRemainder(dividingBy: tasks.count)
          backward(
            heads[head], gradients[head], dots: dots[head], round: round, chunks: tasks[part],
            halo: halos[head][part], dropout: dropout, scratch: scratch)
        }
        addHalos(halos, heads, gradients, round: round, engine: engine)
      }
    }
  }

  /// Adds what waited, in the order of the list where rows may meet.
  private func addHalos(
    _ halos: [[Halo]], _ heads: [Head], _ gradients: [HeadGradient], round: Int, engine: Engine
  ) {
    let before = before(round)
    guard before > 0 else { return }
    let rows = 0..<before * chunk
    func add(_ head: Int, _ part: Int) {
      let halo = halos[head][part]
      gradients[head].add(
        keys: halo.keys.rows(rows), values: halo.values.rows(rows), of: heads[head],
        at: halo.positions[rows])
    }
    // The first looks back into another round, whose positions may be those of any other; the others look at
    // chunks of one round, each its own unless they reach back past a whole task.
    let meet = before > chunksPerTask ? halos[0].count : 1
    engine.pool.run(heads.count) { head, scratch in
      for part in 0..<meet { add(head, part) }
      scratch.lap(.scatter)
    }
    let rest = halos[0].count - meet
    engine.pool.run(heads.count * rest) { task, scratch in
      add(task / rest, meet + task % rest)
      scratch.lap(.scatter)
    }
  }

  private func backward(
    _ head: Head, _ gradient: HeadGradient, dots: Matrix, round: Int, chunks: Range<Int>,
    halo: Halo, dropout: Double, scratch: ScratchArena
  ) {
    let width = head.queries.columns
    let before = before(round)
    let window = ChunkWindow(chunk: chunk, before: before, width: width, from: scratch)
    let seen = SeenKeys(self, window, round: round, from: scratch)
    let valuesAcross = window.across(width: width, from: scratch)
    let list = scratch.integers(chunk)
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
      let rows = window.rows(ofSlot: window.slot(index))
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
      let slot = window.slot(index)
      let rows = window.rows(ofSlot: slot)
      fill(list, with: head.order, round: round, chunk: index)
      window.load(list, keys: head.keys, scale: head.keyScale, values: head.values, slot: slot)
      transpose(window.values.rows(rows), into: valuesAcross, columns: rows)
      keyGradients.rows(rows).fill(0)
      valueGradients.rows(rows).fill(0)
      guard index >= chunks.lowerBound else { continue }
      let own = window.positions[rows]
      gather(head.queries, rows: own, into: queries)
      gather(gradient.output, rows: own, into: outputGradients)
      Kernels.gather(head.maximum, rows: own, into: maximum)
      Kernels.gather(head.sum, rows: own, into: sum)
      Kernels.gather(dots, rows: own, into: ownDots)
      seen.find(head.order, chunk: index)
      let parts = seen.parts(newest: slot)
      scratch.lap(.gather)
      for part in parts {
        tileProduct(
          queries.left, window.keysAcross.columns(part.rows),
          into: scores.columns(part.columns).result)
      }
      scratch.lap(.scores)
      for part in parts {
        tileProduct(
          outputGradients.left, valuesAcross.columns(part.rows),
          into: scoreGradients.columns(part.columns).result)
      }
      scratch.lap(.values)
      seen.drop(
        scoreGradients, queries: own, chunk: index, by: head.dropoutStream, rate: dropout)
      seen.softmaxBackward(
        scores, scoreGradients, queries: own, maximum: maximum.dense, sum: sum.dense,
        outputDots: ownDots.dense)
      seen.drop(scores, queries: own, chunk: index, by: head.dropoutStream, rate: dropout)
      scratch.lap(.softmax)
      for part in parts {
        tileProduct(
          scores.columns(part.columns).leftTransposed, outputGradients,
          into: valueGradients.rows(part.rows).result, accumulate: true)
      }
      scratch.lap(.values)
      for (number, part) in parts.enumerated() {
        let gradients = scoreGradients.columns(part.columns)
        tileProduct(
          gradients.leftTransposed, queries, into: keyGradients.rows(part.rows).result,
          accumulate: true)
        tileProduct(
          gradients.left, window.keys.rows(part.rows), into: queryGradients.result,
          accumulate: number > 0)
      }
      scratch.lap(.scores)
      Kernels.scatterAdd(queryGradients, to: gradient.queries, rows: own)
      scratch.lap(.scatter)
    }
    for index in max(first, chunks.upperBound - window.slots)..<chunks.upperBound { finish(index) }
  }
}
