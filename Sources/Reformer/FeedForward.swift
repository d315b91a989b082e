// The feed-forward half of a block, G = W2 f(W1 LN(Y1) + b1) + b2, tile by tile: positions are
// independent, so [L, F] never exists. Weight gradients are added up block by block, panel by
// panel.
import Compute

/// Feed-forward sub-layer of one block.
///
/// D width, F hidden width.
struct FeedForward {
  let norm: LayerNorm
  let inWeight: Slot
  let inBias: Slot
  let outWeight: Slot
  let outBias: Slot
  let activation: Activation
  let dropout: Double
  let layer: Int

  init(_ config: ReformerConfig, layout: ParameterLayout, layer: Int) {
    let name = ParameterName.layer(layer) + "feed_forward."
    norm = LayerNorm(name + "layer_norm", layout: layout, epsilon: config.layerNormEpsilon)
    inWeight = layout[name + "dense.dense.weight"]
    inBias = layout[name + "dense.dense.bias"]
    outWeight = layout[name + "output.dense.weight"]
    outBias = layout[name + "output.dense.bias"]
    activation = config.activation
    dropout = config.dropout
    self.layer = layer
  }

  /// Activations of a run of rows that the gradient needs.
  struct Activations {
    /// `[rows, D]`: LN(Y1).
    let normalized: Matrix
    /// `[rows, F]`: input of the activation, after dropout.
    let hidden: Matrix
    /// `[rows, F]`: output of the activation.
    let activated: Matrix

    init(rows: Int, width: Int, hiddenWidth: Int, from arena: ScratchArena) {
      normalized = arena.matrix(rows, width)
      hidden = arena.matrix(rows, hiddenWidth)
      activated = arena.matrix(rows, hiddenWidth)
    }

    private init(normalized: Matrix, hidden: Matrix, activated: Matrix) {
      self.normalized = normalized
      self.hidden = hidden
      self.activated = activated
    }

    func rows(_ range: Range<Int>) -> Activations {
      Activations(
        normalized: normalized.rows(range), hidden: hidden.rows(range),
        activated: activated.rows(range))
    }
  }

  /// target += G(source) over the whole sequence.
  ///
  /// `kept`: where to leave the activations, if anywhere.
  func forward(
    source: ResidualStream, target: ResidualStream, pass: Pass, kept: Activations?
  ) throws(ReformerError) {
    let tiles = Tiling.ranges(pass.length, by: Tiling.tileRows)
    let check = RangeCheck()
    pass.engine.phases.time(.feedForward) {
      pass.engine.pool.run(tiles.count) { index, scratch in
        let rows = tiles[index]
        let activations =
          kept?.rows(rows)
          ?? Activations(
            rows: rows.count, width: norm.width, hiddenWidth: inBias.count, from: scratch)
        let x = scratch.matrix(rows.count, norm.width)
        source.read(rows, into: x)
        forward(
          x, rows: rows, target: target, .forward, pass: pass, activations: activations,
          statistics: scratch.matrix(2, rows.count), check: check, scratch: scratch)
      }
    }
    try check.pass("layer \(layer), feed-forward", fractionBits: source.fractionBits)
  }

  private func forward(
    _ x: Matrix, rows: Range<Int>, target: ResidualStream, _ direction: Direction, pass: Pass,
    activations: Activations, statistics: Matrix, check: RangeCheck, scratch: ScratchArena
  ) {
    let parameters = pass.parameters
    norm.forward(
      x, into: activations.normalized, statistics: statistics, parameters: parameters)
    multiply(
      activations.normalized.plain, Matrix(parameters, inWeight).transposed,
      into: activations.hidden)
    Kernels.addBias(parameters[inBias.range], to: activations.hidden)
    // Hugging Face's order: dense, dropout, activation, dense, dropout.
    pass.dropRows(activations.hidden, rows, rate: dropout, .hiddenDropout, layer: layer)
    switch activation {
    case .relu: Kernels.relu(activations.hidden.dense, into: activations.activated.dense)
    case .gelu: Kernels.gelu(activations.hidden.dense, into: activations.activated.dense)
    }
    guard direction != .none else { return }
    let out = scratch.matrix(rows.count, norm.width)
    multiply(activations.activated.plain, Matrix(parameters, outWeight).transposed, into: out)
    Kernels.addBias(parameters[outBias.range], to: out)
    pass.dropRows(out, rows, rate: dropout, .feedForwardOutputDropout, layer: layer)
    target.apply(out, to: rows, direction, check: check)
  }

  /// target -= G(source), and the gradients of G: `targetGradient` flows in, `sourceGradient` is
  /// added to.
  ///
  /// With `kept` activations the streams are left alone and nothing is computed again.
  func backward(
    source: ResidualStream, target: ResidualStream, sourceGradient: Matrix,
    targetGradient: Matrix, gradients: View<Float>, pass: Pass, kept: Activations?
  ) throws(ReformerError) {
    let (width, hiddenWidth) = (norm.width, inBias.count)
    let check = RangeCheck()
    pass.engine.phases.time(.feedForwardBackward) {
      for block in Tiling.ranges(pass.length, by: Tiling.blockRows) {
        pass.engine.scratch.frame {
          let arena = pass.engine.scratch
          let tiles = Tiling.ranges(block.count, by: Tiling.tileRows)
          let activations =
            kept?.rows(block)
            ?? Activations(rows: block.count, width: width, hiddenWidth: hiddenWidth, from: arena)
          // Without dropout the gradient of the output is the stream's own.
          let outGradient =
            pass.drops(dropout)
            ? arena.matrix(block.count, width) : targetGradient.rows(block)
          let hiddenGradient = arena.matrix(block.count, hiddenWidth)
          let partials = arena.matrix(2 * tiles.count, width)
          pass.engine.pool.run(tiles.count) { index, scratch in
            let tile = tiles[index]
            let rows = block.lowerBound + tile.lowerBound..<block.lowerBound + tile.upperBound
            let own = activations.rows(tile)
            let x = scratch.matrix(tile.count, width)
            let statistics = scratch.matrix(2, tile.count)
            source.read(rows, into: x)
            if kept == nil {
              forward(
                x, rows: rows, target: target, .backward, pass: pass, activations: own,
                statistics: statistics, check: check, scratch: scratch)
            } else {
              norm.forward(
                x, into: own.normalized, statistics: statistics, parameters: pass.parameters)
            }
            if pass.drops(dropout) {
              outGradient.rows(tile).copy(from: targetGradient.rows(rows))
              pass.dropRows(
                outGradient.rows(tile), rows, rate: dropout, .feedForwardOutputDropout,
                layer: layer)
            }
            let gradient = hiddenGradient.rows(tile)
            multiply(
              outGradient.rows(tile).plain, Matrix(pass.parameters, outWeight).plain,
              into: gradient)
            switch activation {
            case .relu: Kernels.reluBackward(gradient.dense, x: own.hidden.dense)
            case .gelu: Kernels.geluBackward(gradient.dense, x: own.hidden.dense)
            }
            pass.dropRows(gradient, rows, rate: dropout, .hiddenDropout, layer: layer)
            let normGradient = scratch.matrix(tile.count, width)
            multiply(gradient.plain, Matrix(pass.parameters, inWeight).plain, into: normGradient)
            let partial = partials.rows(2 * index..<2 * index + 2)
            partial.fill(0)
            norm.backward(
              normGradient, x: x, statistics: statistics, into: sourceGradient.rows(rows),
              partial: partial, parameters: pass.parameters)
          }
          let panels = Tiling.ranges(hiddenWidth, by: Tiling.panelRows)
          pass.engine.pool.run(2 * panels.count + 1) { index, _ in
            if index == 2 * panels.count {
              norm.addPartials(partials, to: gradients)
              Kernels.addColumnSums(of: outGradient, to: gradients[outBias.range])
              return
            }
            let panel = panels[index / 2]
            if index % 2 == 0 {
              multiply(
                hiddenGradient.columns(panel).transposed, activations.normalized.plain,
                into: Matrix(gradients, inWeight).rows(panel), accumulate: true)
              Kernels.addColumnSums(
                of: hiddenGradient.columns(panel), to: gradients[inBias.range][panel])
            } else {
              multiply(
                outGradient.transposed, activations.activated.columns(panel).plain,
                into: Matrix(gradients, outWeight).columns(panel), accumulate: true)
            }
          }
        }
      }
    }
    try check.pass(
      "layer \(layer), feed-forward recomputed", fractionBits: source.fractionBits)
  }
}
