// A run's config: what the TOML file says, typed, and what follows from it. Each section has a file of its own with
// its keys (ConfigKey.swift); RunConfigFile.swift reads and writes them, RunConfig+Validation.swift checks combinations.
import Attention
import Communication
import Compute
import Optimizers
import Reformer

/// A whole config, read from TOML and checked.
///
/// `"auto"` model sizes are resolved already.
public struct RunConfig: Sendable, Equatable {
  package var run = RunSection()
  package var data = DataSection()
  package var model = ModelSection()
  package var attention = AttentionSection()
  package var optimizer = OptimizerSection()

  /// Blank required keys; only readers fill them.
  init() {}

  /// What determines the model's mathematics.
  public var reformer: ReformerConfig {
    var sizes = attention.sizes
    sizes.memory.isCarried = data.order == .streams
    let encoder = model.encoderLayers.compactMap { sizes.layer($0).unmasked }
    return ReformerConfig(
      vocabulary: model.vocabulary, byteOffset: model.byteOffset, length: data.length,
      width: model.width, layers: model.layers.map(sizes.layer), encoder: encoder,
      sourceLength: encoder.isEmpty ? 0 : data.sourceLength, heads: model.heads,
      headWidth: model.headWidth, headsPerGroup: model.headsPerGroup,
      feedForwardWidth: model.feedForwardWidth,
      activation: model.activation, tokenShift: model.tokenShift, precision: precision,
      axialShape: model.axialShape, axialWidths: model.axialWidths,
      infusesPositions: model.positions == .infused,
      dropout: model.dropout, attentionDropout: model.attentionDropout,
      layerNormEpsilon: model.layerNormEpsilon, residualFractionBits: model.residualFractionBits,
      ngrams: model.ngrams, residual: model.residual)
  }

  private var precision: Precision {
    switch model.precision {
    case .fp32: .fp32
    case .bf16: run.matrixProducts == .amx ? .bf16InBlocks : .bf16
    }
  }

  /// The optimizer and its constants.
  public var optimizerSettings: OptimizerSettings {
    OptimizerSettings(
      kind: optimizer.kind, beta1: optimizer.beta1, beta2: optimizer.beta2,
      epsilon: optimizer.epsilon, momentum: optimizer.momentum,
      weightDecay: optimizer.weightDecay, average: optimizer.average)
  }

  /// How parameters are shared out over ranks.
  public var groupShares: GroupShares { optimizer.kind.needsWholeTensors ? .whole : .cut }

  /// The learning rate's course.
  public var learningRateSchedule: LearningRateSchedule {
    let plan = stepPlan
    return LearningRateSchedule(
      kind: optimizer.schedule, peak: optimizer.learningRate, warmupSteps: optimizer.warmupSteps,
      steps: run.steps, finalRate: optimizer.finalRate, decayShare: optimizer.decayShare,
      trained: { plan.bytes(steps: $0) })
  }
}
