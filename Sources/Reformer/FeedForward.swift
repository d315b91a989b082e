// The feed-forward half of a block, G = W2 f(W1 LN(Y1) + b1) + b2, tile by tile: positions are
// independent, so [L, F] never exists. Weight gradients are added up block by block.
import Compute

/// Feed-forward sub-layer of one block.
///
/// D width, F hidden width.
struct FeedForward: ReversibleSublayer {
  let group: Int
  let norm: LayerNorm
  let inWeight: Slot
  let inBias: Slot
  let outWeight: Slot
  let outBias: Slot
  let activation: Activation
  let dropout: Double
  let layer: Int

  init(_ config: ReformerConfig, layout: inout ParameterLayout, layer: Int) {
    let name = ReformerConfig.layerName(layer) + "feed_forward."
    let (width, hidden) = (config.width, config.feedForwardWidth)
    group = layout.add(
      "layers.\(layer).feed_forward",
      LayerNorm.parameters(name + "layer_norm", width: width) + [
        ParameterSpecification(
          name + "dense.dense.weight", [hidden, width], .matrix, config.reading(inputs: width)),
        ParameterSpecification(name + "dense.dense.bias", [hidden], .vector, .constant(0)),
        ParameterSpecification(
          name + "output.dense.weight", [width, hidden], .matrix, config.writing(inputs: hidden)),
        ParameterSpecification(name + "output.dense.bias", [width], .vector, .constant(0)),
      ])
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
    let normalized: Packed<Float>
    /// `[rows, F]`: input of the activation, after dropout; nil for relu, whose output tells enough.
    let hidden: Packed<Float>?
    /// `[rows, F]`: output of the activation.
    let activated: Packed<Float>

    func rows(_ range: Range<Int>) -> Activations {
      Activations(
        normalized: normalized.rows(range), hidden: hidden?.rows(range),
        activated: activated.rows(range))
    }
  }

  /// Lends the activations of `rows` rows.
  func activations(rows: Int, from arena: ScratchArena) -> Activations {
    Activations(
      normalized: arena.strips(rows, norm.width),
      hidden: activation == .relu ? nil : arena.strips(rows, inBias.count),
      activated: arena.strips(rows, inBias.count))
  }

  /// Both weights as the right sides of products.
  private struct Weights {
    let into: Packed<Float>
    let out: Packed<Float>
  }

  private func pack(_ pass: Pass, transposed: Bool) -> Weights {
    Weights(
      into: pass.engine.pack(Matrix(pass.parameters, inWeight), transposed: transposed),
      out: pass.engine.pack(Matrix(pass.parameters, outWeight), transposed: transposed))
  }

  func keptFloats(length: Int) -> [Int] {
    let hidden = Packed<Float>.count(length, inBias.count)
    return [Packed<Float>.count(length, norm.width) + (activation == .relu ? 1 : 2) * hidden]
  }

  /// The activations of the whole sequence, if they are kept.
  private func kept(_ pass: Pass) -> Activations? {
    guard pass.kept != nil else { return nil }
    let memory = pass.memory(group: group)
    return memory.frame { activations(rows: pass.length, from: memory) }
  }

  func forward(
    source: ResidualStream, target: ResidualStream, pass: Pass
  ) throws(ReformerError) {
    let check = RangeCheck()
    pass.engine.scratch.frame {
      let kept = kept(pass)
      let weights = pack(pass, transposed: true)
      pass.eachTile { rows, scratch in
        let own = kept?.rows(rows) ?? activations(rows: rows.count, from: scratch)
        let x = scratch.matrix(rows.count, norm.width)
        source.read(rows, into: x)
        normalize(x, own, statistics: scratch.matrix(2, rows.count), pass, scratch)
        apply(
          own, weights, rows: rows, target: target, .forward, pass: pass, check: check,
          scratch: scratch)
      }
    }
    try check.pass("layer \(layer), feed-forward", fractionBits: source.fractionBits)
  }

  private func normalize(
    _ x: Matrix, _ own: Activations, statistics: Matrix, _ pass: Pass, _ scratch: ScratchArena
  ) {
    scratch.frame {
      let normalized = scratch.matrix(x.rows, x.columns)
      norm.forward(x, into: normalized, statistics: statistics, parameters: pass.parameters)
      scratch.lap(.norm)
      own.normalized.copy(from: normalized)
      scratch.lap(.layout)
    }
  }

  /// From the normalized rows to the change of the target stream.
  private func apply(
    _ own: Activations, _ weights: Weights, rows: Range<Int>, target: ResidualStream,
    _ direction: Direction, pass: Pass, check: RangeCheck, scratch: ScratchArena
  ) {
    let (bias, drops) = (pass.parameters[inBias.range], pass.drops(dropout))
    // Hugging Face's order: dense, dropout, activation, dense, dropout.
    let input = own.hidden ?? own.activated
    tileProduct(
      own.normalized.left, weights.into, into: input.result, bias: bias,
      relu: activation == .relu && !drops)
    pass.dropRows(input, rows, rate: dropout, .hiddenDropout, layer: layer)
    for (from, to) in zip(input.runs, own.activated.runs) {
      switch activation {
      case .relu: if drops { Kernels.relu(from, into: to) }
      case .gelu: Kernels.gelu(from, into: to)
      }
    }
    let out = scratch.matrix(rows.count, norm.width)
    tileProduct(
      own.activated.left, weights.out, into: out.result,
      bias: pass.parameters[outBias.range])
    scratch.lap(.feedForward)
    pass.dropRows(out, rows, rate: dropout, .feedForwardOutputDropout, layer: layer)
    target.apply(out, to: rows, direction, check: check)
    scratch.lap(.streams)
  }

  func backward(
    source: ResidualStream, target: ResidualStream, sourceGradient: Matrix,
    targetGradient: Matrix, gradients: View<Float>, pass: Pass
  ) throws(ReformerError) {
    let kept = kept(pass)
    let check = RangeCheck()
    pass.engine.scratch.frame {
      let weights = pack(pass, transposed: true)
      let backWeights = pack(pass, transposed: false)
      let slots = norm.slots + [inWeight, inBias, outWeight, outBias]
      pass.eachBlock(of: slots, gradients: gradients) { block in
        let arena = pass.engine.scratch
        let count = block.rows.count
        let activations = kept?.rows(block.rows) ?? activations(rows: count, from: arena)
        let outGradient = arena.strips(count, norm.width)
        let hiddenGradient = arena.strips(count, inBias.count)
        block.eachTile { tile, scratch in
          let rows = tile.rows
          let own = activations.rows(tile.place)
          let x = scratch.matrix(rows.count, norm.width)
          let statistics = scratch.matrix(2, rows.count)
          source.read(rows, into: x)
          normalize(x, own, statistics: statistics, pass, scratch)
          if kept == nil {
            apply(
              own, weights, rows: rows, target: target, .backward, pass: pass, check: check,
              scratch: scratch)
          }
          let incoming = outGradient.rows(tile.place)
          incoming.copy(from: targetGradient.rows(rows))
          pass.dropRows(
            incoming, rows, rate: dropout, .feedForwardOutputDropout, layer: layer)
          scratch.lap(.layout)
          let normGradient = scratch.matrix(rows.count, norm.width)
          let hidden = hiddenGradient.rows(tile.place)
          gradient(
            own, backWeights, rows: rows, outGradient: incoming, hiddenGradient: hidden,
            normGradient: normGradient, pass: pass)
          scratch.lap(.feedForward)
          tile.add(hidden, to: inBias)
          tile.add(incoming, to: outBias)
          scratch.lap(.weightGradients)
          norm.backward(
            normGradient, x: x, statistics: statistics, into: sourceGradient.rows(rows),
            tile: tile, parameters: pass.parameters)
          scratch.lap(.norm)
        }
        block.add([
          WeightGradient(
            outputGradient: hiddenGradient, input: activations.normalized,
            sum: block.sums.matrix(inWeight)),
          WeightGradient(
            outputGradient: outGradient, input: activations.activated,
            sum: block.sums.matrix(outWeight)),
        ])
      }
    }
    try check.pass(
      "layer \(layer), feed-forward recomputed", fractionBits: source.fractionBits)
  }

  /// Gradients of the hidden features and of the norm's output from that of the sub-layer's output.
  private func gradient(
    _ own: Activations, _ weights: Weights, rows: Range<Int>, outGradient: Packed<Float>,
    hiddenGradient: Packed<Float>, normGradient: Matrix, pass: Pass
  ) {
    tileProduct(
      outGradient.left, weights.out, into: hiddenGradient.result,
      gate: activation == .relu ? own.activated : nil)
    if let hidden = own.hidden {
      for (gradient, x) in zip(hiddenGradient.runs, hidden.runs) {
        Kernels.geluBackward(gradient, x: x)
      }
    }
    pass.dropRows(hiddenGradient, rows, rate: dropout, .hiddenDropout, layer: layer)
    tileProduct(hiddenGradient.left, weights.into, into: normGradient.result)
  }
}
