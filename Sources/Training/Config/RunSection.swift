// `[run]`: the run around the model.
import Communication
import Compute

extension MatrixProducts: ConfigChoice {
  // What was by oneDNN, or by the better library, is by tiles.
  static let formerNames: [String: Self] = ["onednn": .tiles, "auto": .tiles]
}

/// What a run does when a checkpoint cannot be written.
public enum CheckpointErrorPolicy: String, Codable, Sendable, CaseIterable {
  /// It ends, with an error.
  case stop
  /// It says so, and tries again when the next one is due; the last one must succeed.
  case `continue`
}

extension CheckpointErrorPolicy: ConfigChoice {}
extension Wire: ConfigChoice {}

/// `[run]`; `keys` says what each property means.
package struct RunSection: Sendable, Equatable {
  package var name = ""
  package var steps = 0
  package var globalBatch = 1
  package var seed = 1
  package var threads = 0
  package var matrixProducts = MatrixProducts.tiles
  package var evaluateEvery = 0
  package var evaluateBytes = 0
  package var sampleBytes = 0
  package var checkpointEvery = 0
  package var keep = 2
  package var keepEvery = 0
  package var keepBest = true
  package var onCheckpointError = CheckpointErrorPolicy.stop
  package var backgroundCheckpoints = false
  package var skipLimit = 5
  package var spikeDeviations = 0.0
  package var logEvery = 1
  package var memoryBudgetGB = 0.0
  package var overlap = true
  package var wire = Wire.fp32
  package var replicaCheckEvery = 100
  package var waitLimitSeconds = RunSection.usualWaitLimit
  package var keepActivations = false

  /// Seconds that a rank waits for another where nothing else is said.
  package static let usualWaitLimit = 60.0
  /// Steps, and numbers of steps between things.
  private static let mostSteps = 1_000_000_000
  static let stepNumbers = 1...mostSteps

  private typealias Key = SectionKey<RunSection>

  static let keys = SectionKeys(
    name: "run", text: "the run around the model",
    keys: [
      Key(
        "name", \.name,
        .text(
          "letters, digits, \"-\", \"_\" and \".\", not first (it names a folder)", Legal.isName),
        required: true, .free, "Name of the run and of its folder."),
      Key(
        "steps", \.steps, .from(1, to: mostSteps), required: true, .free,
        "Optimizer steps."),
      Key(
        "global_batch", \.globalBatch, .from(1, to: ConfigLimits.size), .fixed,
        "Windows per step, over all ranks."),
      Key(
        "seed", \.seed, .from(0, to: .max), .fixed, "Seed of every random number."),
      Key(
        "threads", \.threads, automatic: 0, or: .from(1, to: 4096), .free,
        "Threads per rank; auto: this machine's cores over its ranks."),
      Key(
        "matrix_products", \.matrixProducts, .any, .free,
        "Matrix products by tiles of our own; by the same, but those of bf16 numbers in the order of AMX tiles (several "
          + "times as fast on processors that have them, slower on others: see doctor); or by OpenBLAS. The first two "
          + "have bits of their own, the same everywhere."),
      Key(
        "evaluate_every", \.evaluateEvery,
        .from(0, to: mostSteps, zero: "evaluates at the end only"), .free,
        "Steps between evaluations."),
      Key(
        "evaluate_bytes", \.evaluateBytes,
        .from(0, to: 1 << 50, zero: "takes the whole split"), .free,
        "Validation bytes per evaluation."),
      Key(
        "sample_bytes", \.sampleBytes, .from(0, to: 1 << 16, zero: "writes none"), .free,
        "Bytes of text to write at each evaluation, after the first ones of the validation split; of pairs, those in the "
          + "targets of the first ones of that split, which are written."),
      Key(
        "checkpoint_every", \.checkpointEvery,
        .from(0, to: mostSteps, zero: "saves at the end only"), .free,
        "Steps between checkpoints."),
      Key(
        "keep", \.keep, .from(1, to: mostSteps), .free, "Newest checkpoints kept."),
      Key(
        "keep_every", \.keepEvery, .from(0, to: mostSteps, zero: "keeps none"), .free,
        "Keep every checkpoint of a multiple of this step for good."),
      Key(
        "keep_best", \.keepBest, .any, .free,
        "Keep the checkpoint with the best validation score, linked as best."),
      Key(
        "on_checkpoint_error", \.onCheckpointError, .any, .free,
        "What to do when a checkpoint cannot be written; the last one must be in any case."),
      Key(
        "background_checkpoints", \.backgroundCheckpoints, .any, .free,
        "Train on while a checkpoint is written, from a copy of parameters and moments."),
      Key(
        "skip_limit", \.skipLimit, .from(0, to: mostSteps), .free,
        "Steps in a row that may be skipped, not finite or a spike; one more ends the run."),
      Key(
        "spike_deviations", \.spikeDeviations,
        .from(0, to: 1_000_000_000, zero: "skips no spikes"), .free,
        "Skip steps whose loss or gradient norm is so many standard deviations above its mean."),
      Key(
        "log_every", \.logEvery, .from(1, to: mostSteps), .free,
        "Steps between log lines."),
      Key(
        "memory_budget_gb", \.memoryBudgetGB,
        .from(0, to: 1_000_000, zero: "takes what the machine has free"), .free,
        "Memory a rank may use, in GB of 1e9 bytes: a run planned larger is refused."),
      Key(
        "overlap", \.overlap, .any, .free,
        "Exchange gradients and parameters while computing; the bits are the same without."),
      Key(
        "wire", \.wire, .any, .fixed,
        "Numbers in which ranks send each other their gradients: fp32, or the nearest bf16 ones, added in fp32, which are "
          + "three quarters of the bytes of a step and make the bits depend on the number of ranks. Parameters travel "
          + "in fp32."),
      Key(
        "replica_check_every", \.replicaCheckEvery,
        .from(0, to: mostSteps, zero: "never compares"), .free,
        "Steps between comparisons of the ranks' parameters."),
      Key(
        "wait_limit_seconds", \.waitLimitSeconds,
        .from(0, to: 1_000_000_000, zero: "waits for ever"), .free,
        "Seconds a rank waits for another, or as long as its own part of a step takes if longer."),
      Key(
        "keep_activations", \.keepActivations, .any, .free,
        "Keep activations instead of recomputing them: more memory, less work, same bits."),
    ])
}
