// One head of compressed attention: the rows that stand for blocks, and queries that meet them and their own block.
import Compute

/// One head, K features; S rows stand for all blocks that are seen by later ones.
struct CompressedHead {
  let sizes: CompressedAttention
  /// Queries, and keys and values as they are.
  let own: AttentionHead
  /// The same queries; keys and values are the S rows.
  let others: AttentionHead
  /// `[rows, block]`, of keys and of values.
  let matrices: [Matrix]

  private var length: Int { own.queries.rows }
  private var width: Int { own.keys.columns }
  private var draws: Int { sizes.draws(length) }

  /// Makes the rows of `blocks`.
  func compress(_ blocks: Range<Int>, _ scratch: ScratchArena) {
    for block in blocks {
      for (matrix, (from, to)) in zip(
        matrices, [(own.keys, others.keys), (own.values, others.values)])
      {
        scratch.frame {
          let strips = scratch.strips(sizes.block, width)
          strips.copy(from: from.rows(positions(block)))
          tileProduct(matrix.left, strips, into: to.rows(rows(block)).result)
        }
      }
    }
    scratch.lap(.gather)
  }

  private func positions(_ block: Int) -> Range<Int> {
    block * sizes.block..<(block + 1) * sizes.block
  }

  private func rows(_ block: Int) -> Range<Int> { block * sizes.rows..<(block + 1) * sizes.rows }

  /// Gradients of what `blocks` and the matrices are made of, from those of their rows: `matrixGradients`, `[rows,
  /// block]` each, are overwritten by the sum over the blocks, the others added to.
  func compressBackward(
    _ blocks: Range<Int>, keys: Matrix, values: Matrix, into gradient: HeadGradient,
    matrixGradients: [Matrix], _ scratch: ScratchArena
  ) {
    guard let ownKeys = gradient.keys else { preconditionFailure("keys of their own") }
    matrixGradients.forEach { $0.fill(0) }
    let parts = [(own.keys, keys, ownKeys), (own.values, values, gradient.values)]
    for block in blocks {
      for (number, (from, incoming, out)) in parts.enumerated() {
        scratch.frame {
          let strips = scratch.strips(sizes.rows, width)
          let across = scratch.strips(width, sizes.block)
          let incoming = incoming.rows(rows(block))
          strips.copy(from: incoming)
          across.copy(transposing: from.rows(positions(block)))
          tileProduct(
            matrices[number].left.transposed, strips, into: out.rows(positions(block)).result,
            accumulate: true)
          tileProduct(
            incoming.left, across, into: matrixGradients[number].result, accumulate: true)
        }
      }
    }
    scratch.lap(.scatter)
  }

  /// A window of `count` keys.
  private func window(
    _ count: Int, forGradients: Bool, _ scratch: ScratchArena
  ) -> ChunkWindow<Float> {
    ChunkWindow(
      chunk: count, before: 0, width: width, forGradients: forGradients, from: scratch)
  }

  private func list(_ range: Range<Int>, _ scratch: ScratchArena) -> View<Int32> {
    let list = scratch.integers(range.count)
    for (index, number) in range.enumerated() { list[index] = Int32(number) }
    return list
  }

  private func tile(
    _ head: AttentionHead, _ window: ChunkWindow<Float>, _ queries: Range<Int>, firstDraw: Int,
    _ scratch: ScratchArena
  ) -> ScoreTile<Float> {
    ScoreTile(
      head: head, window: window, parts: [(0..<queries.count, 0..<window.rows, 0..<window.rows)],
      queries: head.queries.rows(queries).left, positions: list(queries, scratch),
      seen: .before(
        masksSelf: false, firstDraw: queries.lowerBound * draws + firstDraw,
        drawsPerQuery: draws))
  }

  /// Runs `body` for the queries of each block of `run` and its keys.
  private func eachBlock(
    _ run: Range<Int>, forGradients: Bool = false, _ scratch: ScratchArena,
    _ body: (_ queries: Range<Int>, _ tile: ScoreTile<Float>) -> Void
  ) {
    let window = window(sizes.block, forGradients: forGradients, scratch)
    for queries in Tiling.ranges(run, by: sizes.block) {
      scratch.frame {
        let whole = queries.lowerBound..<queries.lowerBound + sizes.block
        window.load(list(whole, scratch), of: own, slot: 0, scratch)
        scratch.lap(.gather)
        body(queries, tile(own, window, queries, firstDraw: 0, scratch))
      }
    }
  }

  /// The first query that sees row `row`, which is where the next block begins.
  private func firstQuery(_ row: Int) -> Int { (row / sizes.rows + 1) * sizes.block }

  private func load(
    _ panel: Int, into window: ChunkWindow<Float>, _ scratch: ScratchArena
  ) {
    scratch.frame {
      let rows = list(panel..<panel + CompressedAttention.panel, scratch)
      window.load(rows, of: others, slot: 0, scratch)
    }
    for index in 0..<CompressedAttention.panel {
      window.positions[index] = Int32(firstQuery(panel + index))
    }
    scratch.lap(.gather)
  }

  /// Runs `body` for the queries of `run` that see one of a panel's rows, a tile at a time.
  private func eachPanel(
    _ run: Range<Int>, forGradients: Bool = false, _ scratch: ScratchArena,
    _ body: (_ queries: Range<Int>, _ tile: ScoreTile<Float>) -> Void
  ) {
    let window = window(CompressedAttention.panel, forGradients: forGradients, scratch)
    let seen = (run.upperBound - 1) / sizes.block * sizes.rows
    for panel in stride(from: 0, to: seen, by: CompressedAttention.panel) {
      load(panel, into: window, scratch)
      let first = max(run.lowerBound, firstQuery(panel))
      for queries in Tiling.ranges(first..<run.upperBound, by: Tiling.tileRows) {
        scratch.frame {
          let draw = sizes.firstRowDraw + panel
          body(queries, tile(others, window, queries, firstDraw: draw, scratch))
        }
      }
    }
  }

  /// Outputs of a run.
  func forward(_ run: Range<Int>, _ scratch: ScratchArena) {
    own.clear(run)
    scratch.frame { eachBlock(run, scratch) { _, tile in tile.merge(scratch) } }
    scratch.frame { eachPanel(run, scratch) { _, tile in tile.merge(scratch) } }
    Kernels.normalizeRows(own.output.rows(run), by: own.rows.sum.rows(run))
    scratch.lap(.merge)
  }

  private func backward(
    _ tile: ScoreTile<Float>, _ queries: Range<Int>, _ gradient: HeadGradient,
    _ scratch: ScratchArena
  ) -> (probabilities: Matrix, gradients: Matrix) {
    tile.backward(
      outputGradient: gradient.output.rows(queries).left,
      maximum: own.rows.maximum.dense[queries], sum: own.rows.sum.dense[queries],
      dots: gradient.dots.dense[queries], scratch)
  }

  /// Adds to `keys` and `values`, `[n, K]`, the gradients of the first n keys of a tile, before their scale.
  private func addKeyGradients(
    _ probabilities: Matrix, _ gradients: Matrix, _ queries: Range<Int>, _ gradient: HeadGradient,
    keys: Matrix, values: Matrix, _ scratch: ScratchArena
  ) {
    let columns = 0..<keys.rows
    let (strips, incoming) = (
      scratch.strips(queries.count, width), scratch.strips(queries.count, width)
    )
    strips.copy(from: own.queries.rows(queries))
    incoming.copy(from: gradient.output.rows(queries))
    tileProduct(
      probabilities.columns(columns).left.transposed, incoming, into: values.result,
      accumulate: true)
    scratch.lap(.values)
    tileProduct(
      gradients.columns(columns).left.transposed, strips, into: keys.result, accumulate: true)
    scratch.lap(.scores)
  }

  private func scale(_ keys: Matrix) {
    for row in 0..<keys.rows { Kernels.scale(keys.row(row), by: own.rows.keyScale.row(0)[0]) }
  }

  /// Gradients of the queries of a run, and of its keys and values as far as its own blocks see them.
  func queriesBackward(_ run: Range<Int>, _ gradient: HeadGradient, _ scratch: ScratchArena) {
    guard let keys = gradient.keys else { preconditionFailure("keys of their own") }
    scratch.frame {
      eachBlock(run, forGradients: true, scratch) { queries, tile in
        let (probabilities, gradients) = backward(tile, queries, gradient, scratch)
        tileProduct(
          gradients.left, tile.window.keys.right, into: gradient.queries.rows(queries).result,
          accumulate: true)
        addKeyGradients(
          probabilities, gradients, queries, gradient, keys: keys.rows(queries),
          values: gradient.values.rows(queries), scratch)
        scale(keys.rows(queries))
      }
    }
    scratch.frame {
      eachPanel(run, forGradients: true, scratch) { queries, tile in
        let (_, gradients) = backward(tile, queries, gradient, scratch)
        tileProduct(
          gradients.left, tile.window.keys.right, into: gradient.queries.rows(queries).result,
          accumulate: true)
        scratch.lap(.scores)
      }
    }
  }

  /// Gradients of the rows of a panel, into those of all rows.
  func rowsBackward(
    _ panel: Range<Int>, _ gradient: HeadGradient, keys: Matrix, values: Matrix,
    _ scratch: ScratchArena
  ) {
    let (keys, values) = (keys.rows(panel), values.rows(panel))
    keys.fill(0)
    values.fill(0)
    let window = window(CompressedAttention.panel, forGradients: true, scratch)
    load(panel.lowerBound, into: window, scratch)
    let queries = firstQuery(panel.lowerBound)..<length
    for queries in Tiling.ranges(queries, by: Tiling.tileRows) {
      scratch.frame {
        let draw = sizes.firstRowDraw + panel.lowerBound
        let (probabilities, gradients) = backward(
          tile(others, window, queries, firstDraw: draw, scratch), queries, gradient, scratch)
        addKeyGradients(
          probabilities, gradients, queries, gradient, keys: keys, values: values, scratch)
      }
    }
    scale(keys)
  }
}
