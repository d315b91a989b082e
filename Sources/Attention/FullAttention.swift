// Exact causal attention, quadratic in length but never with an [L, L] matrix: queries meet keys block by block, and
// partial softmaxes are merged as they come (flash attention, Dao et al. 2022). It serves `full` layers, sequences
// that fit one chunk, and as the reference the sparse kinds reduce to when their chunks or buckets hold everything.
import Compute

/// Causal attention to every earlier position.
public struct FullAttention: AttentionLayer {
  /// With a shared projection keys are normalised and a position sees itself only when alone, as in
  /// LSH.
  public let sharesQueryKey: Bool

  // Keys that a thread lays out at once; the queries that then meet them, a tile after the other; and how many
  // queries that is at most, so that laying out costs little beside them.
  private static let block = 64
  private static let tile = Tiling.tileRows
  private static let run = 2 * tile

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

  private func heads(
    _ group: HeadGroup, _ saved: SoftmaxRows, _ pass: AttentionPass
  ) -> [Head] {
    let count = group.projected.count
    return (0..<group.heads).map { index in
      Head(
        queries: group.head(index, of: group.projected[0]),
        keys: group.head(index, of: group.projected[count - 2]),
        values: group.head(index, of: group.projected[count - 1]),
        keyScale: SoftmaxRows.column(index, of: saved.keyScale),
        output: group.head(index, of: group.output),
        maximum: SoftmaxRows.column(index, of: saved.maximum),
        sum: SoftmaxRows.column(index, of: saved.sum),
        dropoutStream: pass.dropoutStream(head: index))
    }
  }

  /// Of each row sum of output times gradient, maximum and sum; a thread has a block of keys and a tile's scores.
  public func scratch(length: Int, heads: Int, headWidth: Int) -> AttentionScratch {
    let block = 2 * Packed<Float>.count(Self.block, headWidth) + 3 * Self.block * headWidth
    let tile = 2 * Packed<Float>.count(Self.tile, headWidth) + 2 * Self.tile * Self.block
    return AttentionScratch(
      shared: 3 * heads * length, perThread: block + tile + 2 * Self.block + 3 * Self.run)
  }

  /// Runs `body` for every head and range of rows; the last ranges, whose queries see the most keys, come first.
  private func each(
    _ heads: Int, _ ranges: [Range<Int>], _ engine: Engine,
    _ body: (_ head: Int, _ rows: Range<Int>, _ scratch: ScratchArena) -> Void
  ) {
    engine.pool.run(heads * ranges.count) { task, scratch in
      let (before, head) = task.quotientAndRemainder(dividingBy: heads)
      body(head, ranges[ranges.count - 1 - before], scratch)
    }
  }

  /// Exact attention, a run of queries at a time.
  public func forward(_ group: HeadGroup, saved: SoftmaxRows, pass: AttentionPass) {
    let heads = heads(group, saved, pass)
    if sharesQueryKey {
      each(group.heads, Tiling.ranges(group.length, by: Tiling.blockRows), pass.engine) {
        Kernels.keyScale(heads[$0].queries.rows($1), into: heads[$0].keyScale.rows($1))
        $2.lap(.gather)
      }
    } else {
      saved.keyScale.row(0).fill(1 / Float(group.headWidth).squareRoot())
    }
    each(group.heads, Tiling.ranges(group.length, by: Self.run), pass.engine) {
      forward(heads[$0], run: $1, dropout: pass.dropout, $2)
    }
  }

  private func forward(
    _ head: Head, run: Range<Int>, dropout: Double, _ scratch: ScratchArena
  ) {
    head.output.rows(run).fill(0)
    head.maximum.rows(run).fill(-.infinity)
    head.sum.rows(run).fill(0)
    let positions = positions(run, scratch)
    let (maximum, sum) = (scratch.floats(Self.tile), scratch.floats(Self.tile))
    eachBlock(head, upTo: run, scratch) { block, window in
      for rows in tiles(run, from: block) {
        scratch.frame {
          let own = positions[rows.lowerBound - run.lowerBound..<rows.upperBound - run.lowerBound]
          let (maximum, sum) = (maximum[0..<rows.count], sum[0..<rows.count])
          let scores = scratch.matrix(rows.count, Self.block)
          tileProduct(head.queries.rows(rows).left, window.keysAcross, into: scores.result)
          scratch.lap(.scores)
          Kernels.maskedSoftmax(
            scores, queryPositions: own, keyPositions: window.positions,
            masksSelf: sharesQueryKey, maximum: maximum, sum: sum)
          drop(scores, head, rows, block, rate: dropout)
          scratch.lap(.softmax)
          let partial = scratch.matrix(rows.count, head.values.columns)
          tileProduct(scores.left, window.values, into: partial.result)
          scratch.lap(.values)
          Kernels.mergeRows(
            partial, maximum: maximum, sum: sum, into: head.output, maximum: head.maximum,
            sum: head.sum, rows: own)
          scratch.lap(.merge)
        }
      }
    }
    Kernels.normalizeRows(head.output.rows(run), by: head.sum.rows(run))
    scratch.lap(.merge)
  }

  /// Runs `body` for every block of keys that the queries of `run` see, laid out for products.
  private func eachBlock(
    _ head: Head, upTo run: Range<Int>, _ scratch: ScratchArena,
    _ body: (_ block: Range<Int>, _ window: ChunkWindow) -> Void
  ) {
    let window = ChunkWindow(
      chunk: Self.block, before: 0, width: head.keys.columns, from: scratch)
    for block in Tiling.ranges(run.upperBound, by: Self.block) {
      load(head, block, window, scratch)
      body(block, window)
    }
  }

  /// A whole block even where the sequence ends in it: later positions are masked, and zero.
  private func load(
    _ head: Head, _ block: Range<Int>, _ window: ChunkWindow, _ scratch: ScratchArena
  ) {
    scratch.frame {
      let list = positions(block.lowerBound..<block.lowerBound + Self.block, scratch)
      window.load(list, keys: head.keys, scale: head.keyScale, values: head.values, slot: 0)
    }
    scratch.lap(.gather)
  }

  /// The rows of `run` that see a key of `block`.
  private func tiles(_ run: Range<Int>, from block: Range<Int>) -> [Range<Int>] {
    Tiling.ranges(max(run.lowerBound, block.lowerBound)..<run.upperBound, by: Self.tile)
  }

  /// Gradients of the projections, in two passes over the scores.
  public func backward(
    _ group: HeadGroup, saved: SoftmaxRows, outputGradient: Matrix, gradients: [Matrix],
    ownGradients: OwnParameters, pass: AttentionPass
  ) {
    let engine = pass.engine
    let length = group.length
    engine.scratch.frame {
      let heads = heads(group, saved, pass).enumerated().map { index, head in
        Backward(
          head: head, outputGradient: group.head(index, of: outputGradient),
          dots: engine.scratch.floats(length), maximum: engine.scratch.floats(length),
          sum: engine.scratch.floats(length), dropout: pass.dropout)
      }
      each(group.heads, Tiling.ranges(length, by: Tiling.blockRows), engine) {
        heads[$0].fill($1)
        $2.lap(.softmax)
      }
      // Two passes, one by queries and one by keys: scores are computed twice, but every gradient
      // row has one writer. The second one adds to the first where both share a projection.
      each(group.heads, Tiling.ranges(length, by: Self.run), engine) {
        setQueryGradients(heads[$0], run: $1, group.head($0, of: gradients[0]), $2)
      }
      let blocks = Tiling.ranges(length, by: Self.block)
      each(group.heads, blocks.reversed(), engine) { index, block, scratch in
        let (head, rows) = (heads[index].head, block)
        let keys = scratch.matrix(rows.count, group.headWidth)
        setKeyGradients(
          heads[index], block, keys: keys,
          values: group.head(index, of: gradients[gradients.count - 1]).rows(rows), scratch)
        if sharesQueryKey {
          Kernels.keyScaleBackward(
            keys, x: head.keys.rows(rows), scale: head.keyScale.rows(rows),
            into: group.head(index, of: gradients[0]).rows(rows))
        } else {
          Kernels.scale(keys.dense, by: head.keyScale.row(0)[0])
          group.head(index, of: gradients[1]).rows(rows).copy(from: keys)
        }
        scratch.lap(.scatter)
      }
    }
  }

  /// A head on the way back, with numbers of its rows `[L]` side by side.
  private struct Backward {
    let head: Head
    let outputGradient: Matrix
    /// Output times its gradient, which the softmax gradient subtracts.
    let dots: View<Float>
    let maximum: View<Float>
    let sum: View<Float>
    let dropout: Double

    func fill(_ rows: Range<Int>) {
      Kernels.rowDots(head.output.rows(rows), outputGradient.rows(rows), into: dots[rows])
      for row in rows {
        maximum[row] = head.maximum.row(row)[0]
        sum[row] = head.sum.row(row)[0]
      }
    }
  }

  private func setQueryGradients(
    _ pass: Backward, run: Range<Int>, _ gradient: Matrix, _ scratch: ScratchArena
  ) {
    gradient.rows(run).fill(0)
    eachBlock(pass.head, upTo: run, scratch) { block, window in
      scratch.frame {
        let valuesAcross = valuesAcross(window, scratch)
        for rows in tiles(run, from: block) {
          scratch.frame {
            let (_, gradients) = scores(pass, rows, block, window, valuesAcross, scratch)
            tileProduct(
              gradients.left, window.keys, into: gradient.rows(rows).result, accumulate: true)
            scratch.lap(.scores)
          }
        }
      }
    }
  }

  private func setKeyGradients(
    _ pass: Backward, _ block: Range<Int>, keys: Matrix, values: Matrix, _ scratch: ScratchArena
  ) {
    keys.fill(0)
    values.fill(0)
    let window = ChunkWindow(chunk: Self.block, before: 0, width: keys.columns, from: scratch)
    load(pass.head, block, window, scratch)
    let valuesAcross = valuesAcross(window, scratch)
    for rows in Tiling.ranges(block.lowerBound..<pass.head.queries.rows, by: Self.tile) {
      scratch.frame {
        let queries = scratch.strips(rows.count, keys.columns)
        let outputGradient = scratch.strips(rows.count, keys.columns)
        queries.copy(from: pass.head.queries.rows(rows))
        outputGradient.copy(from: pass.outputGradient.rows(rows))
        let (probabilities, gradients) = scores(pass, rows, block, window, valuesAcross, scratch)
        tileProduct(
          probabilities.columns(0..<block.count).leftTransposed, outputGradient,
          into: values.result, accumulate: true)
        scratch.lap(.values)
        tileProduct(
          gradients.columns(0..<block.count).leftTransposed, queries, into: keys.result,
          accumulate: true)
        scratch.lap(.scores)
      }
    }
  }

  private func valuesAcross(_ window: ChunkWindow, _ scratch: ScratchArena) -> Packed<Float> {
    let across = window.across(width: window.values.columns, from: scratch)
    transpose(window.values, into: across, columns: 0..<Self.block)
    scratch.lap(.gather)
    return across
  }

  /// Probabilities (after dropout) and logit gradients of the queries `rows` with a block of keys.
  private func scores(
    _ pass: Backward, _ rows: Range<Int>, _ block: Range<Int>, _ window: ChunkWindow,
    _ valuesAcross: Packed<Float>, _ scratch: ScratchArena
  ) -> (probabilities: Matrix, gradients: Matrix) {
    let head = pass.head
    let scores = scratch.matrix(rows.count, Self.block)
    let gradients = scratch.matrix(rows.count, Self.block)
    tileProduct(head.queries.rows(rows).left, window.keysAcross, into: scores.result)
    tileProduct(pass.outputGradient.rows(rows).left, valuesAcross, into: gradients.result)
    scratch.lap(.scores)
    drop(gradients, head, rows, block, rate: pass.dropout)
    Kernels.maskedSoftmaxBackward(
      scores, gradients, queryPositions: positions(rows, scratch),
      keyPositions: window.positions, masksSelf: sharesQueryKey, maximum: pass.maximum[rows],
      sum: pass.sum[rows], outputDots: pass.dots[rows])
    drop(scores, head, rows, block, rate: pass.dropout)
    scratch.lap(.softmax)
    return (scores, gradients)
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
