// The attention half of a block, F = W_o Attention(LN(X2)), one group of heads at a time: scratch
// grows with the heads of a group, not with D. Each group adds its rounded share to the stream and
// takes the same share out again on the way back.
import Attention
import Compute

/// Attention sub-layer of one layer.
///
/// D width, g heads per group, K features per head; products with weights are of `Element`.
struct AttentionSublayer<Attention: AttentionLayer, Element: ProductElement>: ReversibleSublayer {
  let group: Int
  let norm: LayerNorm
  let projections: [Slot]
  /// The kind's own parameters.
  let own: [Slot]
  let outWeight: Slot
  let attention: Attention
  let config: ReformerConfig
  let layer: Int

  init(
    _ attention: Attention, _ config: ReformerConfig, layout: inout ParameterLayout, layer: Int
  ) {
    let name = ReformerConfig.layerName(layer) + "attention."
    let features = config.heads * config.headWidth
    let inside = name + "self_attention."
    group = layout.addGroup("layers.\(layer).attention")
    norm = LayerNorm(
      name + "layer_norm", width: config.width, layout: &layout, epsilon: config.layerNormEpsilon)
    var (projections, own) = ([Slot](), [Slot]())
    for projection in attention.projections {
      // Text is predicted from the last few bytes first of all; keys that start otherwise take thousands of
      // steps to find them.
      let first =
        projection == "key" && !config.axialShape.isEmpty
        ? FirstValues.turned(
          queries: inside + "query.weight", headWidth: config.headWidth,
          features: config.axialWidths[config.axialWidths.count - 1],
          rows: config.axialShape[config.axialShape.count - 1])
        : config.reading(inputs: config.width)
      projections.append(
        layout.add(
          inside + "\(projection).weight", [features, config.width], .matrix, first))
    }
    for tensor in attention.parameters(heads: config.heads, headWidth: config.headWidth) {
      own.append(
        layout.add(inside + tensor.name, tensor.shape, tensor.kind, tensor.first))
    }
    (self.projections, self.own) = (projections, own)
    outWeight = layout.add(
      name + "output.dense.weight", [config.width, features], .matrix,
      config.writing(inputs: features))
    self.attention = attention
    self.config = config
    self.layer = layer
  }

  /// First heads of the groups.
  private var groups: [Int] {
    Array(stride(from: 0, to: config.heads, by: config.headsPerGroup))
  }

  /// Features of a group, columns of the projections.
  private func features(_ firstHead: Int) -> Range<Int> {
    firstHead * config.headWidth..<(firstHead + config.headsPerGroup) * config.headWidth
  }

  private func attentionPass(
    _ firstHead: Int, _ pass: Pass, address: RandomAddress? = nil
  ) -> AttentionPass {
    AttentionPass(
      address: address ?? pass.address, layer: layer, firstHead: firstHead,
      dropout: pass.isTraining ? config.attentionDropout : 0,
      givenRotations: pass.givenRotations[layer],
      parameters: own.map { pass.parameters[$0.range] }, rotary: pass.rotary,
      precision: config.precision, hashTally: pass.hashTally, engine: pass.engine)
  }

  /// What a group of heads computes on the way forward and needs on the way back.
  private struct Activations {
    let group: HeadGroup
    let saved: Attention.Saved
  }

  private func activations(length: Int, from arena: ScratchArena) -> Activations {
    let heads = config.headsPerGroup
    let matrices = (0...projections.count).map { _ in
      arena.matrix(length, heads * config.headWidth)
    }
    return Activations(
      group: HeadGroup(
        heads: heads, projected: Array(matrices.dropLast()), output: matrices[projections.count]),
      saved: attention.save(length: length, heads: heads, from: arena))
  }

  var keptParts: Int { groups.count }

  func forward(
    source: ResidualStream, target: ResidualStream, pass: Pass
  ) throws(ReformerError) {
    for (index, firstHead) in groups.enumerated() {
      let memory = pass.memory(group: group, part: index)
      try memory.frame { () throws(ReformerError) in
        try run(
          activations(length: pass.length, from: memory), firstHead: firstHead, source: source,
          target: target, .forward, pass: pass)
      }
    }
  }

  /// Projections, attention and the group's share of the output.
  private func run(
    _ activations: Activations, firstHead: Int, source: ResidualStream,
    target: ResidualStream, _ direction: Direction, pass: Pass
  ) throws(ReformerError) {
    let group = activations.group
    let features = features(firstHead)
    let engine = pass.engine
    engine.scratch.frame {
      let weights = projections.map {
        pass.pack(
          Matrix(pass.parameters, $0).rows(features), transposed: true, as: Element.self)
      }
      pass.eachTile { rows, scratch in
        let normed = norm.forward(rows, of: source, pass: pass, scratch: scratch)
        pass.multiply(
          Element.left(normed.normalized, from: scratch),
          zip(weights, group.projected).map { ColumnProduct($0, into: $1.rows(rows).result) })
        scratch.lap(.projections)
      }
    }
    attend(activations, firstHead: firstHead, pass: pass)
    let check = RangeCheck()
    engine.scratch.frame {
      let weight = pass.pack(
        Matrix(pass.parameters, outWeight).columns(features), transposed: true, as: Element.self)
      pass.eachTile { rows, scratch in
        let out = scratch.matrix(rows.count, norm.width)
        pass.multiply(
          Element.left(group.output.rows(rows), from: scratch),
          [ColumnProduct(weight, into: out.result)])
        scratch.lap(.projections)
        pass.dropRows(out, rows, rate: config.dropout, .attentionOutputDropout, layer: layer)
        target.apply(out, to: rows, direction, check: check)
        scratch.lap(.streams)
      }
    }
    try check.pass(
      "layer \(layer), attention\(direction == .forward ? "" : " recomputed")",
      fractionBits: target.fractionBits)
  }

  /// The group's output: of a sequence, of its start with what later rows need, or of a row of each of several.
  private func attend(_ activations: Activations, firstHead: Int, pass: Pass) {
    let group = activations.group
    func pasts(_ sequence: SequencePast) -> [any HeadPast] {
      sequence.heads(layer: layer, firstHead: firstHead) { arena in
        let own = attentionPass(firstHead, pass, address: sequence.address)
        return (0..<group.heads).map {
          attention.past(
            head: $0, length: sequence.window.length, headWidth: config.headWidth, pass: own,
            from: arena)
        }
      }
    }
    func row(_ row: Int, head: Int, at position: Int) -> HeadRow {
      HeadRow(group, head: head, row: row, position: position, rotary: pass.rotary)
    }
    if case .step(let sequences, let position) = pass.continuation {
      let heads = sequences.map(pasts)
      return pass.engine.pool.run(sequences.count * group.heads) { task, scratch in
        let (index, head) = task.quotientAndRemainder(dividingBy: group.heads)
        let own = row(index, head: head, at: position)
        heads[index][head].enter(own, scratch: scratch)
        heads[index][head].attend(own, scratch: scratch)
      }
    }
    if case .start(let sequence) = pass.continuation {
      // Before the pass turns the rows.
      let heads = pasts(sequence)
      pass.engine.pool.run(group.heads) { head, scratch in
        for index in 0..<group.length {
          scratch.frame { heads[head].enter(row(index, head: head, at: index), scratch: scratch) }
        }
      }
    }
    attention.forward(group, saved: activations.saved, pass: attentionPass(firstHead, pass))
  }

  func backward(
    source: ResidualStream, target: ResidualStream, sourceGradient: Matrix,
    targetGradient: Matrix, gradients: View<Float>, pass: Pass
  ) throws(ReformerError) {
    pass.begin(norm.slots + projections + [outWeight], gradients: gradients)
    // The kind adds to all of its own, matrices included, which `begin` leaves to the first block of rows.
    for slot in own { gradients[slot.range].fill(0) }
    for (index, firstHead) in groups.enumerated() {
      let memory = pass.memory(group: group, part: index)
      try memory.frame { () throws(ReformerError) in
        let activations = activations(length: pass.length, from: memory)
        if pass.kept == nil {
          try run(
            activations, firstHead: firstHead, source: source, target: target, .backward,
            pass: pass)
        }
        let arena = pass.engine.scratch
        arena.frame {
          let width = activations.group.output.columns
          let projectedGradients = projections.map { _ in arena.matrix(pass.length, width) }
          arena.frame {
            let outputGradient = arena.matrix(pass.length, width)
            outputBackward(
              activations.group, firstHead: firstHead, targetGradient: targetGradient,
              outputGradient: outputGradient, gradients: gradients, pass: pass)
            attention.backward(
              activations.group, saved: activations.saved, outputGradient: outputGradient,
              gradients: projectedGradients, ownGradients: own.map { gradients[$0.range] },
              pass: attentionPass(firstHead, pass))
          }
          projectionBackward(
            projectedGradients, firstHead: firstHead, source: source,
            sourceGradient: sourceGradient, gradients: gradients, pass: pass)
        }
      }
    }
  }

  /// Gradients of the output matrix and of the group's output.
  private func outputBackward(
    _ group: HeadGroup, firstHead: Int, targetGradient: Matrix,
    outputGradient: Matrix, gradients: View<Float>, pass: Pass
  ) {
    let features = features(firstHead)
    let engine = pass.engine
    engine.scratch.frame {
      // dO = dF W_o.
      let weight = engine.pack(
        Matrix(pass.parameters, outWeight).columns(features), transposed: false, as: Element.self)
      pass.eachBlock(of: [outWeight], gradients: gradients) { block in
        let incoming = engine.scratch.factor(
          block.rows.count, norm.width, .both, of: Element.self)
        let output = engine.scratch.factor(
          block.rows.count, features.count, .right, of: Element.self)
        block.eachTile { tile, scratch in
          let rows = tile.rows
          incoming.rows(tile.place).fill(scratch) { incoming in
            incoming.copy(from: targetGradient.rows(rows))
            pass.dropRows(
              incoming, rows, rate: config.dropout, .attentionOutputDropout, layer: layer)
          }
          output.rows(tile.place).copy(from: group.output.rows(rows))
          scratch.lap(.layout)
          tileProduct(
            incoming.rows(tile.place).left, weight, into: outputGradient.rows(rows).result)
          scratch.lap(.projections)
        }
        block.add([
          WeightGradient(
            outputGradient: incoming, input: output,
            sum: block.sums.matrix(outWeight).columns(features))
        ])
      }
    }
  }

  /// Gradients of the projections and, through the norm, of the source stream.
  private func projectionBackward(
    _ projectedGradients: [Matrix], firstHead: Int, source: ResidualStream,
    sourceGradient: Matrix, gradients: View<Float>, pass: Pass
  ) {
    let features = features(firstHead)
    let engine = pass.engine
    engine.scratch.frame {
      // dLN = dP W.
      let weights = projections.map {
        engine.pack(
          Matrix(pass.parameters, $0).rows(features), transposed: false, as: Element.self)
      }
      pass.eachBlock(of: norm.slots + projections, gradients: gradients) { block in
        let normalized = engine.scratch.factor(
          block.rows.count, norm.width, .right, of: Element.self)
        let incoming = projections.map { _ in
          engine.scratch.factor(block.rows.count, features.count, .both, of: Element.self)
        }
        block.eachTile { tile, scratch in
          let rows = tile.rows
          let normed = norm.forward(rows, of: source, pass: pass, scratch: scratch)
          let out = normed.normalized
          normalized.rows(tile.place).copy(from: out)
          // `out` has served; the gradient of the norm's output takes its place.
          for (number, weight) in weights.enumerated() {
            let gradient = incoming[number].rows(tile.place)
            gradient.copy(from: projectedGradients[number].rows(rows))
            scratch.lap(.layout)
            tileProduct(gradient.left, weight, into: out.result, accumulate: number > 0)
            scratch.lap(.projections)
          }
          norm.backward(out, of: normed, into: sourceGradient.rows(rows), tile: tile, pass: pass)
          scratch.lap(.norm)
        }
        block.add(
          zip(projections, incoming).map { slot, gradient in
            WeightGradient(
              outputGradient: gradient, input: normalized,
              sum: block.sums.matrix(slot).rows(features))
          })
      }
    }
  }
}
