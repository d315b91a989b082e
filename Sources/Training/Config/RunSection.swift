// `[run]`: the run around the model.
import Compute

/// What a run does when a checkpoint cannot be written.
public enum CheckpointErrorPolicy: String, Codable, Sendable, CaseIterable {
  /// It ends, with an error.
  case stop
  /// It says so, and tries again when the next one is due; the last one must succeed.
  case `continue`
}

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
  package var replicaCheckEvery = 100
  package var waitLimitSeconds = 60.0
  package var keepActivations = false

  /// Steps, and numbers of steps between things.
  private static let mostSteps = 1_000_000_000
  static let stepNumbers = 1...mostSteps

  static let keys = ConfigSection(
    name: "run", text: "the run around the model",
    keys: [
      ConfigKey(
        "run.name", \.run.name,
        .text("letters, digits, \"-\", \"_\" and \".\", not first (it names a folder)", isName),
        required: true, .free, "Name of the run and of its folder."),
      ConfigKey(
        "run.steps", \.run.steps, .from(1, to: mostSteps), required: true, .free,
        "Optimizer steps."),
      ConfigKey(
        "run.global_batch", \.run.globalBatch, .from(1, to: RunConfig.largestSize), .fixed,
        "Windows per step, over all ranks."),
      ConfigKey(
        "run.seed", \.run.seed, .from(0, to: .max), .fixed, "Seed of every random number."),
      ConfigKey(
        "run.threads", \.run.threads, automatic: 0, or: .from(1, to: 4096), .free,
        "Threads per rank; auto: this machine's cores over its ranks."),
      ConfigKey(
        "run.matrix_products", \.run.matrixProducts, .any, .free,
        "Matrix products by tiles of our own, the same bits everywhere, or by OpenBLAS."),
      ConfigKey(
        "run.evaluate_every", \.run.evaluateEvery,
        .from(0, to: mostSteps, zero: "evaluates at the end only"), .free,
        "Steps between evaluations."),
      ConfigKey(
        "run.evaluate_bytes", \.run.evaluateBytes,
        .from(0, to: 1 << 50, zero: "takes the whole split"), .free,
        "Validation bytes per evaluation."),
      ConfigKey(
        "run.checkpoint_every", \.run.checkpointEvery,
        .from(0, to: mostSteps, zero: "saves at the end only"), .free,
        "Steps between checkpoints."),
      ConfigKey(
        "run.keep", \.run.keep, .from(1, to: mostSteps), .free, "Newest checkpoints kept."),
      ConfigKey(
        "run.keep_every", \.run.keepEvery, .from(0, to: mostSteps, zero: "keeps none"), .free,
        "Keep every checkpoint of a multiple of this step for good."),
      ConfigKey(
        "run.keep_best", \.run.keepBest, .any, .free,
        "Keep the checkpoint with the best validation score, linked as best."),
      ConfigKey(
        "run.on_checkpoint_error", \.run.onCheckpointError, .any, .free,
        "What to do when a checkpoint cannot be written; the last one must be in any case."),
      ConfigKey(
        "run.background_checkpoints", \.run.backgroundCheckpoints, .any, .free,
        "Train on while a checkpoint is written, from a copy of parameters and moments."),
      ConfigKey(
        "run.skip_limit", \.run.skipLimit, .from(0, to: mostSteps), .free,
        "Steps in a row that may be skipped, not finite or a spike; one more ends the run."),
      ConfigKey(
        "run.spike_deviations", \.run.spikeDeviations,
        .from(0, to: 1_000_000_000, zero: "skips no spikes"), .free,
        "Skip steps whose loss or gradient norm is so many standard deviations above its mean."),
      ConfigKey(
        "run.log_every", \.run.logEvery, .from(1, to: mostSteps), .free,
        "Steps between log lines."),
      ConfigKey(
        "run.memory_budget_gb", \.run.memoryBudgetGB,
        .from(0, to: 1_000_000, zero: "takes what the machine has free"), .free,
        "Memory a rank may use, in GB of 1e9 bytes: a run planned larger is refused."),
      ConfigKey(
        "run.overlap", \.run.overlap, .any, .free,
        "Exchange gradients and parameters while computing; the bits are the same without."),
      ConfigKey(
        "run.replica_check_every", \.run.replicaCheckEvery,
        .from(0, to: mostSteps, zero: "never compares"), .free,
        "Steps between comparisons of the ranks' parameters."),
      ConfigKey(
        "run.wait_limit_seconds", \.run.waitLimitSeconds,
        .from(0, to: 1_000_000_000, zero: "waits for ever"), .free,
        "Seconds a rank waits for another, or as long as its own part of a step takes if longer."),
      ConfigKey(
        "run.keep_activations", \.run.keepActivations, .any, .free,
        "Keep activations instead of recomputing them: more memory, less work, same bits."),
    ])

  static func isName(_ text: String) -> Bool {
    let letters = text.utf8.allSatisfy {
      (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
        || [0x2D, 0x2E, 0x5F].contains($0)
    }
    return letters && !text.isEmpty && text.utf8.count <= 200 && !text.hasPrefix(".")
  }
}
