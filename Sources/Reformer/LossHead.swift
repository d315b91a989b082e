// The end of the model: both streams side by side, LayerNorm over 2 D, output matrix,
// cross-entropy. Logits exist for one tile of positions at a time.
import Compute

/// Output layer and loss.
///
/// D width, V vocabulary.
struct LossHead {
  let group: Int
  let norm: LayerNorm
  let weight: Slot
  let bias: Slot
  let dropout: Double

  init(_ config: ReformerConfig, layout: inout ParameterLayout) {
    let (name, width) = ("reformer.encoder.layer_norm", 2 * config.width)
    let (weight, bias) = ("lm_head.decoder.weight", "lm_head.bias")
    group = layout.add(
      "head",
      LayerNorm.parameters(name, width: width) + [
        // First logits are near 0.
        ParameterSpecification(
          weight, [config.vocabulary, width], .matrix, config.reading(inputs: width, scale: 0.1)),
        ParameterSpecification(bias, [config.vocabulary], .vector, .constant(0)),
      ])
    norm = LayerNorm(name, layout: layout, epsilon: config.layerNormEpsilon)
    self.weight = layout[weight]
    self.bias = layout[bias]
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
    weights: PackedWeights, pass: Pass
  ) {
    norm.forward(x, into: normalized, statistics: statistics, parameters: pass.parameters)
    pass.dropRows(normalized, rows, rate: dropout, .headDropout)
    tileProduct(
      normalized.left, weights.forward, into: logits.result, bias: pass.parameters[bias.range])
  }

  private func pack(_ pass: Pass, withBackward: Bool) -> PackedWeights {
    PackedWeights(
      Matrix(pass.parameters, weight), withBackward: withBackward, engine: pass.engine)
  }

  /// Loss in nats of each position into `rowLoss` `[L]`, 0 where `targets` is negative; all logits
  /// into `allLogits` `[L, V]` where wanted.
  func forward(
    streams: [ResidualStream], targets: View<Int32>, rowLoss: View<Float>, allLogits: Matrix?,
    pass: Pass
  ) {
    let tiles = Tiling.ranges(pass.length, by: Tiling.tileRows)
    pass.engine.scratch.frame {
      let weights = pack(pass, withBackward: false)
      pass.engine.pool.run(tiles.count) { index, scratch in
        let rows = tiles[index]
        let x = scratch.matrix(rows.count, norm.width)
        read(rows, streams, into: x)
        let tile = scratch.matrix(rows.count, bias.count)
        logits(
          x, rows: rows, normalized: scratch.matrix(rows.count, norm.width),
          statistics: scratch.matrix(2, rows.count), into: tile, weights: weights, pass: pass)
        allLogits?.rows(rows).copy(from: tile)
        Kernels.crossEntropy(
          tile, targets: targets[rows], gradientScale: nil, into: rowLoss[rows])
        scratch.lap(.loss)
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
    pass.engine.scratch.frame {
      let arena = pass.engine.scratch
      let weights = pack(pass, withBackward: true)
      guard let backwardWeights = weights.backward else {
        preconditionFailure("weights packed for the forward pass only")
      }
      for block in Tiling.ranges(pass.length, by: Tiling.blockRows) {
        arena.frame {
          let tiles = Tiling.ranges(block.count, by: Tiling.tileRows)
          let normalizedStrips = arena.strips(block.count, norm.width)
          let logitGradients = arena.strips(block.count, bias.count)
          let partials = arena.matrix(2 * tiles.count, norm.width)
          pass.engine.pool.run(tiles.count) { index, scratch in
            let tile = tiles[index]
            let rows = block.lowerBound + tile.lowerBound..<block.lowerBound + tile.upperBound
            let x = scratch.matrix(tile.count, norm.width)
            let normalized = scratch.matrix(tile.count, norm.width)
            let statistics = scratch.matrix(2, tile.count)
            let gradient = scratch.matrix(tile.count, bias.count)
            read(rows, streams, into: x)
            logits(
              x, rows: rows, normalized: normalized, statistics: statistics, into: gradient,
              weights: weights, pass: pass)
            normalizedStrips.rows(tile).copy(from: normalized)
            Kernels.crossEntropy(
              gradient, targets: targets[rows], gradientScale: scale, into: rowLoss[rows])
            logitGradients.rows(tile).copy(from: gradient)
            // `normalized` has served; the gradient of the norm's output takes its place.
            tileProduct(gradient.left, backwardWeights, into: normalized.result)
            pass.dropRows(normalized, rows, rate: dropout, .headDropout)
            let dx = scratch.matrix(tile.count, norm.width)
            dx.fill(0)
            let partial = partials.rows(2 * index..<2 * index + 2)
            partial.fill(0)
            norm.backward(
              normalized, x: x, statistics: statistics, into: dx, partial: partial,
              parameters: parameters)
            streamGradients[0].rows(rows).copy(from: dx.columns(0..<width))
            streamGradients[1].rows(rows).copy(from: dx.columns(width..<2 * width))
            scratch.lap(.loss)
          }
          pass.engine.pool.add(
            [
              WeightGradient(
                outputGradient: logitGradients, input: normalizedStrips,
                sum: Matrix(gradients, weight))
            ],
            others: [
              {
                norm.addPartials(partials, to: gradients)
                addColumnSums(of: logitGradients, to: gradients[bias.range])
              }
            ])
        }
      }
    }
  }
}
