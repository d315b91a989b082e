// The end of the model: both streams side by side, LayerNorm over 2 D, output matrix,
// cross-entropy. Logits exist for one tile of positions at a time.
import Compute

/// Output layer and loss.
///
/// D width, V vocabulary.
struct LossHead {
  let norm: LayerNorm
  let weight: Slot
  let bias: Slot
  let dropout: Double

  init(_ config: ReformerConfig, layout: ParameterLayout) {
    norm = LayerNorm(
      ParameterName.finalNorm, layout: layout, epsilon: config.layerNormEpsilon)
    weight = layout[ParameterName.logits]
    bias = layout[ParameterName.logitBias]
    dropout = config.dropout
  }

  private var width: Int { norm.width / 2 }

  /// Both streams `[rows, 2 D]`.
  private func read(_ rows: Range<Int>, _ streams: [ResidualStream], into x: Matrix) {
    streams[0].read(rows, into: x.columns(0..<width))
    streams[1].read(rows, into: x.columns(width..<2 * width))
  }

  /// `logits` of `rows` from `x`; `normalized` and `statistics` are left for the gradient.
  private func logits(
    _ x: Matrix, rows: Range<Int>, normalized: Matrix, statistics: Matrix, into logits: Matrix,
    pass: Pass
  ) {
    norm.forward(x, into: normalized, statistics: statistics, parameters: pass.parameters)
    pass.dropRows(normalized, rows, rate: dropout, .headDropout)
    multiply(normalized.plain, Matrix(pass.parameters, weight).transposed, into: logits)
    Kernels.addBias(pass.parameters[bias.range], to: logits)
  }

  /// Loss in nats of each position into `rowLoss` `[L]`, 0 where `targets` is negative; all logits
  /// into `allLogits` `[L, V]` where wanted.
  func forward(
    streams: [ResidualStream], targets: View<Int32>, rowLoss: View<Float>, allLogits: Matrix?,
    pass: Pass
  ) {
    let tiles = Tiling.ranges(pass.length, by: Tiling.tileRows)
    pass.engine.phases.time(.loss) {
      pass.engine.pool.run(tiles.count) { index, scratch in
        let rows = tiles[index]
        let x = scratch.matrix(rows.count, norm.width)
        read(rows, streams, into: x)
        let tile = scratch.matrix(rows.count, bias.count)
        logits(
          x, rows: rows, normalized: scratch.matrix(rows.count, norm.width),
          statistics: scratch.matrix(2, rows.count), into: tile, pass: pass)
        allLogits?.rows(rows).copy(from: tile)
        Kernels.crossEntropy(
          tile, targets: targets[rows], gradientScale: nil, into: rowLoss[rows])
      }
    }
  }

  /// Loss of each position, and the gradient of `scale` times their sum: set in `streamGradients`
  /// (`[L, D]` each), added in `gradients`.
  func forwardAndBackward(
    streams: [ResidualStream], targets: View<Int32>, scale: Float, rowLoss: View<Float>,
    streamGradients: [Matrix], gradients: View<Float>, pass: Pass
  ) {
    let parameters = pass.parameters
    let panels = Tiling.ranges(bias.count, by: Tiling.panelRows)
    pass.engine.phases.time(.loss) {
      for block in Tiling.ranges(pass.length, by: Tiling.blockRows) {
        pass.engine.scratch.frame {
          let arena = pass.engine.scratch
          let tiles = Tiling.ranges(block.count, by: Tiling.tileRows)
          let normalized = arena.matrix(block.count, norm.width)
          let logitGradients = arena.matrix(block.count, bias.count)
          let partials = arena.matrix(2 * tiles.count, norm.width)
          pass.engine.pool.run(tiles.count) { index, scratch in
            let tile = tiles[index]
            let rows = block.lowerBound + tile.lowerBound..<block.lowerBound + tile.upperBound
            let x = scratch.matrix(tile.count, norm.width)
            let statistics = scratch.matrix(2, tile.count)
            read(rows, streams, into: x)
            let gradient = logitGradients.rows(tile)
            logits(
              x, rows: rows, normalized: normalized.rows(tile), statistics: statistics,
              into: gradient, pass: pass)
            Kernels.crossEntropy(
              gradient, targets: targets[rows], gradientScale: scale, into: rowLoss[rows])
            let normGradient = scratch.matrix(tile.count, norm.width)
            multiply(gradient.plain, Matrix(parameters, weight).plain, into: normGradient)
            pass.dropRows(normGradient, rows, rate: dropout, .headDropout)
            let dx = scratch.matrix(tile.count, norm.width)
            dx.fill(0)
            let partial = partials.rows(2 * index..<2 * index + 2)
            partial.fill(0)
            norm.backward(
              normGradient, x: x, statistics: statistics, into: dx, partial: partial,
              parameters: parameters)
            streamGradients[0].rows(rows).copy(from: dx.columns(0..<width))
            streamGradients[1].rows(rows).copy(from: dx.columns(width..<2 * width))
          }
          pass.engine.pool.run(panels.count + 1) { index, _ in
            guard index < panels.count else {
              norm.addPartials(partials, to: gradients)
              return Kernels.addColumnSums(of: logitGradients, to: gradients[bias.range])
            }
            let panel = panels[index]
            multiply(
              logitGradients.columns(panel).transposed, normalized.plain,
              into: Matrix(gradients, weight).rows(panel), accumulate: true)
          }
        }
      }
    }
  }
}
