// Exact causal attention, quadratic in length but never with an [L, L] matrix: tiles of scores are
// merged as in flash attention. It serves `full` layers, sequences that fit one chunk, and as the
// reference the sparse kinds reduce to when their chunks or buckets hold everything.
import Compute

/// Causal attention to every earlier position.
public struct FullAttention: AttentionLayer {
  /// With a shared projection keys are normalised and a position sees itself only when alone, as in
  /// LSH.
  public let sharesQueryKey: Bool

  private static let tile = 64

  /// A layer with shared or separate queries and keys.
  public init(sharesQueryKey: Bool) { self.sharesQueryKey = sharesQueryKey }

  /// Nothing can be.
  public var problem: String? { nil }

  /// Queries and keys may share one projection.
  public var projections: [String] {
    sharesQueryKey ? ["query_key", "value"] : ["query", "key", "value"]
  }

  /// A position sees earlier ones in an order that nothing later enters.
  public var isStrictlyCausal: Bool { true }

  /// `full`.
  public static let name = "full"
  /// Hugging Face's Reformer knows full attention only as the fallback of its other kinds.
  public var isInHuggingFace: Bool { false }
  /// With shared and with separate queries and keys.
  public static let examples = [
    FullAttention(sharesQueryKey: true), FullAttention(sharesQueryKey: false),
  ]

  /// Of the keys up to each query.
  public func operations(length: Int, features: Int) -> (scores: Double, hash: Double) {
    (Double(length) * Double(length) * Double(features), 0)
  }

  /// Maximum, sum and key scale of each row.
  public func savedFloats(length: Int, heads: Int) -> Int {
    SoftmaxRows.floats(length: length, heads: heads, sharesQueryKey: sharesQueryKey)
  }

  /// Lends them.
  public func save(length: Int, heads: Int, from arena: ScratchArena) -> SoftmaxRows {
    SoftmaxRows(length: length, heads: heads, sharesQueryKey: sharesQueryKey, from: arena)
  }

  /// Every position up to the query.
  public func sight(length: Int, head: Int, saved: SoftmaxRows) -> Sight {
    Sight(
      keys: (0..<length).map { query in
        (0...query).map {
          Sight.Key(
            position: $0, draw: query * length + $0, isLastResort: sharesQueryKey && $0 == query)
        }
      })
  }

  private struct Head {
    let queries: Matrix
    let keys: Matrix
    let values: Matrix
    let keyScale: Matrix
    let output: Matrix
    let maximum: Matrix
    let sum: Matrix
    let dropoutStream: CounterRandom
  }

  private func head(
    _ index: Int, of group: HeadGroup, _ saved: SoftmaxRows, _ pass: AttentionPass
  ) -> Head {
    let keys = sharesQueryKey ? group.projected[0] : group.projected[1]
    return Head(
      queries: group.head(index, of: group.projected[0]), keys: group.head(index, of: keys),
      values: group.head(index, of: group.projected[sharesQueryKey ? 1 : 2]),
      keyScale: SoftmaxRows.column(index, of: saved.keyScale),
      output: group.head(index, of: group.output),
      maximum: SoftmaxRows.column(index, of: saved.maximum),
      sum: SoftmaxRows.column(index, of: saved.sum),
      dropoutStream: pass.dropoutStream(head: index))
  }

  /// Sums of outputs times gradients, and the tiles of a task.
  public func scratch(length: Int, heads: Int, headWidth: Int) -> AttentionScratch {
    AttentionScratch(
      shared: heads * length, perThread: Self.tile * (3 * headWidth + 2 * Self.tile + 5))
  }

  /// Exact attention, tile by tile.
  public func forward(_ group: HeadGroup, saved: SoftmaxRows, pass: AttentionPass) {
    let engine = pass.engine
    let tiles = Tiling.ranges(group.length, by: Self.tile)
    engine.pool.run(group.heads) { index, _ in
      let head = head(index, of: group, saved, pass)
      if sharesQueryKey {
        Kernels.keyScale(head.queries, into: head.keyScale)
      } else {
        head.keyScale.row(0).fill(1 / Float(head.queries.columns).squareRoot())
      }
      head.output.fill(0)
      head.maximum.fill(-.infinity)
      head.sum.fill(0)
    }
    engine.pool.run(group.heads * tiles.count) { task, scratch in
      let head = head(task / tiles.count, of: group, saved, pass)
      // Late tiles see the most keys; starting with them balances the threads.
      forward(
        head, tiles: tiles, query: tiles.count - 1 - task % tiles.count, dropout: pass.dropout,
        scratch: scratch)
    }
  }

  private func forward(
    _ head: Head, tiles: [Range<Int>], query: Int, dropout: Double, scratch: ScratchArena
  ) {
    let rows = tiles[query]
    let width = head.queries.columns
    let queryPositions = positions(rows, scratch)
    let partial = scratch.matrix(rows.count, width)
    let maximum = scratch.floats(rows.count)
    let sum = scratch.floats(rows.count)
    for key in 0...query {
      scratch.frame {
        let tile = tiles[key]
        let keys = scaledKeys(head, tile, scratch)
        let keyPositions = positions(tile, scratch)
        let scores = scratch.matrix(rows.count, tile.count)
        multiply(head.queries.rows(rows).plain, keys.transposed, into: scores)
        scratch.lap(.scores)
        Kernels.maskedSoftmax(
          scores, queryPositions: queryPositions, keyPositions: keyPositions,
          masksSelf: sharesQueryKey, maximum: maximum, sum: sum)
        drop(scores, head, rows, tile, rate: dropout)
        scratch.lap(.softmax)
        multiply(scores.plain, head.values.rows(tile).plain, into: partial)
        scratch.lap(.values)
        Kernels.mergeRows(
          partial, maximum: maximum, sum: sum, into: head.output, maximum: head.maximum,
          sum: head.sum, rows: queryPositions)
        scratch.lap(.merge)
      }
    }
    Kernels.normalizeRows(head.output.rows(rows), by: head.sum.rows(rows))
  }

  /// Gradients of the projections, in two passes over the tiles.
  public func backward(
    _ group: HeadGroup, saved: SoftmaxRows, outputGradient: Matrix, gradients: [Matrix],
    ownGradients: OwnParameters, pass: AttentionPass
  ) {
    let engine = pass.engine
    let tiles = Tiling.ranges(group.length, by: Self.tile)
    engine.scratch.frame {
      let dots = engine.scratch.matrix(group.heads, group.length)
      engine.pool.run(group.heads) { index, _ in
        Kernels.rowDots(
          group.head(index, of: group.output), group.head(index, of: outputGradient),
          into: dots.row(index))
      }
      let passes = (0..<group.heads).map { index in
        Pass(
          head: head(index, of: group, saved, pass), tiles: tiles, dropout: pass.dropout,
          outputGradient: group.head(index, of: outputGradient), dots: dots.row(index))
      }
      // Two passes, one by queries and one by keys: scores are computed twice, but every gradient
      // row has one writer. The second one adds to the first where both share a projection.
      engine.pool.run(group.heads * tiles.count) { task, scratch in
        let (index, tile) = task.quotientAndRemainder(dividingBy: tiles.count)
        addQueryGradients(
          passes[index], query: tiles.count - 1 - tile,
          to: group.head(index, of: gradients[0]), scratch)
      }
      engine.pool.run(group.heads * tiles.count) { task, scratch in
        let (index, tile) = task.quotientAndRemainder(dividingBy: tiles.count)
        let rows = tiles[tile]
        let head = passes[index].head
        let keys = scratch.matrix(rows.count, head.keys.columns)
        setKeyGradients(
          passes[index], key: tile, keys: keys,
          values: group.head(index, of: gradients[gradients.count - 1]).rows(rows), scratch)
        if sharesQueryKey {
          Kernels.keyScaleBackward(
            keys, x: head.keys.rows(rows), scale: head.keyScale.rows(rows),
            into: group.head(index, of: gradients[0]).rows(rows))
        } else {
          Kernels.scale(keys.dense, by: head.keyScale.row(0)[0])
          group.head(index, of: gradients[1]).rows(rows).copy(from: keys)
        }
      }
    }
  }

  private struct Pass {
    let head: Head
    let tiles: [Range<Int>]
    let dropout: Double
    let outputGradient: Matrix
    let dots: View<Float>
  }

  private func addQueryGradients(
    _ pass: Pass, query: Int, to gradient: Matrix, _ scratch: ScratchArena
  ) {
    let target = gradient.rows(pass.tiles[query])
    target.fill(0)
    for key in 0...query {
      scratch.frame {
        let (_, gradients) = scores(pass, query: query, key: key, scratch)
        let keys = scaledKeys(pass.head, pass.tiles[key], scratch)
        multiply(gradients.plain, keys.plain, into: target, accumulate: true)
        scratch.lap(.scores)
      }
    }
  }

  private func setKeyGradients(
    _ pass: Pass, key: Int, keys: Matrix, values: Matrix, _ scratch: ScratchArena
  ) {
    keys.fill(0)
    values.fill(0)
    for query in key..<pass.tiles.count {
      scratch.frame {
        let rows = pass.tiles[query]
        let (probabilities, gradients) = scores(pass, query: query, key: key, scratch)
        multiply(
          probabilities.transposed, pass.outputGradient.rows(rows).plain, into: values,
          accumulate: true)
        scratch.lap(.values)
        multiply(
          gradients.transposed, pass.head.queries.rows(rows).plain, into: keys, accumulate: true)
        scratch.lap(.scores)
      }
    }
  }

  /// Probabilities (after dropout) and logit gradients of one tile.
  private func scores(
    _ pass: Pass, query: Int, key: Int, _ scratch: ScratchArena
  ) -> (probabilities: Matrix, gradients: Matrix) {
    let head = pass.head
    let (rows, tile) = (pass.tiles[query], pass.tiles[key])
    let scores = scratch.matrix(rows.count, tile.count)
    let gradients = scratch.matrix(rows.count, tile.count)
    multiply(
      head.queries.rows(rows).plain, scaledKeys(head, tile, scratch).transposed, into: scores)
    multiply(
      pass.outputGradient.rows(rows).plain, head.values.rows(tile).transposed, into: gradients)
    scratch.lap(.scores)
    drop(gradients, head, rows, tile, rate: pass.dropout)
    let queryPositions = positions(rows, scratch)
    let maximum = scratch.matrix(rows.count, 1)
    let sum = scratch.matrix(rows.count, 1)
    maximum.copy(from: head.maximum.rows(rows))
    sum.copy(from: head.sum.rows(rows))
    Kernels.maskedSoftmaxBackward(
      scores, gradients, queryPositions: queryPositions, keyPositions: positions(tile, scratch),
      masksSelf: sharesQueryKey, maximum: maximum.dense, sum: sum.dense,
      outputDots: pass.dots[rows])
    drop(scores, head, rows, tile, rate: pass.dropout)
    scratch.lap(.softmax)
    return (scores, gradients)
  }

  private func scaledKeys(_ head: Head, _ rows: Range<Int>, _ scratch: ScratchArena) -> Matrix {
    let keys = scratch.matrix(rows.count, head.keys.columns)
    Kernels.gather(
      head.keys, rows: positions(rows, scratch), scale: head.keyScale, into: keys)
    return keys
  }

  private func positions(_ rows: Range<Int>, _ scratch: ScratchArena) -> View<Int32> {
    let positions = scratch.integers(rows.count)
    for (index, row) in rows.enumerated() { positions[index] = Int32(row) }
    return positions
  }

  /// Dropout number of a probability: query position times length plus key position.
  private func drop(
    _ scores: Matrix, _ head: Head, _ rows: Range<Int>, _ keys: Range<Int>, rate: Double
  ) {
    guard rate > 0 else { return }
    for (index, row) in rows.enumerated() {
      head.dropoutStream.dropout(
        scores.row(index), rate: rate, first: row * head.keys.rows + keys.lowerBound)
    }
  }
}
