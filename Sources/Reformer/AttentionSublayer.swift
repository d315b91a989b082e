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
  let norm: SourceNorm
  /// Of rows that are not the window's: carried over, or the encoder's output.
  let otherNorm: LayerNorm
  let projections: [Slot]
  /// The kind's own parameters.
  let own: [Slot]
  let outWeight: Slot
  /// `[D, ratio * D]`: of the convolution that compresses rows, where there is one.
  let compression: Slot?
  let attention: Attention
  let config: ReformerConfig
  /// Address of its random numbers and of what it keeps: another for each half that attends, where a layer has two.
  let layer: Int
  /// The layer.
  private let number: Int

  init(
    _ attention: Attention, _ config: ReformerConfig, layout: inout ParameterLayout, layer: Int
  ) {
    let kind = attention.seesWindow ? "" : "source_"
    let name = config.layerName(layer) + kind + "attention."
    let features = config.heads * config.headWidth
    let inside = name + (attention.seesWindow ? "self_attention." : "")
    group = layout.addGroup("layers.\(layer).\(kind)attention")
    norm = SourceNorm(name, config, layout: &layout)
    otherNorm =
      attention.seesWindow
      ? norm.plain
      : LayerNorm(
        name + "source_layer_norm", width: config.width, layout: &layout,
        epsilon: config.layerNormEpsilon)
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
    let carried = attention.carried
    // At first a row is the mean of those that it stands for.
    compression =
      carried.compressed > 0
      ? layout.add(
        inside + "compression.weight", [config.width, carried.ratio * config.width], .matrix,
        .pooling(parts: carried.ratio)) : nil
    outWeight = layout.add(
      name + "output.dense.weight", [config.width, features], .matrix,
      config.writing(inputs: features, layer: layer))
    self.attention = attention
    self.config = config
    number = layer
    self.layer = attention.seesWindow ? layer : config.layers.count + layer
  }

  /// Parameters that rows go through before they meet, neighbours in the layout.
  var projecting: [Slot] {
    norm.slots + (attention.seesWindow ? [] : otherNorm.slots) + projections
  }

  /// Matrices like those of `projected`, as far as they are of the window's own rows.
  func ofWindow(_ matrices: [Matrix], _ group: HeadGroup) -> [Matrix] {
    attention.seesWindow ? group.ofWindow(matrices) : [matrices[0]]
  }

  /// A group whose rows have queries, where keys are of other rows.
  private func queries(of group: HeadGroup) -> HeadGroup {
    guard !attention.seesWindow else { return group }
    let queries = [Matrix](repeating: group.projected[0], count: projections.count)
    return HeadGroup(heads: group.heads, projected: queries, output: group.output)
  }

  /// A group whose rows have those keys, and values.
  private func keys(of group: HeadGroup) -> HeadGroup {
    guard !attention.seesWindow else { return group }
    let (keys, values) = (group.projected[1], group.projected[2])
    return HeadGroup(heads: group.heads, projected: [keys, keys, values], output: values)
  }

  /// First heads of the groups.
  var groups: [Int] {
    Array(stride(from: 0, to: config.heads, by: config.headsPerGroup))
  }

  /// Features of a group, columns of the projections.
  func features(_ firstHead: Int) -> Range<Int> {
    firstHead * config.headWidth..<(firstHead + config.headsPerGroup) * config.headWidth
  }

  func attentionPass(
    _ firstHead: Int, _ pass: Pass, address: RandomAddress? = nil
  ) -> AttentionPass {
    AttentionPass(
      address: address ?? pass.address, layer: layer, firstHead: firstHead,
      dropout: pass.isTraining ? config.attentionDropout : 0,
      givenRotations: pass.givenRotations[layer],
      parameters: own.map { pass.parameters[$0.range] }, rotary: pass.rotary,
      carried: carried(pass)?.rows ?? 0, firstKey: attention.seesWindow ? nil : 0,
      precision: config.precision, hashTally: pass.hashTally,
      engine: pass.engine)
  }

  /// What a group of heads computes on the way forward and needs on the way back.
  struct Activations {
    let group: HeadGroup
    let saved: Attention.Saved
  }

  /// Lends them, with room for the keys and values of rows that are not the window's.
  func activations(_ pass: Pass, from arena: ScratchArena) -> Activations {
    let (heads, length) = (config.headsPerGroup, pass.length)
    let keys = (carried(pass)?.rows ?? 0) + (attention.seesWindow ? length : 0)
    let matrices = (0...projections.count).map { index in
      arena.matrix(
        (1..<projections.count).contains(index) ? keys : length, heads * config.headWidth)
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
    keep(source, pass: pass)
    for (index, firstHead) in groups.enumerated() {
      let memory = pass.memory(group: group, part: index)
      try memory.frame { () throws(ReformerError) in
        try run(
          activations(pass, from: memory), firstHead: firstHead, source: source,
          target: target, .forward, pass: pass)
      }
    }
    norm.keep(source, pass: pass)
  }

  /// Weights of all projections of a group, laid out for products.
  func projectionWeights(_ firstHead: Int, pass: Pass) -> [Packed<Element>] {
    projections.map {
      pass.pack(
        Matrix(pass.parameters, $0).rows(features(firstHead)), transposed: true, as: Element.self)
    }
  }

  /// Products of normed rows with weights of projections, those of values last.
  ///
  /// Where positions are infused, `normalized` has them afterwards. `position`: of a row by its number.
  func project(
    _ normalized: Matrix, _ products: [ColumnProduct<Element>], pass: Pass, scratch: ScratchArena,
    position: (Int) -> Int
  ) {
    var products = products
    if let infused = pass.infused {
      // Values first: they read what has no positions yet.
      let values = [products.removeLast()]
      scratch.frame { pass.multiply(Element.left(normalized, from: scratch), values) }
      scratch.lap(.projections)
      infused.add(to: normalized, scratch: scratch, position: position)
    }
    pass.multiply(Element.left(normalized, from: scratch), products)
    scratch.lap(.projections)
  }

  /// Projections, attention and the group's share of the output.
  func run(
    _ activations: Activations, firstHead: Int, source: ResidualStream,
    target: ResidualStream, _ direction: Direction, pass: Pass
  ) throws(ReformerError) {
    let group = activations.group
    let features = features(firstHead)
    let engine = pass.engine
    engine.scratch.frame {
      let weights = projectionWeights(firstHead, pass: pass)
      let ofWindow = ofWindow(group.projected, group)
      pass.eachTile { rows, scratch in
        let normed = norm.forward(rows, of: source, pass: pass, scratch: scratch)
        project(
          normed.normalized,
          zip(weights, ofWindow).map { ColumnProduct($0, into: $1.rows(rows).result) },
          pass: pass, scratch: scratch
        ) { pass.position(rows.lowerBound + $0) }
      }
      if let carried = carried(pass) {
        project(carried, into: group.projected, weights, pass: pass)
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
      "layer \(number), attention\(attention.seesWindow ? "" : " to the source")"
        + (direction == .forward ? "" : " recomputed"),
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
    // Rows of a source bring keys and values, those of the window meet them; of the window's own each does both.
    let (asking, entering) = (queries(of: group), keys(of: group))
    func row(_ row: Int, of group: HeadGroup, head: Int, at position: Int) -> HeadRow {
      HeadRow(group, head: head, row: row, position: position, rotary: pass.rotary)
    }
    if case .step(let sequences, let position) = pass.continuation {
      let heads = sequences.flatMap(pasts)
      return pass.engine.pool.run(heads.count) { task, scratch in
        let (index, head) = task.quotientAndRemainder(dividingBy: group.heads)
        let own = row(index, of: asking, head: head, at: position)
        let past = heads[task]
        if attention.seesWindow { past.enter(own, scratch: scratch) }
        past.attend(own, scratch: scratch)
      }
    }
    if case .start(let sequence) = pass.continuation {
      // Before the pass turns the rows.
      let heads = pasts(sequence)
      pass.engine.pool.run(group.heads) { head, scratch in
        for index in 0..<entering.length {
          let own = row(index, of: entering, head: head, at: index)
          scratch.frame { heads[head].enter(own, scratch: scratch) }
        }
      }
    }
    attention.forward(group, saved: activations.saved, pass: attentionPass(firstHead, pass))
  }
}
