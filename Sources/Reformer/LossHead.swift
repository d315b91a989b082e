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
    let width = 2 * config.width
    group = layout.addGroup("head")
    norm = LayerNorm(
      "reformer.encoder.layer_norm", width: width, layout: &layout,
      epsilon: config.layerNormEpsilon)
    // First logits are near 0.
    weight = layout.add(
      "lm_head.decoder.weight", [config.vocabulary, width], .output,
      config.reading(inputs: width, scale: 0.1))
    bias = layout.add("lm_head.bias", [config.vocabulary], .vector, .constant(0))
    for tensor in NGramMixture.parameters(config) { _ = layout.add(tensor) }
    ngrams = NGramMixture(config, layout: &layout)
    dropout = config.dropout
  }

  /// The network's logits of `rows`, and what they come from.
  func logits(
    _ rows: Range<Int>, _ streams: [ResidualStream], weights: Packed<Float>, pass: Pass,
    scratch: ScratchArena
  ) -> (normed: LayerNorm.Rows, logits: Matrix) {
    let normed = norm.forward(rows, of: streams[0], streams[1], pass: pass, scratch: scratch)
    pass.dropRows(normed.normalized, rows, rate: dropout, .headDropout)
    let logits = scratch.matrix(rows.count, bias.count)
    pass.multiply(
      normed.normalized.left,
      [ColumnProduct(weights, into: logits.result, bias: pass.parameters[bias.range])])
    return (normed, logits)
  }

  /// Loss in nats of each position into `rowLoss` `[L]`, 0 where its target is negative; all logits
  /// into `allLogits` `[L, V]`, and the likeliest token of each position into `likeliest` `[L]`, where wanted.
  func forward(
    streams: [ResidualStream], window: Window, rowLoss: View<Float>,
    allLogits: Matrix?, likeliest: View<Int32>?, pass: Pass
  ) {
    pass.engine.scratch.frame {
      if let ngrams {
        let common = ngrams.common(window, pass)
        mix(
          pass.rows, streams: streams, ngrams, common, known: window.length, losses: rowLoss,
          allLogits: allLogits, likeliest: likeliest, pass: pass)
        return
      }
      let weights = pass.engine.pack(Matrix(pass.parameters, weight), transposed: true)
      pass.eachTile { rows, scratch in
        let tile = logits(rows, streams, weights: weights, pass: pass, scratch: scratch).logits
        allLogits?.rows(rows).copy(from: tile)
        if let likeliest { tile.writeLargestColumns(into: likeliest[rows]) }
        Kernels.crossEntropy(
          tile, targets: window.targets[rows], gradientScale: nil, into: rowLoss[rows])
        scratch.lap(.loss)
      }
    }
  }

  /// The same for `rows`, which follow those that the window of `common` has learnt from, where counts have a say.
  ///
  /// `known`: tokens of the window that are known.
  func mix(
    _ rows: Range<Int>, streams: [ResidualStream], _ ngrams: NGramMixture,
    _ common: NGramMixture.Common, known: Int, losses: View<Float>? = nil,
    allLogits: Matrix? = nil, likeliest: View<Int32>? = nil, pass: Pass
  ) {
    let (engine, scratch) = (pass.engine, pass.engine.scratch)
    let weights = pass.pack(Matrix(pass.parameters, weight), transposed: true)
    for block in Tiling.ranges(rows, by: Tiling.blockRows) {
      scratch.frame {
        let all = scratch.matrix(block.count, bias.count)
        let evidence = ngrams.evidence(rows: block.count, from: scratch)
        let tiles = Tiling.ranges(block, by: pass.tileRows)
        engine.pool.run(tiles.count) { tile, scratch in
          let place = tiles[tile].lowerBound - block.lowerBound
          let network = logits(
            tiles[tile], streams, weights: weights, pass: pass, scratch: scratch
          ).logits
          all.rows(place..<place + tiles[tile].count).copy(from: network)
          ngrams.gather(tiles[tile], into: evidence, first: place, common: common)
          scratch.lap(.loss)
        }
        // A task, so that it is left out where those before it were.
        engine.pool.run(1) { _, scratch in
          ngrams.mix(
            all, rows: block, evidence: evidence, first: 0, common: common, known: known,
            scratch: scratch, losses: losses?[block])
          allLogits?.rows(block).copy(from: all)
          if let likeliest { all.writeLargestColumns(into: likeliest[block]) }
          scratch.lap(.loss)
        }
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
        let normalized: Factor<Float> = engine.scratch.factor(
          block.rows.count, norm.width, .right)
        let outputGradients: Factor<Float> = engine.scratch.factor(
          block.rows.count, bias.count, .right)
        let evidence = ngrams?.evidence(rows: block.rows.count, from: engine.scratch)
        let network = engine.scratch.matrix(ngrams == nil ? 0 : block.rows.count, bias.count)
        block.eachTile { tile, scratch in
          let rows = tile.rows
          let (normed, gradient) = logits(
            rows, streams, weights: weights, pass: pass, scratch: scratch)
          normalized.rows(tile.place).copy(from: normed.normalized)
          if let ngrams, let common, let evidence {
            network.rows(tile.place).copy(from: gradient)
            ngrams.gather(rows, into: evidence, first: tile.place.lowerBound, common: common)
          }
          Kernels.crossEntropy(
            gradient, targets: window.targets[rows], gradientScale: scale,
            into: ngrams == nil ? rowLoss[rows] : scratch.floats(rows.count))
          outputGradients.rows(tile.place).copy(from: gradient)
          tile.add(outputGradients.rows(tile.place).right, to: bias)
          // What was normalized has served; the gradient of the norm's output takes its place.
          tileProduct(gradient.left, backWeights, into: normed.normalized.result)
          pass.dropRows(normed.normalized, rows, rate: dropout, .headDropout)
          let dx = scratch.matrix(rows.count, norm.width)
          dx.fill(0)
          norm.backward(normed.normalized, of: normed, into: dx, tile: tile, pass: pass)
          let width = norm.width / 2
          streamGradients[0].rows(rows).copy(from: dx.columns(0..<width))
          streamGradients[1].rows(rows).copy(from: dx.columns(width..<2 * width))
          scratch.lap(.loss)
        }
        if let ngrams, let common, let evidence {
          block.eachTileInOrder { tile, scratch in
            ngrams.mix(
              network.rows(tile.place), rows: tile.rows, evidence: evidence,
              first: tile.place.lowerBound, common: common, known: window.length,
              scratch: scratch, losses: rowLoss[tile.rows],
              gradient: MixtureGradient(
                escapes: tile.partial(ngrams.escapes), weights: tile.partial(ngrams.weights),
                scale: scale))
            scratch.lap(.loss)
          }
        }
        block.add([
          WeightGradient(
            outputGradient: outputGradients, input: normalized,
            sum: block.sums.matrix(weight))
        ])
      }
    }
  }
}
