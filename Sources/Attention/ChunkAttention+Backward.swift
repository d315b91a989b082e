// The gradient of attention over chunks. A task owns a run of chunks and looks back at keys that the task before
// owns; what it has for those waits until all tasks of the round are done.
import Compute

extension ChunkAttention {
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

  /// Writes the gradients of what was projected; `Element` as in `forward`.
  func backward<Element: ProductElement>(
    _ group: HeadGroup, rows: [SoftmaxRows], outputGradient: Matrix, gradients: [Matrix],
    pass: AttentionPass, orders: [Order], of: Element.Type = Float.self
  ) {
    if let whole {
      return whole.backwardTurned(
        group, saved: rows, outputGradient: outputGradient, gradients: gradients, pass: pass)
    }
    let (engine, tasks) = (pass.engine, tasks)
    let heads = AttentionHead.all(group, rows, pass)
    engine.scratch.frame {
      let own = HeadGradient.all(
        group, heads, outputGradient: outputGradient, gradients: gradients, engine)
      let halos = heads.map { _ in
        tasks.map { _ in
          Halo(rows: before * chunk, width: group.headWidth, from: engine.scratch)
        }
      }
      for round in 0..<rounds {
        engine.pool.run(heads.count * tasks.count) { task, scratch in
          let (head, part) = task.quotientAndRemainder(dividingBy: tasks.count)
          backward(
            heads[head], own[head], orders[head], round: round, chunks: tasks[part],
            halo: halos[head][part], of: Element.self, scratch: scratch)
        }
        addHalos(halos, heads, own, round: round, engine: engine)
      }
    }
    guard !sharesQueryKey else { return }
    engine.pool.each(1, pieces) { _, piece, scratch in
      Kernels.scale(gradients[1].rows(piece).dense, by: rows[0].keyScale.row(0)[0])
      scratch.lap(.scatter)
    }
  }

  /// Adds what waited, in the order of the list where rows may meet.
  private func addHalos(
    _ halos: [[Halo]], _ heads: [AttentionHead], _ gradients: [HeadGradient], round: Int,
    engine: Engine
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

  private func backward<Element: ProductElement>(
    _ head: AttentionHead, _ gradient: HeadGradient, _ order: Order, round: Int,
    chunks: Range<Int>, halo: Halo, of: Element.Type, scratch: ScratchArena
  ) {
    let width = head.queries.columns
    let before = before(round)
    let window = ChunkWindow<Element>(
      chunk: chunk, before: before, width: width, forGradients: true, from: scratch)
    let list = scratch.integers(chunk)
    let keyGradients = scratch.matrix(window.rows, width)
    let valueGradients = scratch.matrix(window.rows, width)
    let queries = scratch.factor(chunk, width, .both, of: Element.self)
    let queryGradients = scratch.matrix(chunk, width)
    let outputGradients = scratch.factor(chunk, width, .both, of: Element.self)
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
      let rows = window.rows(ofSlot: window.slot(index))
      fill(list, with: order, round: round, chunk: index)
      window.load(list, of: head, slot: window.slot(index), scratch)
      keyGradients.rows(rows).fill(0)
      valueGradients.rows(rows).fill(0)
      guard index >= chunks.lowerBound else { continue }
      queries.fill(scratch) { gather(head.queries, rows: list, into: $0) }
      outputGradients.fill(scratch) { gather(gradient.output, rows: list, into: $0) }
      scratch.frame {
        let tile = tile(
          head, window, queries: queries.left, at: list, order, round: round, chunk: index, scratch)
        let numbers = [head.rows.maximum, head.rows.sum, gradient.dots].map { column in
          let own = scratch.matrix(chunk, 1)
          Kernels.gather(column, rows: list, into: own)
          return own.dense
        }
        scratch.lap(.gather)
        let (probabilities, scoreGradients) = tile.backward(
          outputGradient: outputGradients.left, maximum: numbers[0], sum: numbers[1],
          dots: numbers[2], scratch)
        for part in tile.parts {
          scratch.frame {
            tileProduct(
              Element.transposedLeft(probabilities.columns(part.columns), from: scratch),
              outputGradients.right, into: valueGradients.rows(part.rows).result, accumulate: true)
          }
        }
        scratch.lap(.values)
        for (number, part) in tile.parts.enumerated() {
          let gradients = Element.sides(scoreGradients.columns(part.columns), from: scratch)
          tileProduct(
            gradients.transposed, queries.right, into: keyGradients.rows(part.rows).result,
            accumulate: true)
          tileProduct(
            gradients.left, window.keys.rows(part.rows).right, into: queryGradients.result,
            accumulate: number > 0)
        }
        scratch.lap(.scores)
      }
      Kernels.scatterAdd(queryGradients, to: gradient.queries, rows: list)
      scratch.lap(.scatter)
    }
    for index in max(first, chunks.upperBound - window.slots)..<chunks.upperBound { finish(index) }
  }
}
