// What a model is made of, in the order of the way forward.
import Attention
import Compute

/// The parts of a model in the order of the way forward, each with its places in one layout.
struct ReformerParts {
  let layout: ParameterLayout
  let embedding: Embedding
  /// Of the source; without sub-layers in a model that reads none.
  let encoder: ReversibleStack
  let stack: ReversibleStack
  let head: LossHead

  /// Sizes that pass `ReformerConfig.check`.
  ///
  /// Attention that is left out keeps its place in the layout, so that parameters still fit.
  init(_ config: ReformerConfig, withoutAttention: Set<Int> = []) {
    var layout = ParameterLayout()
    embedding = Embedding(config, layout: &layout)
    var encoding: [ReversibleStack.Step] = []
    for (index, attention) in config.encoder.enumerated() {
      encoding += [
        .init(
          name: type(of: attention).name, sublayer: attention.sublayer(config, &layout, index),
          target: 0),
        .init(
          name: "feed-forward", sublayer: config.feedForward(&layout, layer: index), target: 1),
      ]
    }
    var steps: [ReversibleStack.Step] = []
    for (index, attention) in config.layers.enumerated() {
      let layer = config.encoder.count + index
      // Y1 = X1 + attention(X2), Y2 = X2 + feed-forward(Y1); with attention to a source between them, each sub-layer
      // likewise adds to the stream that the one before has read.
      var target = index * config.sublayers % 2
      let sublayer = attention.sublayer(config, &layout, layer)
      if !withoutAttention.contains(index) {
        steps.append(.init(name: type(of: attention).name, sublayer: sublayer, target: target))
      }
      if let attention = config.sourceAttention {
        target = 1 - target
        steps.append(
          .init(
            name: EveryKeyAttention.name, sublayer: attention.sublayer(config, &layout, layer),
            target: target))
      }
      steps.append(
        .init(
          name: "feed-forward", sublayer: config.feedForward(&layout, layer: layer),
          target: 1 - target))
    }
    let total = encoding.count + steps.count
    encoder = ReversibleStack(steps: encoding, total: total)
    stack = ReversibleStack(
      steps: steps, isPlain: config.residual == .plain, before: encoding.count,
      total: total)
    head = LossHead(config, layout: &layout)
    self.layout = layout
  }
}

extension AttentionLayer {
  fileprivate func sublayer(
    _ config: ReformerConfig, _ layout: inout ParameterLayout, _ layer: Int
  ) -> any ReversibleSublayer {
    switch config.precision {
    case .fp32: AttentionSublayer<Self, Float>(self, config, layout: &layout, layer: layer)
    case .bf16:
      AttentionSublayer<Self, BFloat16Pair<InPairs>>(self, config, layout: &layout, layer: layer)
    case .bf16InBlocks:
      AttentionSublayer<Self, BFloat16Pair<InBlocks>>(self, config, layout: &layout, layer: layer)
    }
  }
}

extension ReformerConfig {
  fileprivate func feedForward(
    _ layout: inout ParameterLayout, layer: Int
  ) -> any ReversibleSublayer {
    switch precision {
    case .fp32: FeedForward<Float>(self, layout: &layout, layer: layer)
    case .bf16: FeedForward<BFloat16Pair<InPairs>>(self, layout: &layout, layer: layer)
    case .bf16InBlocks: FeedForward<BFloat16Pair<InBlocks>>(self, layout: &layout, layer: layer)
    }
  }
}
