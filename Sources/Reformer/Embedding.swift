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
    let axes = zip(shape.indices, widths).map { [shape] axis, features in
      var sizes = [Int](repeating: 1, count: shape.count)
      sizes[axis] = shape[axis]
      return ParameterSpecification(
        name + "position_embeddings.weights.\(axis)", sizes + [features], .table, .waves)
    }
    let words = ParameterSpecification(
      name + "word_embeddings.weight", [config.vocabulary, width], .embedding,
      .normal(deviation: 0.5))
    group = layout.add("embeddings", [words] + axes)
    self.words = layout[words.name]
    self.axes = axes.map { [layout] in layout[$0.name] }
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
    let tiles = Tiling.ranges(pass.length, by: Tiling.tileRows)
    let check = RangeCheck()
    pass.engine.pool.run(tiles.count) { index, scratch in
      let rows = tiles[index]
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
        stream.values[rows.lowerBound * width..<rows.upperBound * width].fill(0)
        stream.apply(sum, to: rows, .forward, check: check)
      }
      scratch.lap(.embedding)
    }
    try check.pass("embedding", fractionBits: streams[0].fractionBits)
  }

  /// Adds the gradients of all tables from those of both streams; the first of these is used up.
  ///
  /// Tasks own feature ranges and walk the positions in order: many positions share a row.
  func backward(
    tokens: View<Int32>, streamGradients: [Matrix], gradients: View<Float>, pass: Pass
  ) {
    let wordGradients = Matrix(gradients, words)
    for block in Tiling.ranges(pass.length, by: Tiling.blockRows) {
      pass.engine.scratch.frame {
        let forWords = pass.engine.scratch.matrix(block.count, width)
        let forPositions = pass.engine.scratch.matrix(block.count, width)
        let tiles = Tiling.ranges(block.count, by: Tiling.tileRows)
        pass.engine.pool.run(tiles.count) { index, scratch in
          let tile = tiles[index]
          let rows = block.lowerBound + tile.lowerBound..<block.lowerBound + tile.upperBound
          let sum = streamGradients[0].rows(rows)
          Kernels.add(sum.dense, streamGradients[1].rows(rows).dense)
          forWords.rows(tile).copy(from: sum)
          forPositions.rows(tile).copy(from: sum)
          pass.dropRows(forWords.rows(tile), rows, rate: dropout, .embeddingDropout)
          pass.dropRows(forPositions.rows(tile), rows, rate: dropout, .positionDropout)
          scratch.lap(.embedding)
        }
        let panels = Tiling.ranges(width, by: 64)
        pass.engine.pool.run(panels.count + 1) { index, scratch in
          if index < panels.count {
            let (source, target) = (
              forWords.columns(panels[index]), wordGradients.columns(panels[index])
            )
            for (row, position) in block.enumerated() {
              Kernels.add(target.row(Int(tokens[position])), source.row(row))
            }
          } else {
            for (row, position) in block.enumerated() {
              eachAxis(position, in: gradients) { features, gradient in
                Kernels.add(gradient, forPositions.row(row)[features])
              }
            }
          }
          scratch.lap(.embedding)
        }
      }
    }
  }
}
