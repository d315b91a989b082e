// A run's config: what the TOML file says, typed, and what follows from it. Each section has a file of its own with
// its keys; RunConfigFile.swift reads and writes them, RunConfig+Validation.swift checks combinations.
import Attention
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
    ReformerConfig(
      vocabulary: model.vocabulary, byteOffset: model.byteOffset, length: data.length,
      width: model.width, layers: model.layers.map(attention.sizes.layer), heads: model.heads,
      headWidth: model.headWidth, headsPerGroup: model.headsPerGroup,
      feedForwardWidth: model.feedForwardWidth,
      activation: model.activation, axialShape: model.axialShape, axialWidths: model.axialWidths,
      dropout: model.dropout, attentionDropout: model.attentionDropout,
      layerNormEpsilon: model.layerNormEpsilon, residualFractionBits: model.residualFractionBits,
      ngrams: model.ngrams)
  }

  /// Makes this process use the library that `run.matrix_products` asks for.
  public func useMatrixLibrary() {
    MatrixLibrary.current =
      MatrixLibrary(rawValue: run.matrixProducts.rawValue) ?? MatrixLibrary.automatic
  }

  /// Adam's constants.
  public var adam: AdamSettings {
    AdamSettings(
      beta1: optimizer.beta1, beta2: optimizer.beta2, epsilon: optimizer.epsilon,
      weightDecay: optimizer.weightDecay)
  }

  /// The learning rate's course.
  public var learningRateSchedule: LearningRateSchedule {
    LearningRateSchedule(
      kind: optimizer.schedule, peak: optimizer.learningRate, warmupSteps: optimizer.warmupSteps,
      steps: run.steps)
  }

  /// Heads per group where the config says `"auto"`: the largest divisor of `heads` for which a
  /// group's `[L, heads, K]` buffer stays within 16 MiB, and at least 1.
  ///
  /// Depends on the config alone, never on the machine: the group size is part of what fixes the
  /// bits.
  public static func automaticHeadsPerGroup(heads: Int, headWidth: Int, length: Int) -> Int {
    let limit = 16 << 20
    return (1...max(heads, 1)).last {
      heads % $0 == 0 && $0 * headWidth * length * 4 <= limit
    } ?? 1
  }

  /// Lowers `"auto"` heads per group until the plan is within `run.memory_budget_gb`, if there is one.
  ///
  /// Judged for one rank with one thread, so that the choice depends on the config alone.
  mutating func fitHeadsPerGroup() {
    guard run.memoryBudgetGB > 0 else { return }
    let divisors = (1...model.headsPerGroup).reversed().filter { model.heads % $0 == 0 }
    for count in divisors {
      model.headsPerGroup = count
      let plan = MemoryPlan(self, ranks: 1, threads: 1)
      if Double(plan.peakRssBytes) <= run.memoryBudgetGB * 1e9 { return }
    }
  }

  /// Replaces what stands for `"auto"` by numbers; leaves alone what validation will refuse.
  mutating func resolveAutomatic() {
    if model.headsPerGroup == 0, model.heads * model.headWidth <= Self.largestSize {
      model.headsPerGroup = Self.automaticHeadsPerGroup(
        heads: model.heads, headWidth: model.headWidth, length: data.length)
    }
    if attention.lsh.buckets.isEmpty {
      attention.lsh.buckets = LSHAttentionSizes.automaticBuckets(
        length: data.length, longestLength: data.length, chunk: attention.lsh.chunk)
    }
  }

  /// Keys that differ from the config a checkpoint was written with, and may not.
  ///
  /// Each as `model.width: 256 in the checkpoint, 512 now`; none when the run may go on. The rest
  /// (steps, learning rate, logging, threads, paths, ...) may change; that the corpus' content did
  /// not is for its digest to say.
  public func differencesThatForbidResume(from saved: RunConfig) -> [String] {
    differences(from: saved, .fixed)
  }

  /// Keys that differ from the config a checkpoint was written with, and may.
  public func differencesThatAllowResume(from saved: RunConfig) -> [String] {
    differences(from: saved, .free)
  }

  private func differences(from saved: RunConfig, _ onResume: OnResume) -> [String] {
    ConfigKey.all.compactMap { key in
      let (old, new) = (key.get(saved), key.get(self))
      guard key.onResume == onResume, old != new else { return nil }
      return "\(key.name): \(old.toml) in the checkpoint, \(new.toml) now"
    }
  }
}
