// One head of linear attention over one run of blocks: on the way forward, and back.
import Compute

/// One head, K features and M random ones; [v | 1] are a value and what its weight is counted by.
struct LinearHead {
  /// `[L, K]`, and so are keys, values and the output.
  let queries, keys, values, output: Matrix
  /// `[L, 1]`: sum of the weights of each row.
  let weights: Matrix
  let directions: FeatureDirections
  let stream: CounterRandom
  let dropout: Double

  private var count: Int { directions.rows.rows }
  private var width: Int { values.columns }

  /// Lends `[M, K + 1]`, for sums over positions.
  func sums(_ scratch: ScratchArena) -> Packed<Float> { scratch.strips(count, width + 1) }

  /// For the sums of a run so far, zero, and with those of other runs.
  private func runSums(_ scratch: ScratchArena) -> (own: Packed<Float>, all: Packed<Float>) {
    let own = sums(scratch)
    own.clear()
    return (own, sums(scratch))
  }

  /// What a key of each of `rows` is worth where it is seen: a key that is dropped is so for all queries.
  private func kept(_ rows: Range<Int>, _ scratch: ScratchArena) -> View<Float>? {
    guard dropout > 0 else { return nil }
    let kept = scratch.floats(rows.count)
    kept.fill(1)
    stream.dropout(kept, rate: dropout, first: rows.lowerBound)
    return kept
  }

  /// `[v | 1]` of `rows`, `[n, K + 1]`.
  private func countedValues(_ rows: Range<Int>, _ scratch: ScratchArena) -> Matrix {
    let counted = scratch.matrix(rows.count, width + 1)
    counted.columns(0..<width).copy(from: values.rows(rows))
    counted.columns(width..<width + 1).fill(1)
    if let kept = kept(rows, scratch) {
      for row in 0..<rows.count { Kernels.scale(counted.row(row)[0..<width], by: kept[row]) }
    }
    return counted
  }

  private func strips(_ matrix: Matrix, _ scratch: ScratchArena) -> Packed<Float> {
    let strips = scratch.strips(matrix.rows, matrix.columns)
    strips.copy(from: matrix)
    return strips
  }

  private func stripsAcross(_ matrix: Matrix, _ scratch: ScratchArena) -> Packed<Float> {
    let strips = scratch.strips(matrix.columns, matrix.rows)
    strips.copy(transposing: matrix)
    return strips
  }

  private func queryFeatures(_ rows: Range<Int>, _ scratch: ScratchArena) -> Packed<Float> {
    let features = scratch.strips(count, rows.count)
    directions.queryFeatures(queries.rows(rows), into: features, scratch)
    scratch.lap(.hash)
    return features
  }

  private func keyFeatures(_ rows: Range<Int>, _ scratch: ScratchArena) -> Packed<Float> {
    let features = scratch.strips(count, rows.count)
    directions.keyFeatures(keys.rows(rows), into: features, scratch)
    scratch.lap(.hash)
    return features
  }

  /// Adds the sum over the keys of `block` to `sums`, once it is complete.
  func addKeys(_ block: Range<Int>, to sums: Packed<Float>, _ scratch: ScratchArena) {
    scratch.frame {
      let features = keyFeatures(block, scratch)
      let values = strips(countedValues(block, scratch), scratch)
      tileProduct(features.left, values, into: sums.result, accumulate: true)
      scratch.lap(.values)
    }
  }

  /// Outputs of the blocks of a run, with the sums `before` it.
  func forward(_ blocks: [Range<Int>], before: Packed<Float>?, _ scratch: ScratchArena) {
    let (own, all) = runSums(scratch)
    for block in blocks {
      scratch.frame {
        let (queries, keys) = (queryFeatures(block, scratch), keyFeatures(block, scratch))
        let values = strips(countedValues(block, scratch), scratch)
        let scores = scratch.matrix(block.count, block.count)
        scratch.lap(.gather)
        scores.fill(0)
        tileProduct(queries.left.transposed, keys, into: scores.result, continuing: true)
        for row in 0..<block.count { scores.row(row)[row + 1..<block.count].fill(0) }
        scratch.lap(.scores)
        all.set(to: own, plus: before)
        let partial = scratch.matrix(block.count, width + 1)
        partial.fill(0)
        tileProduct(queries.left.transposed, all, into: partial.result, continuing: true)
        tileProduct(scores.left, values, into: partial.result, continuing: true)
        output.rows(block).copy(from: partial.columns(0..<width))
        weights.rows(block).copy(from: partial.columns(width..<width + 1))
        Kernels.normalizeRows(output.rows(block), by: weights.rows(block))
        tileProduct(keys.left, values, into: own.result, accumulate: true)
        scratch.lap(.values)
      }
    }
  }

  /// Gradients of a block's outputs and sums of weights, `[n, K + 1]`.
  private func gradients(
    _ block: Range<Int>, of outputGradient: Matrix, _ scratch: ScratchArena
  ) -> Matrix {
    let gradients = scratch.matrix(block.count, width + 1)
    let dots = scratch.floats(block.count)
    let (own, sums) = (gradients.columns(0..<width), weights.rows(block))
    own.copy(from: outputGradient.rows(block))
    Kernels.rowDots(output.rows(block), own, into: dots)
    Kernels.normalizeRows(own, by: sums)
    for row in 0..<block.count { gradients.row(row)[width] = -dots[row] / sums.row(row)[0] }
    return gradients
  }

  /// Adds the sum over the queries of `block` of their features times the gradients of their outputs to `sums`.
  func addQueries(
    _ block: Range<Int>, outputGradient: Matrix, to sums: Packed<Float>, _ scratch: ScratchArena
  ) {
    scratch.frame {
      let features = queryFeatures(block, scratch)
      let gradients = strips(gradients(block, of: outputGradient, scratch), scratch)
      tileProduct(features.left, gradients, into: sums.result, accumulate: true)
      scratch.lap(.values)
    }
  }

  /// Gradients of the queries of a run, with the sums `before` it.
  func queriesBackward(
    _ blocks: [Range<Int>], before: Packed<Float>?, outputGradient: Matrix, into out: Matrix,
    _ scratch: ScratchArena
  ) {
    let (own, all) = runSums(scratch)
    for block in blocks {
      scratch.frame {
        let (queries, keys) = (queryFeatures(block, scratch), keyFeatures(block, scratch))
        let values = strips(countedValues(block, scratch), scratch)
        let gradients = stripsAcross(gradients(block, of: outputGradient, scratch), scratch)
        // By key and query: those of the scores, transposed.
        let scores = scratch.strips(block.count, block.count)
        tileProduct(values.left, gradients, into: scores.result)
        for (columns, strip) in scores.strips {
          for row in 0..<block.count {
            strip.row(row)[0..<min(max(0, row - columns.lowerBound), columns.count)].fill(0)
          }
        }
        scratch.lap(.values)
        all.set(to: own, plus: before)
        let features = scratch.strips(count, block.count)
        tileProduct(all.left, gradients, into: features.result)
        tileProduct(keys.left, scores, into: features.result, accumulate: true)
        scratch.lap(.scores)
        directions.queriesBackward(
          features, features: queries, into: out.rows(block), scratch)
        scratch.lap(.hash)
        tileProduct(keys.left, values, into: own.result, accumulate: true)
        scratch.lap(.values)
      }
    }
  }

  /// Gradients of the keys and values of a run, last block first, with the sums over queries `after` it.
  func keysBackward(
    _ blocks: [Range<Int>], after: Packed<Float>?, outputGradient: Matrix,
    into out: (keys: Matrix, values: Matrix), _ scratch: ScratchArena
  ) {
    let (own, all) = runSums(scratch)
    for block in blocks.reversed() {
      scratch.frame {
        let (queries, keys) = (queryFeatures(block, scratch), keyFeatures(block, scratch))
        let across = stripsAcross(countedValues(block, scratch), scratch)
        let gradients = strips(gradients(block, of: outputGradient, scratch), scratch)
        all.set(to: own, plus: after)
        valuesBackward(block, queries, keys, gradients, after: all, into: out.values, scratch)
        let scores = scratch.strips(block.count, block.count)
        tileProduct(gradients.left, across, into: scores.result)
        for (columns, strip) in scores.strips {
          for row in 0..<block.count {
            strip.row(row)[min(max(0, row + 1 - columns.lowerBound), columns.count)..<columns.count]
              .fill(0)
          }
        }
        scratch.lap(.values)
        let features = scratch.strips(count, block.count)
        tileProduct(all.left, across, into: features.result)
        tileProduct(queries.left, scores, into: features.result, accumulate: true)
        scratch.lap(.scores)
        directions.keysBackward(
          features, features: keys, of: self.keys.rows(block), into: out.keys.rows(block), scratch)
        scratch.lap(.hash)
        tileProduct(queries.left, gradients, into: own.result, accumulate: true)
        scratch.lap(.values)
      }
    }
  }

  private func valuesBackward(
    _ block: Range<Int>, _ queries: Packed<Float>, _ keys: Packed<Float>,
    _ gradients: Packed<Float>, after: Packed<Float>, into out: Matrix, _ scratch: ScratchArena
  ) {
    scratch.frame {
      let scores = scratch.matrix(block.count, block.count)
      tileProduct(queries.left.transposed, keys, into: scores.result)
      for row in 0..<block.count { scores.row(row)[row + 1..<block.count].fill(0) }
      scratch.lap(.scores)
      let counted = scratch.matrix(block.count, width + 1)
      tileProduct(keys.left.transposed, after, into: counted.result)
      tileProduct(scores.left.transposed, gradients, into: counted.result, accumulate: true)
      out.rows(block).copy(from: counted.columns(0..<width))
      if let kept = kept(block, scratch) {
        for (row, place) in block.enumerated() { Kernels.scale(out.row(place), by: kept[row]) }
      }
      scratch.lap(.values)
    }
  }
}

/// A sum of many parts, each as long as the others: chains of `length` of them, and the sum of these.
struct SumChain {
  private let chain, whole: View<Float>
  private let length: Int

  /// Lends zeros for parts of `count` numbers.
  init(_ count: Int, length: Int, from arena: ScratchArena) {
    (chain, whole) = (arena.floats(count), arena.floats(count))
    self.length = length
    chain.fill(0)
    whole.fill(0)
  }

  /// Adds part `number`, which becomes the sum of all so far.
  func add(_ part: View<Float>, number: Int) {
    Kernels.add(chain, part)
    Kernels.weightedSum(whole, by: 1, chain, by: 1, into: part)
    guard (number + 1) % length == 0 else { return }
    whole.copy(from: part)
    chain.fill(0)
  }
}

extension Packed<Float> {
  /// Becomes a sum of two of its shape, or `sum` where that is all there is.
  func set(to sum: Packed<Float>, plus other: Packed<Float>?) {
    for (strip, own) in runs.enumerated() {
      if let other {
        Kernels.weightedSum(sum.runs[strip], by: 1, other.runs[strip], by: 1, into: own)
      } else {
        own.copy(from: sum.runs[strip])
      }
    }
  }
}
