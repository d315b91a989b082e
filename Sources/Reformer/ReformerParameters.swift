// Names, shapes and first values of all parameters. Names and shapes are those of Hugging Face's state dict
// (research/reformer-landscape.md, section 2.2), so a checkpoint needs no renaming.
import Attention
import Compute

/// Names of the parameters.
enum ParameterName {
  static let words = "reformer.embeddings.word_embeddings.weight"
  static func axial(_ axis: Int) -> String {
    "reformer.embeddings.position_embeddings.weights.\(axis)"
  }
  static func layer(_ index: Int) -> String { "reformer.encoder.layers.\(index)." }
  static let finalNorm = "reformer.encoder.layer_norm"
  static let logits = "lm_head.decoder.weight"
  static let logitBias = "lm_head.bias"
}

extension ReformerConfig {
  /// The attention layer of each block.
  var attentionLayers: [any AttentionLayer] {
    layers.map { $0.layer(lsh: lsh, local: local, fullSharesQueryKey: fullSharedQueryKey) }
  }

  /// Where every parameter lies: one group for the embeddings, one per block, one for the head.
  public var parameterLayout: ParameterLayout {
    var groups: [(name: String, tensors: [(name: String, shape: [Int])])] = []
    var embeddings = [(name: ParameterName.words, shape: [vocabulary, width])]
    for axis in axialShape.indices {
      var shape = [Int](repeating: 1, count: axialShape.count)
      shape[axis] = axialShape[axis]
      embeddings.append((ParameterName.axial(axis), shape + [axialWidths[axis]]))
    }
    groups.append(("embeddings", embeddings))
    let headsWidth = heads * headWidth
    for (index, attention) in attentionLayers.enumerated() {
      let layer = ParameterName.layer(index)
      var tensors: [(name: String, shape: [Int])] = [
        (layer + "attention.layer_norm.weight", [width]),
        (layer + "attention.layer_norm.bias", [width]),
      ]
      for projection in attention.projections {
        tensors.append(
          (layer + "attention.self_attention.\(projection).weight", [headsWidth, width]))
      }
      tensors += [
        (layer + "attention.output.dense.weight", [width, headsWidth]),
        (layer + "feed_forward.layer_norm.weight", [width]),
        (layer + "feed_forward.layer_norm.bias", [width]),
        (layer + "feed_forward.dense.dense.weight", [feedForwardWidth, width]),
        (layer + "feed_forward.dense.dense.bias", [feedForwardWidth]),
        (layer + "feed_forward.output.dense.weight", [width, feedForwardWidth]),
        (layer + "feed_forward.output.dense.bias", [width]),
      ]
      groups.append(("layers.\(index)", tensors))
    }
    groups.append(
      (
        "head",
        [
          (ParameterName.finalNorm + ".weight", [2 * width]),
          (ParameterName.finalNorm + ".bias", [2 * width]),
          (ParameterName.logits, [vocabulary, 2 * width]),
          (ParameterName.logitBias, [vocabulary]),
        ]
      ))
    return ParameterLayout(groups: groups)
  }

  /// Fills `parameters` with first values; a function of the seed alone.
  ///
  /// Projections are normal with variance 1 / inputs, those that write into a stream smaller by the
  /// square root of the number of writers, so that the streams neither grow nor drown with depth
  /// (GPT-2, section 2.3). Gains are 1, biases 0, and first logits are near 0.
  public func initialise(_ parameters: View<Float>, layout: ParameterLayout, seed: UInt64) {
    parameters.fill(0)
    let address = RandomAddress(seed: seed, step: 0, sample: 0)
    for (index, slot) in layout.slots.enumerated() {
      let values = parameters[slot.range]
      if slot.name.hasSuffix("norm.weight") {
        values.fill(1)
        continue
      }
      if slot.name.hasSuffix("bias") { continue }
      let inputs = Double(slot.shape.last ?? 1)
      var deviation = 1 / inputs.squareRoot()
      if slot.name.hasSuffix("output.dense.weight") {
        deviation /= Double(2 * layers.count).squareRoot()
      } else if slot.name == ParameterName.logits {
        deviation *= 0.1
      } else if slot.name == ParameterName.words {
        deviation = 0.5
      } else if slot.name.hasPrefix(ParameterName.axial(0).dropLast()) {
        deviation = 0.1
      }
      address.stream(.initialisation, layer: index).normal(into: values)
      Kernels.scale(values, by: Float(deviation))
    }
  }
}
