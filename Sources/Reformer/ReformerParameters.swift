// Names, shapes and first values of all parameters. Names and shapes are those of Hugging Face's state dict
// (research/reformer-landscape.md, section 2.2), so a checkpoint needs no renaming.
import Attention
import Compute
import Glibc

/// Names of the parameters.
enum ParameterName {
  static let words = "reformer.embeddings.word_embeddings.weight"
  static let axialPrefix = "reformer.embeddings.position_embeddings.weights."
  static func axial(_ axis: Int) -> String { axialPrefix + "\(axis)" }
  static func layer(_ index: Int) -> String { "reformer.encoder.layers.\(index)." }
  static let finalNorm = "reformer.encoder.layer_norm"
  static let logits = "lm_head.decoder.weight"
  static let logitBias = "lm_head.bias"
}

extension ReformerConfig {
  /// The attention layer of each block.
  public var attentionLayers: [any AttentionLayer] {
    layers.map { $0.layer(lsh: lsh, local: local, fullSharesQueryKey: fullSharedQueryKey) }
  }

  /// Where every parameter lies: one group for the embeddings, two per block, one for the head.
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
        (layer + "attention.output.dense.weight", [width, headsWidth])
      ]
      groups.append(("layers.\(index).attention", tensors))
      tensors = [
        (layer + "feed_forward.layer_norm.weight", [width]),
        (layer + "feed_forward.layer_norm.bias", [width]),
        (layer + "feed_forward.dense.dense.weight", [feedForwardWidth, width]),
        (layer + "feed_forward.dense.dense.bias", [feedForwardWidth]),
        (layer + "feed_forward.output.dense.weight", [width, feedForwardWidth]),
        (layer + "feed_forward.output.dense.bias", [width]),
      ]
      groups.append(("layers.\(index).feed_forward", tensors))
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
  /// (GPT-2, section 2.3). Gains are 1, biases 0, first logits near 0, axial
  /// tables are waves, and separate keys look a few positions back.
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
      if slot.name.hasPrefix(ParameterName.axialPrefix) {
        setWaves(values, positions: slot.count / (slot.shape.last ?? 1))
        continue
      }
      let inputs = Double(slot.shape.last ?? 1)
      var deviation = 1 / inputs.squareRoot()
      if slot.name.hasSuffix("output.dense.weight") {
        deviation /= Double(2 * layers.count).squareRoot()
      } else if slot.name == ParameterName.logits {
        deviation *= 0.1
      } else if slot.name == ParameterName.words {
        deviation = 0.5
      }
      if slot.name.hasSuffix("self_attention.key.weight") {
        // The query matrix is the tensor before.
        setLookBack(Matrix(parameters, slot), queries: Matrix(parameters, layout.slots[index - 1]))
        continue
      }
      address.stream(.initialisation, layer: index).normal(into: values)
      Kernels.scale(values, by: Float(deviation))
    }
  }

  /// Sines and cosines that make a whole number of turns over an axis (`[positions, features]`).
  ///
  /// Learned tables that start as noise take long to tell "one back" from "two back"; between waves that is a
  /// rotation, the same everywhere (Vaswani et al. 2017, section 3.5), also from the end of one row
  /// of the grid to the start of the next.
  private func setWaves(_ table: View<Float>, positions: Int) {
    let features = table.count / positions
    for position in 0..<positions {
      for feature in 0..<features {
        let angle =
          waveAngle(feature / 2, features: features, positions: positions)
          * Double(position)
        table[position * features + feature] =
          Float(2.0.squareRoot() * (feature % 2 == 0 ? sin(angle) : cos(angle)))
      }
    }
  }

  /// What one position turns the wave of a pair of features by: from one turn over the axis to half a turn per
  /// position, in equal ratios.
  private func waveAngle(_ pair: Int, features: Int, positions: Int) -> Double {
    let share = min(1, Double(pair) / Double(max(1, features / 2 - 1)))
    let turns = pow(max(1, Double(positions / 2)), share).rounded()
    return 2 * Double.pi * turns / Double(positions)
  }

  /// Keys as queries turned by some positions: head h starts by attending h + 1 positions back.
  ///
  /// Text is predicted from the last few bytes first of all; without this start thousands of steps
  /// pass before attention finds them.
  private func setLookBack(_ keys: Matrix, queries: Matrix) {
    keys.copy(from: queries)
    let features = axialWidths[axialWidths.count - 1]
    let positions = axialShape[axialShape.count - 1]
    let first = width - features
    for row in 0..<keys.rows {
      let (key, query) = (keys.row(row), queries.row(row))
      for pair in 0..<features / 2 {
        let angle =
          waveAngle(pair, features: features, positions: positions)
          * Double(row / headWidth + 1)
        let (sine, cosine) = (Float(sin(angle)), Float(cos(angle)))
        let (a, b) = (query[first + 2 * pair], query[first + 2 * pair + 1])
        key[first + 2 * pair] = a * cosine - b * sine
        key[first + 2 * pair + 1] = a * sine + b * cosine
      }
    }
  }
}
