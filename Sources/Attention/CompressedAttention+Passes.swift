// Passes of compressed attention over a group of heads.
import Compute

extension CompressedAttention {
  /// The heads of `group`, with lent rows for their blocks.
  private func heads(
    _ group: HeadGroup, _ saved: [SoftmaxRows], _ pass: AttentionPass
  ) -> [CompressedHead] {
    let count = rowCount(group.length)
    return AttentionHead.all(group, saved, pass).enumerated().map { index, own in
      func lend() -> Matrix { pass.engine.scratch.matrix(count, group.headWidth) }
      return CompressedHead(
        sizes: self, own: own, others: own.meeting(keys: lend(), values: lend()),
        matrices: matrices(of: pass.parameters, head: pass.firstHead + index))
    }
  }

  /// `[rows, block]` of one head, of parameters or their gradients.
  func matrices(of parameters: OwnParameters, head: Int) -> [Matrix] {
    parameters.map {
      let count = rows * block
      return Matrix($0[head * count..<(head + 1) * count], rows: rows, columns: block)
    }
  }

  private func compress(_ heads: [CompressedHead], _ length: Int, _ engine: Engine) {
    engine.pool.each(heads.count, Tiling.ranges(blocks(length), by: max(1, 1024 / block))) {
      heads[$0].compress($1, $2)
    }
  }

  // Last ones first: their queries see the most rows.
  private func runs(_ length: Int) -> [Range<Int>] { Tiling.ranges(length, by: run).reversed() }

  /// Rows of all blocks, then outputs.
  public func forward(_ group: HeadGroup, saved: [SoftmaxRows], pass: AttentionPass) {
    pass.turn(group)
    let engine = pass.engine
    engine.scratch.frame {
      let heads = heads(group, saved, pass)
      heads.forEach { $0.own.setConstantScale() }
      compress(heads, group.length, engine)
      engine.pool.each(heads.count, runs(group.length)) { heads[$0].forward($1, $2) }
    }
  }

  /// Gradients of the projections and of both matrices; rows of blocks are made anew, and scores computed twice, by
  /// queries and by rows.
  public func backward(
    _ group: HeadGroup, saved: [SoftmaxRows], outputGradient: Matrix, gradients: [Matrix],
    ownGradients: OwnParameters, pass: AttentionPass
  ) {
    let (engine, count) = (pass.engine, rowCount(group.length))
    engine.scratch.frame {
      let heads = heads(group, saved, pass)
      compress(heads, group.length, engine)
      let own = HeadGradient.all(
        group, heads.map(\.own), outputGradient: outputGradient, gradients: gradients, engine)
      let rowGradients = heads.map { _ in
        (0..<2).map { _ in engine.scratch.matrix(count, group.headWidth) }
      }
      engine.pool.each(heads.count, runs(group.length)) { head, run, scratch in
        heads[head].queriesBackward(run, own[head], scratch)
      }
      engine.pool.each(heads.count, Tiling.ranges(count, by: Self.panel)) { head, panel, scratch in
        let gradients = rowGradients[head]
        heads[head].rowsBackward(
          panel, own[head], keys: gradients[0], values: gradients[1], scratch)
      }
      let tasks = tasks(group.length)
      let parts = heads.map { _ in
        tasks.map { _ in (0..<2).map { _ in engine.scratch.matrix(rows, block) } }
      }
      engine.pool.run(heads.count * tasks.count) { index, scratch in
        let (head, task) = index.quotientAndRemainder(dividingBy: tasks.count)
        let gradients = rowGradients[head]
        heads[head].compressBackward(
          tasks[task], keys: gradients[0], values: gradients[1], into: own[head],
          matrixGradients: parts[head][task], scratch)
      }
      // In the order of the tasks, whatever thread had which.
      for (index, parts) in parts.enumerated() {
        let sums = matrices(of: ownGradients, head: pass.firstHead + index)
        for part in parts {
          for (sum, one) in zip(sums, part) { Kernels.add(sum.dense, one.dense) }
        }
      }
    }
    pass.turnBack(gradients)
  }
}
