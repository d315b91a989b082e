// Passes of `blocks` over a group of heads: landmarks, choices, and then the lists that follow from these.
import Compute

/// One head: what the window's list meets, and what the others do.
private struct BlocksHead {
  let own: AttentionHead
  /// The same queries; keys are those of the blocks that may be chosen, with their landmarks added.
  let chosen: AttentionHead
  let landmarks: Landmarks
}

extension BlocksAttention {
  /// The heads of `group` with all their landmarks.
  private func heads(
    _ group: HeadGroup, _ saved: PatternSaved, _ pass: AttentionPass
  ) -> [BlocksHead] {
    let (engine, width) = (pass.engine, group.headWidth)
    let blocks = choosable(group.length)
    let heads = AttentionHead.all(group, saved.rows, pass).map { own in
      let keys = engine.scratch.matrix(blocks * block, width)
      return BlocksHead(
        own: own,
        chosen: own.meeting(keys: keys, values: own.values.rows(0..<blocks * block)),
        landmarks: Landmarks(
          self, length: group.length, headWidth: width, from: engine.scratch))
    }
    engine.pool.each(heads.count, blockRanges(blocks)) { head, range, scratch in
      for index in range {
        let positions = positions(index)
        heads[head].landmarks.complete(
          index, keys: heads[head].own.keys.rows(positions),
          into: heads[head].chosen.keys.rows(positions), scratch)
      }
      scratch.lap(.gather)
    }
    engine.pool.each(heads.count, Tiling.ranges(heads[0].landmarks.groupCount, by: 16)) {
      head, range, scratch in
      for index in range { heads[head].landmarks.completeGroup(index, scratch) }
      scratch.lap(.gather)
    }
    return heads
  }

  private func positions(_ index: Int) -> Range<Int> { index * block..<(index + 1) * block }

  /// Blocks of some thousand positions for each task.
  private func blockRanges(_ blocks: Int) -> [Range<Int>] {
    Tiling.ranges(blocks, by: max(1, 1024 / block))
  }

  /// Landmarks, choices, and attention to what was chosen.
  public func forward(_ group: HeadGroup, saved: PatternSaved, pass: AttentionPass) {
    pass.turn(group)
    let (engine, length) = (pass.engine, group.length)
    engine.scratch.frame {
      let heads = heads(group, saved, pass)
      // What a cancelled pass leaves out has chosen nothing: the lists are made all the same.
      for choice in saved.choices { choice.fill(-1) }
      engine.pool.each(heads.count, blockRanges((length + block - 1) / block)) {
        head, range, scratch in
        for index in range {
          let rows = index * block..<min((index + 1) * block, length)
          heads[head].landmarks.choose(
            heads[head].own.queries.rows(rows), of: index,
            into: saved.choices[head][rows.lowerBound * top..<rows.upperBound * top], scratch)
        }
      }
      PatternAttention(lists(saved, length, engine.scratch)).forward(
        heads.map { [$0.own, $0.chosen] }, pass: pass)
    }
  }

  private func lists(
    _ saved: PatternSaved, _ length: Int, _ arena: ScratchArena
  ) -> [[SightList]] {
    saved.choices.map { lists($0, length: length, from: arena) }
  }

  /// Gradients of the projections; landmarks are made anew, choices are those of the way there and constants.
  public func backward(
    _ group: HeadGroup, saved: PatternSaved, outputGradient: Matrix, gradients: [Matrix],
    ownGradients: OwnParameters, pass: AttentionPass
  ) {
    let engine = pass.engine
    engine.scratch.frame {
      let heads = heads(group, saved, pass)
      let own = HeadGradient.all(
        group, heads.map(\.own), outputGradient: outputGradient, gradients: gradients, engine)
      let chosen = zip(heads, own).map { head, own in
        HeadGradient(
          output: own.output, dots: own.dots, queries: own.queries,
          keys: engine.scratch.matrix(head.chosen.keys.rows, group.headWidth), values: own.values)
      }
      let blocks = choosable(group.length)
      engine.pool.each(heads.count, blockRanges(blocks)) { head, range, scratch in
        chosen[head].keys?.rows(range.lowerBound * block..<range.upperBound * block).fill(0)
        scratch.lap(.scatter)
      }
      let lists = lists(saved, group.length, engine.scratch)
      PatternAttention(lists).backward(
        heads.map { [$0.own, $0.chosen] }, zip(own, chosen).map { [$0, $1] }, byKey: lists,
        pass: pass)
      engine.pool.each(heads.count, blockRanges(blocks)) { head, range, scratch in
        guard let keys = own[head].keys, let joined = chosen[head].keys else { return }
        for index in range {
          add(joined.rows(positions(index)), to: keys.rows(positions(index)), scratch)
        }
        scratch.lap(.scatter)
      }
    }
    pass.turnBack(gradients)
  }

  /// Gradients of a block's keys from those of its keys with the landmark added: each own one, and the mean of all.
  private func add(_ joined: Matrix, to keys: Matrix, _ scratch: ScratchArena) {
    scratch.frame {
      let mean = scratch.floats(joined.columns)
      mean.fill(0)
      Kernels.addColumnSums(of: joined, to: mean)
      Kernels.scale(mean, by: 1 / Float(block))
      for row in 0..<block {
        Kernels.add(keys.row(row), joined.row(row))
        Kernels.add(keys.row(row), mean)
      }
    }
  }
}
