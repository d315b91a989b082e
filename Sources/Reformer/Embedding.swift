// From bytes to residual streams: token embedding plus axial positions (a table per axis, joined
// along the features). Both streams start as that sum.
import Compute

/// Token and position embedding.
///
/// V tokens, D width.
struct Embedding {
  let group: Int
  let words: Slot
  let axes: [Slot]
  let shape: [Int]
  let widths: [Int]
  let width: Int
  let dropout: Double

  init(_ config: ReformerConfig, layout: inout ParameterLayout) {
    let name = "reformer.embeddings."
    shape = config.axialShape
    widths = config.axialWidths
    width = config.width
    dropout = config.dropout
    group = layout.addGroup("embeddings")
    words = layout.add(
      ParameterSpecification(
        name + "word_embeddings.weight", [config.vocabulary, width], .embedding,
        .normal(deviation: 0.5)))
    var axes: [Slot] = []
    for (axis, features) in widths.enumerated() {
      var sizes = [Int](repeating: 1, count: shape.count)
      sizes[axis] = shape[axis]
      axes.append(
        layout.add(
          ParameterSpecification(
            name + "position_embeddings.weights.\(axis)", sizes + [features], .table, .waves)))
    }
    self.axes = axes
  }

  /// Row of each axis' table for a position; positions are row-major over the axes.
  private func coordinates(_ position: Int) -> [Int] {
    var rest = position
    var result = [Int](repeating: 0, count: shape.count)
    for axis in shape.indices.reversed() {
      (rest, result[axis]) = rest.quotientAndRemainder(dividingBy: shape[axis])
    }
    return result
  }

  /// Calls `body` with each axis' features and the matching row of its table (or of its gradient).
  private func eachAxis(
    _ position: Int, in flat: View<Float>, _ body: (Range<Int>, View<Float>) -> Void
  ) {
    var start = 0
    for (axis, coordinate) in coordinates(position).enumerated() {
      let table = axes[axis].offset + coordinate * widths[axis]
      body(start..<start + widths[axis], flat[table..<table + widths[axis]])
      start += widths[axis]
    }
  }

  /// Sets both streams from `tokens` `[L]`.
  func forward(
    tokens: View<Int32>, streams: [ResidualStream], pass: Pass
  ) throws(ReformerError) {
    let check = RangeCheck()
    pass.eachTile { rows, scratch in
      let sum = scratch.matrix(rows.count, width)
      let positions = scratch.matrix(rows.count, width)
      for (row, position) in rows.enumerated() {
        let token = words.offset + Int(tokens[position]) * width
        sum.row(row).copy(from: pass.parameters[token..<token + width])
        eachAxis(position, in: pass.parameters) { features, values in
          positions.row(row)[features].copy(from: values)
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
    let slot: Slot
    /// Features of the gradient that belong to the table.
    let features: Range<Int>
    /// `[positions of the block]`: table row and place in the tile, tile by tile in order of both.
    let keys: View<Int32>
    /// `[positions of the block, D]`.
    let gradient: Matrix

    /// Adds the features in `panel` of a tile: rows that are looked up alike are summed first.
    func add(_ tile: Range<Int>, panel: Range<Int>, to sums: ParameterSums, _ scratch: ScratchArena)
    {
      let target = Matrix(
        sums.vector(slot), rows: slot.count / features.count, columns: features.count)
      let columns = panel.lowerBound - features.lowerBound..<panel.upperBound - features.lowerBound
      let sum = scratch.floats(panel.count)
      func row(_ index: Int) -> View<Float> {
        gradient.row(tile.lowerBound + Int(keys[index]) % Tiling.tileRows)[panel]
      }
      var index = tile.lowerBound
      while index < tile.upperBound {
        let table = Int(keys[index]) / Tiling.tileRows
        sum.copy(from: row(index))
        index += 1
        while index < tile.upperBound, Int(keys[index]) / Tiling.tileRows == table {
          Kernels.add(sum, row(index))
          index += 1
        }
        Kernels.add(target.row(table)[columns], sum)
      }
    }
  }

  /// Sets the gradients of all tables from those of both streams; the first of these is used up.
  func backward(
    tokens: View<Int32>, streamGradients: [Matrix], gradients: View<Float>, pass: Pass
  ) {
    pass.begin([words] + axes, gradients: gradients)
    pass.eachBlock(of: [words] + axes, gradients: gradients) { block in
      let arena = pass.engine.scratch
      let forWords = arena.matrix(block.rows.count, width)
      // Without dropout both are the same.
      let forPositions = pass.drops(dropout) ? arena.matrix(block.rows.count, width) : forWords
      var lookups = [
        Lookups(
          slot: words, features: 0..<width, keys: arena.integers(block.rows.count),
          gradient: forWords)
      ]
      for (axis, slot) in axes.enumerated() {
        let start = lookups.last.map { axis == 0 ? 0 : $0.features.upperBound } ?? 0
        lookups.append(
          Lookups(
            slot: slot, features: start..<start + widths[axis],
            keys: arena.integers(block.rows.count), gradient: forPositions))
      }
      block.eachTile { tile, scratch in
        let sum = streamGradients[0].rows(tile.rows)
        Kernels.add(sum.dense, streamGradients[1].rows(tile.rows).dense)
        for copy in pass.drops(dropout) ? [forWords, forPositions] : [forWords] {
          copy.rows(tile.place).copy(from: sum)
        }
        pass.dropRows(forWords.rows(tile.place), tile.rows, rate: dropout, .embeddingDropout)
        if pass.drops(dropout) {
          pass.dropRows(forPositions.rows(tile.place), tile.rows, rate: dropout, .positionDropout)
        }
        for (number, lookup) in lookups.enumerated() {
          let keys = lookup.keys[tile.place]
          for (place, position) in tile.rows.enumerated() {
            let row = number == 0 ? Int(tokens[position]) : coordinates(position)[number - 1]
            keys[place] = Int32(row * Tiling.tileRows + place)
          }
          var sorted = UnsafeMutableBufferPointer(start: keys.base, count: keys.count)
          sorted.sort()
        }
        scratch.lap(.embedding)
      }
      let tiles = Tiling.ranges(block.rows.count, by: pass.tileRows)
      let tasks = lookups.flatMap { lookup in
        Tiling.ranges(lookup.features, by: 64).map { (lookup, $0) }
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
