// A run's config: what the TOML file says, typed. Keys are the properties' names in snake_case,
// `model.head_width` for `model.headWidth`; RunConfigKeys.swift lists them all, RunConfigFile.swift
// reads and writes them, RunConfig+Validation.swift says which values are legal.
import Attention
import Compute
import Optimizers
import Reformer

/// Optimizers a config may name.
public enum OptimizerKind: String, Codable, Sendable, CaseIterable {
  /// Adam with decoupled weight decay.
  case adam
}

/// `[model]`: sizes and constants of the network.
///
/// Nothing in it may change on resume.
public struct ModelSection: Sendable, Equatable {
  /// Features of each residual stream; required.
  public var width = 0
  /// Attention kind per layer, first to last: `full`, `local`, `lsh`; required.
  public var layers: [AttentionKind] = []
  /// Attention heads; required.
  public var heads = 0
  /// Features per head; required.
  public var headWidth = 0
  /// Heads that go over the sequence together; default `"auto"`: `automaticHeadsPerGroup`.
  public var headsPerGroup = 0
  /// Hidden features of the feed-forward layers; required.
  public var feedForwardWidth = 0
  /// `relu` or `gelu`; default `relu`.
  public var activation = Activation.relu
  /// Token ids; at least 256 + `byte_offset`; default 256.
  public var vocabulary = 256
  /// Token id of byte 0; default 0.
  public var byteOffset = 0
  /// Axes of the position grid; their product is at least `data.length`; required.
  public var axialShape: [Int] = []
  /// Features per axis; they add up to `width`; required.
  public var axialWidths: [Int] = []
  /// Dropout on embeddings and sub-layer outputs; default 0.
  public var dropout = 0.0
  /// Dropout on attention probabilities; default 0.
  public var attentionDropout = 0.0
  /// Added to the variance in LayerNorm; default 1e-12.
  public var layerNormEpsilon = 1e-12
  /// Fraction bits of the fixed-point residual streams, 8 to 24; default 18.
  public var residualFractionBits = 18
}

/// `[attention.full]`, `[attention.local]` and `[attention.lsh]`.
///
/// Nothing in it may change on resume.
public struct AttentionSection: Sendable, Equatable {
  /// `full.shared_query_key`: one projection for queries and keys; default false.
  public var fullSharedQueryKey = false
  /// `local`: `chunk` default 64, `chunks_before` default 1.
  public var local = LocalAttentionSizes(chunk: 64, chunksBefore: 1)
  /// `lsh`: `chunk` default 64, `chunks_before` default 1, `hashes` default 2, `buckets` default
  /// `"auto"`: `LSHAttentionSizes.automaticBuckets`.
  public var lsh = LSHAttentionSizes(chunk: 64, chunksBefore: 1, hashes: 2, buckets: [])
}

/// `[data]`: what is read.
///
/// Only the corpus' path may change on resume, not its content.
public struct DataSection: Sendable, Equatable {
  /// Path of the corpus; required.
  public var corpus = ""
  /// Bytes of a training window; required.
  public var length = 0
  /// Shares of training, validation and test, in this order of the corpus; default
  /// `[0.9, 0.05, 0.05]`.
  public var split = [0.9, 0.05, 0.05]
}

/// `[optimizer]`: how parameters follow gradients.
///
/// Only `kind` may not change on resume.
public struct OptimizerSection: Sendable, Equatable {
  /// `adam`; default `adam`.
  public var kind = OptimizerKind.adam
  /// Peak learning rate; default 5e-4.
  public var learningRate = 5e-4
  /// `constant`, `rsqrt` or `cosine`; default `constant`.
  public var schedule = ScheduleKind.constant
  /// Steps of linear warm-up; default 100.
  public var warmupSteps = 100
  /// Decay of the average of gradients; default 0.9.
  public var beta1 = 0.9
  /// Decay of the average of squared gradients; default 0.98.
  public var beta2 = 0.98
  /// Added to the root of the second moment; default 1e-9.
  public var epsilon = 1e-9
  /// Decoupled weight decay of matrices; default 0.
  public var weightDecay = 0.0
  /// Largest norm of the gradient; 0 switches clipping off; default 1.
  public var clip = 1.0
}

/// How matrix products are computed.
public enum MatrixProducts: String, Codable, Sendable, CaseIterable {
  /// By the faster library for this processor.
  case auto
  /// By oneDNN.
  case onednn
  /// By OpenBLAS.
  case openblas
}

/// What a run does when a checkpoint cannot be written.
public enum CheckpointErrorPolicy: String, Codable, Sendable, CaseIterable {
  /// It ends, with an error.
  case stop
  /// It says so, and tries again when the next one is due; the last one must succeed.
  case `continue`
}

/// `[run]`: the run around the model.
///
/// Only `seed` and `global_batch` may not change on resume.
public struct RunSection: Sendable, Equatable {
  /// Name of the run and of its folder; required.
  public var name = ""
  /// Optimizer steps; required.
  public var steps = 0
  /// Windows per step, over all ranks; default 1.
  public var globalBatch = 1
  /// Seed of every random number; default 1.
  public var seed = 1
  /// Threads per rank; default `"auto"`, held as 0: this node's cores over its ranks.
  public var threads = 0
  /// Library for matrix products; default `"auto"`: oneDNN from AVX2 on, else OpenBLAS.
  public var matrixProducts = MatrixProducts.auto
  /// Steps between evaluations; 0 evaluates at the end only; default 0.
  public var evaluateEvery = 0
  /// Validation bytes per evaluation; 0 takes the whole split; default 0.
  public var evaluateBytes = 0
  /// Steps between checkpoints; 0 saves at the end only; default 0.
  public var checkpointEvery = 0
  /// Newest checkpoints kept; default 2.
  public var keep = 2
  /// Keep every checkpoint of a multiple of this step for good; 0 keeps none; default 0.
  public var keepEvery = 0
  /// Keep the checkpoint with the best validation score, linked as `best`; default true.
  public var keepBest = true
  /// What to do when a checkpoint cannot be written: `stop` or `continue`; default `stop`.
  public var onCheckpointError = CheckpointErrorPolicy.stop
  /// Train on while a checkpoint is written, from a copy of parameters and moments; default false.
  public var backgroundCheckpoints = false
  /// Steps in a row that may be skipped, their loss or gradient not finite or a spike; one more ends
  /// the run; default 5.
  public var skipLimit = 5
  /// Skip steps whose loss or gradient norm is so many standard deviations above its mean; 0 skips none;
  /// default 0.
  public var spikeDeviations = 0.0
  /// Steps between log lines; default 1.
  public var logEvery = 1
  /// Memory a rank may use, in GB of 1e9 bytes: a run planned larger is refused; 0 sets no limit;
  /// default 0.
  public var memoryBudgetGB = 0.0
  /// Exchange gradients and parameters while computing; false waits for them instead, with the same
  /// bits; default true.
  public var overlap = true
  /// Steps between comparisons of the ranks' parameters; 0 never compares; default 100.
  public var replicaCheckEvery = 100
  /// Seconds a rank waits for another before the run fails, or as long as its own part of a step
  /// took where that is longer; writing a checkpoint counts; 0 waits for ever; default 60.
  public var waitLimitSeconds = 60.0
  /// Keep activations instead of recomputing them: more memory, less work, same bits; default false.
  public var keepActivations = false
}

/// A whole config, read from TOML and checked.
///
/// `"auto"` model sizes are resolved already.
public struct RunConfig: Sendable, Equatable {
  /// `[model]`.
  public var model = ModelSection()
  /// `[attention.*]`.
  public var attention = AttentionSection()
  /// `[data]`.
  public var data = DataSection()
  /// `[optimizer]`.
  public var optimizer = OptimizerSection()
  /// `[run]`.
  public var run = RunSection()

  /// Blank required keys; only the reader fills them.
  init() {}

  /// What determines the model's mathematics.
  public var reformer: ReformerConfig {
    ReformerConfig(
      vocabulary: model.vocabulary, byteOffset: model.byteOffset, length: data.length,
      width: model.width, layers: model.layers, heads: model.heads, headWidth: model.headWidth,
      headsPerGroup: model.headsPerGroup, feedForwardWidth: model.feedForwardWidth,
      activation: model.activation, axialShape: model.axialShape, axialWidths: model.axialWidths,
      dropout: model.dropout, attentionDropout: model.attentionDropout,
      layerNormEpsilon: model.layerNormEpsilon, residualFractionBits: model.residualFractionBits,
      lsh: attention.lsh, local: attention.local, fullSharedQueryKey: attention.fullSharedQueryKey)
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

  /// Replaces what stands for `"auto"` by numbers; leaves sizes alone that validation will refuse.
  mutating func resolveAutomatic() {
    guard (1...Self.largestLength).contains(data.length) else { return }
    if model.headsPerGroup == 0, Self.sizes.contains(model.heads),
      Self.sizes.contains(model.headWidth), Self.sizes.contains(model.heads * model.headWidth)
    {
      model.headsPerGroup = Self.automaticHeadsPerGroup(
        heads: model.heads, headWidth: model.headWidth, length: data.length)
    }
    if attention.lsh.buckets.isEmpty, Self.sizes.contains(attention.lsh.chunk) {
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
    differences(from: saved, fixed: true)
  }

  /// Keys that differ from the config a checkpoint was written with, and may.
  public func differencesThatAllowResume(from saved: RunConfig) -> [String] {
    differences(from: saved, fixed: false)
  }

  private func differences(from saved: RunConfig, fixed: Bool) -> [String] {
    ConfigKey.all.compactMap { key in
      let (old, new) = (key.get(saved), key.get(self))
      guard key.isFixed == fixed, old != new else { return nil }
      return "\(key.name): \(old.toml) in the checkpoint, \(new.toml) now"
    }
  }
}
