// From bytes to residual streams: token embedding plus, unless positions are rotary or infused, axial ones (a table per axis,
// joined along the features). Both streams start as that sum.
import Compute

/// Token and position embedding.
///
/// V tokens, D width.
struct Embedding {
  let group: Int
  let width: Int
  let dropout: Double
  /// Words first, then the axes.
  private let tables: [Table]

  /// A tensor of which each position takes a row.
  private struct Table {
    let slot: Slot
    /// Features that a row gives.
    let features: Range<Int>
    /// Of a table of positions: which part of them it tells apart, row-major over the axes.
    let axis: (step: Int, size: Int)?

    func row(position: Int, token: Int32) -> Int {
      axis.map { position / $0.step % $0.size } ?? Int(token)
    }

    /// `[rows, features]`, of parameters or their sums.
    func matrix(_ values: View<Float>) -> Matrix {
      Matrix(values, rows: slot.count / features.count, columns: features.count)
    }
  }

  init(_ config: ReformerConfig, layout: inout ParameterLayout) {
    let name = "reformer.embeddings."
    group = layout.addGroup("embeddings")
    width = config.width
    dropout = config.dropout
    let words = layout.add(
      name + "word_embeddings.weight", [config.vocabulary, width], .embedding,
      .normal(deviation: 0.5))
    var tables = [Table(slot: words, features: 0..<width, axis: nil)]
    var start = 0
    for (axis, (size, features)) in zip(config.axialShape, config.axialWidths).enumerated() {
      var shape = [Int](repeating: 1, count: config.axialShape.count)
      shape[axis] = size
      tables.append(
        Table(
          slot: layout.add(
            name + "position_embeddings.weights.\(axis)", shape + [features], .table, .waves),
          features: start..<start + features,
          axis: (config.axialShape[(axis + 1)...].reduce(1, *), size)))
      start += features
    }
    self.tables = tables
  }

  /// Sets both streams from `tokens` `[L]`.
  func forward(
    tokens: View<Int32>, streams: [ResidualStream], pass: Pass
  ) throws(ReformerError) {
    let check = RangeCheck()
    pass.eachTile { rows, scratch in
      let sum = scratch.matrix(rows.count, width)
      let positions = scratch.matrix(rows.count, width)
      if tables.count == 1 { positions.fill(0) }
      for table in tables {
        let values = table.matrix(pass.parameters[table.slot.range])
        let target = (table.axis == nil ? sum : positions).columns(table.features)
        for (row, position) in rows.enumerated() {
          target.row(row).copy(
            from: values.row(table.row(position: position, token: tokens[position])))
        }
      }
      pass.dropRows(sum, rows, rate: dropout, .embeddingDropout)
      pass.dropRows(positions, rows, rate: dropout, .positionDropout)
      Kernels.add(sum.dense, positions.dense)
      for stream in streams {
        stream.values(rows).fill(0)
        stream.apply(sum, to: rows, .forward, check: check)
      }
      scratch.lap(.embedding)
    }
    try check.pass("embedding", fractionBits: streams[0].fractionBits)
  }

  /// Rows of a table that a tile's positions look up, and what each one's gradient is.
  private struct Lookups {
    let table: Table
    /// `[positions of the block]`: table row and place in the tile, tile by tile in order of both.
    let keys: View<Int32>
    /// `[positions of the block, D]`.
    let gradient: Matrix

    /// Adds the features in `panel` of a tile: rows that are looked up alike are summed first.
    func add(
      _ tile: Range<Int>, panel: Range<Int>, to sums: ParameterSums, _ scratch: ScratchArena
    ) {
      let start = table.features.lowerBound
      let target = table.matrix(sums.vector(table.slot))
        .columns(panel.lowerBound - start..<panel.upperBound - start)
      let sum = scratch.floats(panel.count)
      func row(_ index: Int) -> View<Float> {
        gradient.row(tile.lowerBound + Int(keys[index]) % Tiling.tileRows)[panel]
      }
      var index = tile.lowerBound
      while index < tile.upperBound {
        let number = Int(keys[index]) / Tiling.tileRows
        sum.copy(from: row(index))
        index += 1
        while index < tile.upperBound, Int(keys[index]) / Tiling.tileRows == number {
          Kernels.add(sum, row(index))
          index += 1
        }
        Kernels.add(target.row(number), sum)
      }
    }
  }

  /// Sets the gradients of all tables from those of both streams; the first of these is used up.
  func backward(
    tokens: View<Int32>, streamGradients: [Matrix], gradients: View<Float>, pass: Pass
  ) {
    let slots = tables.map(\.slot)
    pass.begin(slots, gradients: gradients)
    pass.eachBlock(of: slots, gradients: gradients) { block in
      let arena = pass.engine.scratch
      let forWords = arena.matrix(block.rows.count, width)
      // Without dropout both are the same.
      let forPositions = pass.drops(dropout) ? arena.matrix(block.rows.count, width) : forWords
      let lookups = tables.map {
        Lookups(
          table: $0, keys: arena.integers(block.rows.count),
          gradient: $0.axis == nil ? forWords : forPositions)
      }
      block.eachTile { tile, scratch in
        let sum = streamGradients[0].rows(tile.rows)
        Kernels.add(sum.dense, streamGradients[1].rows(tile.rows).dense)
        forWords.rows(tile.place).copy(from: sum)
        pass.dropRows(forWords.rows(tile.place), tile.rows, rate: dropout, .embeddingDropout)
        if pass.drops(dropout) {
          forPositions.rows(tile.place).copy(from: sum)
          pass.dropRows(forPositions.rows(tile.place), tile.rows, rate: dropout, .positionDropout)
        }
        for lookup in lookups {
          let keys = lookup.keys[tile.place]
          for (place, position) in tile.rows.enumerated() {
            let row = lookup.table.row(position: position, token: tokens[position])
            keys[place] = Int32(row * Tiling.tileRows + place)
          }
          var sorted = UnsafeMutableBufferPointer(start: keys.base, count: keys.count)
          sorted.sort()
        }
        scratch.lap(.embedding)
      }
      let tiles = Tiling.ranges(block.rows.count, by: pass.tileRows)
      let tasks = lookups.flatMap { lookup in
        Tiling.ranges(lookup.table.features, by: 64).map { (lookup, $0) }
      }
      pass.engine.pool.run(tasks.count) { task, scratch in
        let (lookup, panel) = tasks[task]
        for tile in tiles {
          scratch.frame { lookup.add(tile, panel: panel, to: block.sums, scratch) }
        }
        scratch.lap(.embedding)
      }
    }
  }
}
