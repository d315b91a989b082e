// Passes of linear attention over a group of heads: runs of blocks are tasks of their own, once the sums before each run,
// and on the way back those after it, are there.
import Compute

extension LinearAttention {
  private func heads(
    _ group: HeadGroup, _ saved: [Matrix], _ pass: AttentionPass
  ) -> [LinearHead] {
    let engine = pass.engine
    let heads = saved.enumerated().map { index, weights in
      LinearHead(
        queries: group.head(index, of: group.projected[0]),
        keys: group.head(index, of: group.projected[1]),
        values: group.head(index, of: group.projected[2]),
        output: group.head(index, of: group.output), weights: weights,
        directions: FeatureDirections(rows: engine.scratch.strips(features, group.headWidth)),
        stream: pass.address.stream(
          .attentionDropout, layer: pass.layer, head: pass.firstHead + index),
        dropout: pass.dropout)
    }
    engine.pool.run(heads.count) { index, scratch in
      let rows = scratch.matrix(features, group.headWidth)
      fillDirections(rows, head: index, pass: pass, scratch: scratch)
      heads[index].directions.rows.copy(from: rows)
      scratch.lap(.hash)
    }
    return heads
  }

  private func blocks(_ run: Range<Int>) -> [Range<Int>] { Tiling.ranges(run, by: block) }

  /// For each head and each of `runs`, the sums over those that are listed before it, each of which `add` adds to
  /// zeros; nil for the first.
  private func sumsBefore(
    _ runs: [Range<Int>], _ heads: [LinearHead], _ engine: Engine,
    add: (_ head: Int, _ block: Range<Int>, _ sums: Packed<Float>, _ scratch: ScratchArena) -> Void
  ) -> [[Packed<Float>?]] {
    let summed = Array(runs.dropLast())
    let sums = heads.map { head in summed.map { _ in head.sums(engine.scratch) } }
    engine.pool.run(heads.count * summed.count) { task, scratch in
      let (head, run) = task.quotientAndRemainder(dividingBy: summed.count)
      sums[head][run].clear()
      for block in blocks(summed[run]) { add(head, block, sums[head][run], scratch) }
    }
    let strips = (headWidth(heads) + 1 + Packed<Float>.width - 1) / Packed<Float>.width
    engine.pool.run(heads.count * strips) { task, scratch in
      let (head, strip) = task.quotientAndRemainder(dividingBy: strips)
      let parts = sums[head].map { $0.runs[strip] }
      guard let count = parts.first?.count else { return }
      let chain = SumChain(count, length: spanRuns, from: scratch)
      for (number, part) in parts.enumerated() { chain.add(part, number: number) }
      scratch.lap(.values)
    }
    return sums.map { [nil] + $0 }
  }

  private func headWidth(_ heads: [LinearHead]) -> Int { heads[0].values.columns }

  /// Features, sums, and outputs of each run.
  public func forward(_ group: HeadGroup, saved: [Matrix], pass: AttentionPass) {
    pass.turn(group)
    let engine = pass.engine
    engine.scratch.frame {
      let heads = heads(group, saved, pass)
      let runs = Tiling.ranges(group.length, by: run)
      let before = keySums(runs, heads, engine)
      engine.pool.run(heads.count * runs.count) { task, scratch in
        let (head, run) = task.quotientAndRemainder(dividingBy: runs.count)
        heads[head].forward(blocks(runs[run]), before: before[head][run], scratch)
      }
    }
  }

  private func keySums(
    _ runs: [Range<Int>], _ heads: [LinearHead], _ engine: Engine
  ) -> [[Packed<Float>?]] {
    sumsBefore(runs, heads, engine) { heads[$0].addKeys($1, to: $2, $3) }
  }

  /// Gradients of the projections: of queries by the sums over keys before them, of keys and values by the sums over
  /// queries after them, features computed anew.
  public func backward(
    _ group: HeadGroup, saved: [Matrix], outputGradient: Matrix, gradients: [Matrix],
    ownGradients: OwnParameters, pass: AttentionPass
  ) {
    let engine = pass.engine
    engine.scratch.frame {
      let heads = heads(group, saved, pass)
      let runs = Tiling.ranges(group.length, by: run)
      let outputs = heads.indices.map { group.head($0, of: outputGradient) }
      let before = keySums(runs, heads, engine)
      engine.pool.run(heads.count * runs.count) { task, scratch in
        let (head, run) = task.quotientAndRemainder(dividingBy: runs.count)
        heads[head].queriesBackward(
          blocks(runs[run]), before: before[head][run], outputGradient: outputs[head],
          into: group.head(head, of: gradients[0]), scratch)
      }
      let after = sumsBefore(runs.reversed(), heads, engine) {
        heads[$0].addQueries($1, outputGradient: outputs[$0], to: $2, $3)
      }
      engine.pool.run(heads.count * runs.count) { task, scratch in
        let (head, run) = task.quotientAndRemainder(dividingBy: runs.count)
        heads[head].keysBackward(
          blocks(runs[run]), after: after[head][runs.count - 1 - run],
          outputGradient: outputs[head],
          into: (group.head(head, of: gradients[1]), group.head(head, of: gradients[2])), scratch)
      }
    }
    pass.turnBack(gradients)
  }
}
