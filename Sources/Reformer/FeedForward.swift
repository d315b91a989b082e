// The feed-forward half of a block, G = W2 f(W1 LN(Y1) + b1) + b2, tile by tile: positions are
// independent, so [L, F] never exists. Weight gradients are added up block by block.
import Compute

/// Feed-forward sub-layer of one block.
///
/// D width, F hidden width; products are of `Element`.
struct FeedForward<Element: ProductElement>: ReversibleSublayer {
  let group: Int
  let norm: SourceNorm
  let inWeight: Slot
  let inBias: Slot
  let outWeight: Slot
  let outBias: Slot
  let activation: Activation
  let dropout: Double
  let layer: Int

  init(_ config: ReformerConfig, layout: inout ParameterLayout, layer: Int) {
    let name = config.layerName(layer) + "feed_forward."
    let (width, hidden) = (config.width, config.feedForwardWidth)
    group = layout.addGroup("layers.\(layer).feed_forward")
    norm = SourceNorm(name, config, layout: &layout)
    func dense(_ part: String, _ shape: [Int], _ first: FirstValues) -> (Slot, Slot) {
      let name = name + part + ".dense."
      return (
        layout.add(name + "weight", shape, .matrix, first),
        layout.add(name + "bias", [shape[0]], .vector, .constant(0))
      )
    }
    (inWeight, inBias) = dense("dense", [hidden, width], config.reading(inputs: width))
    (outWeight, outBias) = dense(
      "output", [width, hidden], config.writing(inputs: hidden, layer: layer))
    activation = config.activation
    dropout = config.dropout
    self.layer = layer
  }

  /// Activations of a run of rows that the gradient needs.
  struct Activations {
    /// `[rows, D]`: LN(Y1).
    let normalized: Factor<Element>
    /// `[rows, F]`: input of the activation, after dropout; nil for relu, whose output tells enough, and without
    /// what is below 0 for relu2.
    let hidden: Packed<Float>?
    /// `[rows, F]`: output of the activation.
    let activated: Factor<Element>

    func rows(_ range: Range<Int>) -> Activations {
      Activations(
        normalized: normalized.rows(range), hidden: hidden?.rows(range),
        activated: activated.rows(range))
    }
  }

  /// Lends the activations of `rows` rows; as left sides alone they serve the way forward.
  func activations(rows: Int, as role: FactorRole, from arena: ScratchArena) -> Activations {
    Activations(
      normalized: arena.factor(rows, norm.width, role),
      hidden: activation == .relu ? nil : arena.strips(rows, inBias.count),
      activated: arena.factor(rows, inBias.count, role))
  }

  /// Both weights as the right sides of products.
  private typealias Weights = (into: Packed<Element>, out: Packed<Element>)

  private func pack(_ pass: Pass, transposed: Bool) -> Weights {
    (
      pass.pack(Matrix(pass.parameters, inWeight), transposed: transposed, as: Element.self),
      pass.pack(Matrix(pass.parameters, outWeight), transposed: transposed, as: Element.self)
    )
  }

  var keptParts: Int { 1 }

  /// The activations of the whole sequence, if they are kept.
  private func kept(_ pass: Pass) -> Activations? {
    guard pass.kept != nil else { return nil }
    let memory = pass.memory(group: group)
    return memory.frame { activations(rows: pass.length, as: .both, from: memory) }
  }

  func forward(
    source: ResidualStream, target: ResidualStream, pass: Pass
  ) throws(ReformerError) {
    let check = RangeCheck()
    pass.engine.scratch.frame {
      let kept = kept(pass)
      let weights = pack(pass, transposed: true)
      pass.eachTile { rows, scratch in
        let own = kept?.rows(rows) ?? activations(rows: rows.count, as: .left, from: scratch)
        _ = normalize(rows, of: source, into: own, pass, scratch)
        apply(
          own, weights, rows: rows, target: target, .forward, pass: pass, check: check,
          scratch: scratch)
      }
    }
    norm.keep(source, pass: pass)
    try check.pass("layer \(layer), feed-forward", fractionBits: source.fractionBits)
  }

  private func normalize(
    _ rows: Range<Int>, of source: ResidualStream, into own: Activations, _ pass: Pass,
    _ scratch: ScratchArena
  ) -> LayerNorm.Rows {
    let result = norm.forward(rows, of: source, pass: pass, scratch: scratch)
    own.normalized.copy(from: result.normalized)
    scratch.lap(.layout)
    return result
  }

  /// From the normalized rows to the change of the target stream.
  private func apply(
    _ own: Activations, _ weights: Weights, rows: Range<Int>, target: ResidualStream,
    _ direction: Direction, pass: Pass, check: RangeCheck, scratch: ScratchArena
  ) {
    // Hugging Face's order: dense, dropout, activation, dense, dropout; max(x, 0) may as well come before dropout.
    func compute(_ hidden: Packed<Float>) {
      pass.multiply(
        own.normalized.left,
        [
          ColumnProduct(
            weights.into, into: hidden.result, bias: pass.parameters[inBias.range],
            relu: activation != .gelu)
        ])
      pass.dropRows(hidden, rows, rate: dropout, .hiddenDropout, layer: layer)
    }
    own.activated.fill(scratch) { activated in
      guard let hidden = own.hidden else { return compute(activated) }
      compute(hidden)
      for (from, to) in zip(hidden.runs, activated.runs) {
        if activation == .gelu {
          Kernels.gelu(from, into: to)
        } else {
          Kernels.square(from, into: to)
        }
      }
    }
    let out = scratch.matrix(rows.count, norm.width)
    pass.multiply(
      own.activated.left,
      [ColumnProduct(weights.out, into: out.result, bias: pass.parameters[outBias.range])])
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
      pass.begin(slots, gradients: gradients)
      pass.eachBlock(of: slots, gradients: gradients) { block in
        let arena = pass.engine.scratch
        let count = block.rows.count
        let activations =
          kept?.rows(block.rows) ?? activations(rows: count, as: .both, from: arena)
        let outGradient = arena.factor(count, norm.width, .both, of: Element.self)
        let hiddenGradient = arena.factor(count, inBias.count, .both, of: Element.self)
        block.eachTile { tile, scratch in
          let rows = tile.rows
          let own = activations.rows(tile.place)
          let normed = normalize(rows, of: source, into: own, pass, scratch)
          if kept == nil {
            apply(
              own, weights, rows: rows, target: target, .backward, pass: pass, check: check,
              scratch: scratch)
          }
          let incoming = outGradient.rows(tile.place)
          incoming.fill(scratch) { incoming in
            incoming.copy(from: targetGradient.rows(rows))
            pass.dropRows(
              incoming, rows, rate: dropout, .feedForwardOutputDropout, layer: layer)
            tile.add(incoming, to: outBias)
          }
          scratch.lap(.layout)
          let hidden = hiddenGradient.rows(tile.place)
          hidden.fill(scratch) { hidden in
            gradient(own, backWeights, tile: tile, of: incoming, into: hidden, pass: pass)
          }
          // What was normalized has served; the gradient of the norm's output takes its place.
          tileProduct(hidden.left, backWeights.into, into: normed.normalized.result)
          scratch.lap(.feedForward)
          norm.backward(
            normed.normalized, of: normed, into: sourceGradient, tile: tile, pass: pass,
            scratch: scratch)
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

  /// The gradient of the hidden features, from that of the sub-layer's output; and of their bias.
  private func gradient(
    _ own: Activations, _ weights: Weights, tile: RowTile, of outGradient: Factor<Element>,
    into hiddenGradient: Packed<Float>, pass: Pass
  ) {
    tileProduct(
      outGradient.left, weights.out, into: hiddenGradient.result,
      gate: activation == .relu ? own.activated.gate : nil)
    if let hidden = own.hidden {
      for (gradient, x) in zip(hiddenGradient.runs, hidden.runs) {
        if activation == .gelu {
          Kernels.geluBackward(gradient, x: x)
        } else {
          Kernels.squareBackward(gradient, x: x)
        }
      }
    }
    pass.dropRows(hiddenGradient, tile.rows, rate: dropout, .hiddenDropout, layer: layer)
    tile.add(hiddenGradient, to: inBias)
  }
}
