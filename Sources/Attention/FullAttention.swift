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
  static let block = 64
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

  /// Every position up to the query.
  public func sight(length: Int, head: Int, saved: [SoftmaxRows]) -> Sight { sight(length: length) }

  func sight(length: Int) -> Sight {
    Sight(
      keys: (0..<length).map { query in
        (0...query).map {
          Sight.Key(
            position: $0, draw: query * length + $0, isLastResort: sharesQueryKey && $0 == query)
        }
      })
  }

  /// Of each row sum of output times gradient; a thread has a block of keys and a tile's scores.
  public func scratch(length: Int, heads: Int, headWidth: Int) -> AttentionScratch {
    let block = 2 * Packed<Float>.count(Self.block, headWidth) + 4 * Self.block * headWidth
    let tile = 2 * Packed<Float>.count(Self.tile, headWidth) + 2 * Self.tile * Self.block
    return AttentionScratch(
      shared: heads * length, perThread: block + tile + 2 * Self.block + 3 * Self.run)
  }

  /// Ranges of positions, last ones first: their queries see the most keys.
  private func ranges(_ length: Int, by size: Int) -> [Range<Int>] {
    Tiling.ranges(length, by: size).reversed()
  }

  /// Exact attention, a run of queries at a time.
  public func forward(_ group: HeadGroup, saved: [SoftmaxRows], pass: AttentionPass) {
    pass.turn(group)
    forwardTurned(group, saved: saved, pass: pass)
  }

  func forwardTurned(_ group: HeadGroup, saved: [SoftmaxRows], pass: AttentionPass) {
    let pool = pass.engine.pool
    let heads = AttentionHead.all(group, saved, pass)
    if sharesQueryKey {
      pool.each(heads.count, ranges(group.length, by: Tiling.blockRows)) { head, rows, scratch in
        heads[head].setScale(rows)
        scratch.lap(.gather)
      }
    } else {
      heads.forEach { $0.setConstantScale() }
    }
    pool.each(heads.count, ranges(group.length, by: Self.run)) { head, run, scratch in
      let head = heads[head]
      head.clear(run)
      eachTile(head, run, scratch) { _, tile in tile.merge(scratch) }
      Kernels.normalizeRows(head.output.rows(run), by: head.rows.sum.rows(run))
      scratch.lap(.merge)
    }
  }

  /// Runs `body` for every block of keys and the rows of `run` that see one of them, a tile at a time.
  private func eachTile(
    _ head: AttentionHead, _ run: Range<Int>, forGradients: Bool = false, _ scratch: ScratchArena,
    _ body: (_ rows: Range<Int>, _ tile: ScoreTile<Float>) -> Void
  ) {
    let window = ChunkWindow<Float>(
      chunk: Self.block, before: 0, width: head.keys.columns, forGradients: forGradients,
      from: scratch)
    for block in Tiling.ranges(run.upperBound, by: Self.block) {
      load(head, block, window, scratch)
      let first = max(run.lowerBound, block.lowerBound)
      for rows in Tiling.ranges(first..<run.upperBound, by: Self.tile) {
        scratch.frame { body(rows, tile(head, rows, block, window, scratch)) }
      }
    }
  }

  /// A whole block even where the sequence ends in it: later positions are masked, and zero.
  private func load(
    _ head: AttentionHead, _ block: Range<Int>, _ window: ChunkWindow<Float>,
    _ scratch: ScratchArena
  ) {
    scratch.frame {
      let list = positions(block.lowerBound..<block.lowerBound + Self.block, scratch)
      window.load(list, of: head, slot: 0, scratch)
    }
    scratch.lap(.gather)
  }

  /// The queries `rows` and a block of keys; the draw of a probability is query times length plus key.
  private func tile(
    _ head: AttentionHead, _ rows: Range<Int>, _ block: Range<Int>, _ window: ChunkWindow<Float>,
    _ scratch: ScratchArena
  ) -> ScoreTile<Float> {
    let length = head.queries.rows
    return ScoreTile(
      head: head, window: window, parts: [(0..<rows.count, 0..<window.rows, 0..<window.rows)],
      queries: head.queries.rows(rows).left, positions: positions(rows, scratch),
      seen: .before(
        masksSelf: sharesQueryKey, firstDraw: rows.lowerBound * length + block.lowerBound,
        drawsPerQuery: length))
  }

  private func positions(_ rows: Range<Int>, _ scratch: ScratchArena) -> View<Int32> {
    let positions = scratch.integers(rows.count)
    for (index, row) in rows.enumerated() { positions[index] = Int32(row) }
    return positions
  }

  /// Gradients of the projections, in two passes over the scores: one by queries and one by keys.
  ///
  /// Scores are computed twice, but every gradient row has one writer. The second pass adds to the first where both
  /// share a projection.
  public func backward(
    _ group: HeadGroup, saved: [SoftmaxRows], outputGradient: Matrix, gradients: [Matrix],
    ownGradients: OwnParameters, pass: AttentionPass
  ) {
    backwardTurned(
      group, saved: saved, outputGradient: outputGradient, gradients: gradients, pass: pass)
    pass.turnBack(gradients)
  }

  func backwardTurned(
    _ group: HeadGroup, saved: [SoftmaxRows], outputGradient: Matrix, gradients: [Matrix],
    pass: AttentionPass
  ) {
    let engine = pass.engine
    engine.scratch.frame {
      let heads = AttentionHead.all(group, saved, pass)
      let own = HeadGradient.all(
        group, heads, outputGradient: outputGradient, gradients: gradients, engine)
      engine.pool.each(heads.count, ranges(group.length, by: Self.run)) { head, run, scratch in
        addQueryGradients(heads[head], own[head], run, scratch)
      }
      engine.pool.each(heads.count, Tiling.ranges(group.length, by: Self.block)) {
        addKeyGradients(heads[$0], own[$0], $1, $2)
      }
    }
  }

  private func backward(
    _ tile: ScoreTile<Float>, _ rows: Range<Int>, _ gradient: HeadGradient, _ scratch: ScratchArena
  ) -> (probabilities: Matrix, gradients: Matrix) {
    tile.backward(
      outputGradient: gradient.output.rows(rows).left, maximum: tile.head.rows.maximum.dense[rows],
      sum: tile.head.rows.sum.dense[rows], dots: gradient.dots.dense[rows], scratch)
  }

  private func addQueryGradients(
    _ head: AttentionHead, _ gradient: HeadGradient, _ run: Range<Int>, _ scratch: ScratchArena
  ) {
    eachTile(head, run, forGradients: true, scratch) { rows, tile in
      let (_, gradients) = backward(tile, rows, gradient, scratch)
      tileProduct(
        gradients.left, tile.window.keys.right, into: gradient.queries.rows(rows).result,
        accumulate: true)
      scratch.lap(.scores)
    }
  }

  private func addKeyGradients(
    _ head: AttentionHead, _ gradient: HeadGradient, _ block: Range<Int>, _ scratch: ScratchArena
  ) {
    let width = head.keys.columns
    let keys = scratch.matrix(block.count, width)
    let values = scratch.matrix(block.count, width)
    keys.fill(0)
    values.fill(0)
    let window = ChunkWindow<Float>(
      chunk: Self.block, before: 0, width: width, forGradients: true, from: scratch)
    load(head, block, window, scratch)
    for rows in Tiling.ranges(block.lowerBound..<head.queries.rows, by: Self.tile) {
      scratch.frame {
        let queries = scratch.strips(rows.count, width)
        let outputGradient = scratch.strips(rows.count, width)
        queries.copy(from: head.queries.rows(rows))
        outputGradient.copy(from: gradient.output.rows(rows))
        let (probabilities, gradients) = backward(
          tile(head, rows, block, window, scratch), rows, gradient, scratch)
        tileProduct(
          probabilities.columns(0..<block.count).left.transposed, outputGradient,
          into: values.result, accumulate: true)
        scratch.lap(.values)
        tileProduct(
          gradients.columns(0..<block.count).left.transposed, queries, into: keys.result,
          accumulate: true)
        scratch.lap(.scores)
      }
    }
    if !sharesQueryKey { Kernels.scale(keys.dense, by: head.rows.keyScale.row(0)[0]) }
    gradient.add(keys: keys, values: values, of: head, at: positions(block, scratch))
    scratch.lap(.scatter)
  }
}
