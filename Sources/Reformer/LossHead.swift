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
  /// Counts that have a say beside the network; nil where there are none.
  let ngrams: NGramMixture?
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
      ] + NGramMixture.parameters(config))
    norm = LayerNorm(name, layout: layout, epsilon: config.layerNormEpsilon)
    self.weight = layout[weight]
    self.bias = layout[bias]
    ngrams = NGramMixture(config, layout: &layout)
    dropout = config.dropout
  }

  private var width: Int { norm.width / 2 }

  /// Both streams `[rows, 2 D]`.
  private func read(_ rows: Range<Int>, _ streams: [ResidualStream], into x: Matrix) {
    streams[0].read(rows, into: x.columns(0..<width))
    streams[1].read(rows, into: x.columns(width..<2 * width))
  }

  /// The network's `logits` of `rows` from `x`; `normalized` and `statistics` are left for the gradient.
  private func logits(
    _ x: Matrix, rows: Range<Int>, normalized: Matrix, statistics: Matrix, into logits: Matrix,
    weights: Packed<Float>, pass: Pass
  ) {
    norm.forward(x, into: normalized, statistics: statistics, parameters: pass.parameters)
    pass.dropRows(normalized, rows, rate: dropout, .headDropout)
    tileProduct(
      normalized.left, weights, into: logits.result, bias: pass.parameters[bias.range])
  }

  /// Loss in nats of each position into `rowLoss` `[L]`, 0 where its target is negative; all logits
  /// into `allLogits` `[L, V]` where wanted.
  func forward(
    streams: [ResidualStream], window: Window, rowLoss: View<Float>,
    allLogits: Matrix?, pass: Pass
  ) {
    pass.engine.scratch.frame {
      let weights = pass.engine.pack(Matrix(pass.parameters, weight), transposed: true)
      let common = ngrams?.common(window, pass)
      pass.eachTile { rows, scratch in
        let x = scratch.matrix(rows.count, norm.width)
        read(rows, streams, into: x)
        let tile = scratch.matrix(rows.count, bias.count)
        logits(
          x, rows: rows, normalized: scratch.matrix(rows.count, norm.width),
          statistics: scratch.matrix(2, rows.count), into: tile, weights: weights, pass: pass)
        if let ngrams, let common {
          ngrams.mix(tile, rows: rows, common: common, scratch: scratch)
        }
        allLogits?.rows(rows).copy(from: tile)
        Kernels.crossEntropy(
          tile, targets: window.targets[rows], gradientScale: nil, into: rowLoss[rows])
        scratch.lap(.loss)
      }
    }
  }

  /// Loss of each position, and the gradient of `scale` times their sum: set in `streamGradients`
  /// (`[L, D]` each), and in `gradients`.
  ///
  /// Where counts have a say, the loss is the mixture's and the streams' gradient that of the network's own.
  func forwardAndBackward(
    streams: [ResidualStream], window: Window, scale: Float,
    rowLoss: View<Float>, streamGradients: [Matrix],
    gradients: View<Float>, pass: Pass
  ) {
    let parameters = pass.parameters
    let engine = pass.engine
    engine.scratch.frame {
      let weights = engine.pack(Matrix(parameters, weight), transposed: true)
      let common = ngrams?.common(window, pass)
      let backWeights = engine.pack(Matrix(parameters, weight), transposed: false)
      let slots = norm.slots + [weight, bias] + (ngrams?.slots ?? [])
      pass.begin(slots, gradients: gradients)
      pass.eachBlock(of: slots, gradients: gradients) { block in
        let normalizedStrips = engine.scratch.strips(block.rows.count, norm.width)
        let outputGradients = engine.scratch.strips(block.rows.count, bias.count)
        block.eachTile { tile, scratch in
          let rows = tile.rows
          let x = scratch.matrix(rows.count, norm.width)
          let normalized = scratch.matrix(rows.count, norm.width)
          let statistics = scratch.matrix(2, rows.count)
          let gradient = scratch.matrix(rows.count, bias.count)
          read(rows, streams, into: x)
          logits(
            x, rows: rows, normalized: normalized, statistics: statistics, into: gradient,
            weights: weights, pass: pass)
          normalizedStrips.rows(tile.place).copy(from: normalized)
          if let ngrams, let common {
            ngrams.mix(
              gradient, rows: rows, common: common, scratch: scratch,
              learning: (tile, scale, rowLoss[rows]))
          }
          Kernels.crossEntropy(
            gradient, targets: window.targets[rows], gradientScale: scale,
            into: ngrams == nil ? rowLoss[rows] : scratch.floats(rows.count))
          outputGradients.rows(tile.place).copy(from: gradient)
          tile.add(outputGradients.rows(tile.place), to: bias)
          // `normalized` has served; the gradient of the norm's output takes its place.
          tileProduct(gradient.left, backWeights, into: normalized.result)
          pass.dropRows(normalized, rows, rate: dropout, .headDropout)
          let dx = scratch.matrix(rows.count, norm.width)
          dx.fill(0)
          norm.backward(
            normalized, x: x, statistics: statistics, into: dx, tile: tile,
            parameters: parameters)
          streamGradients[0].rows(rows).copy(from: dx.columns(0..<width))
          streamGradients[1].rows(rows).copy(from: dx.columns(width..<2 * width))
          scratch.lap(.loss)
        }
        block.add([
          WeightGradient(
            outputGradient: outputGradients, input: normalizedStrips,
            sum: block.sums.matrix(weight))
        ])
      }
    }
  }
}
