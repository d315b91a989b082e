// The training run of one rank, start to end: agree, resume or initialise, then step, report,
// evaluate and save until done.
import Checkpointing
import Communication
import Compute
import Corpus
import Foundation
import Optimizers
import Reformer

/// What the command line adds to a config.
public struct TrainOptions: Sendable {
  /// `auto`, a checkpoint folder, or nil to start anew.
  public var resume: String?
  /// Run folder; nil for `checkpoints/NAME`.
  public var output: String?
  /// Stop after this step of the run; the schedule keeps the config's length.
  public var stopAfterStep: Int?
  /// Let ranks differ in instruction set and matrix library.
  public var allowMixedMachines: Bool

  /// All options at once.
  public init(
    resume: String? = nil, output: String? = nil, stopAfterStep: Int? = nil,
    allowMixedMachines: Bool = false
  ) {
    self.resume = resume
    self.output = output
    self.stopAfterStep = stopAfterStep
    self.allowMixedMachines = allowMixedMachines
  }
}

/// Version of the program; all ranks of a run must have the same.
public let programVersion = "0.1.0"

/// A run on one rank.
///
/// All ranks make one and call `run`.
public final class Trainer {
  private let config: RunConfig
  private let communicator: any Communicator
  private let progress: Progress
  private let corpus: ByteCorpus
  private let digest: CorpusDigest
  private let plan: BatchPlan
  private let engine: Engine
  private let step: TrainStep
  private let evaluator: Evaluator
  private let folder: String
  private let checkpoint: RunCheckpoint
  private let options: TrainOptions

  /// Checks everything that can be checked before the first step and allocates the model.
  ///
  /// Throws on all ranks alike; nothing is written.
  public init(
    config: RunConfig, options: TrainOptions, communicator: any Communicator,
    progress: Progress
  ) throws {
    self.config = config
    self.options = options
    self.communicator = communicator
    self.progress = progress
    folder = options.output ?? "checkpoints/" + config.run.name
    let corpus: ByteCorpus
    (corpus, digest, plan) = try agree(communicator) { [folder] in
      try config.validate(ranks: communicator.size)
      let corpus = try ByteCorpus(
        path: config.data.corpus, fractions: SplitFractions(config.data.split))
      let plan = try BatchPlan(
        corpus: corpus, length: config.data.length, seed: UInt64(config.run.seed))
      _ = try corpus.evaluationWindows(.validation, length: config.data.length)
      try Self.checkOutput(folder, options: options)
      try config.requireMemory(ranks: communicator.size, ranksHere: ranksOnThisMachine)
      return (corpus, try corpus.digest(), plan)
    }
    self.corpus = corpus
    config.useMatrixLibrary()
    engine = Engine(threads: threadCount(configured: config.run.threads))
    try requireEqual(
      [
        ("program version", programVersion), ("config", sha256(config.toml)),
        ("corpus", "\(digest)"),
        ("output folder", folder), ("options", "\(options)"),
      ], communicator)
    if let difference = try machineDifference(communicator) {
      guard options.allowMixedMachines else {
        throw UserError(
          "\(difference); use machines of one kind, or --allow-mixed-machines where the parameters "
            + "may depend on which rank computes what")
      }
      progress.message("note: \(difference): parameters depend on which rank computes what")
    }
    step = TrainStep(config: config, communicator: communicator, engine: engine)
    evaluator = Evaluator(
      model: step.model, corpus: corpus, communicator: communicator,
      seed: UInt64(config.run.seed))
    checkpoint = RunCheckpoint(
      store: CheckpointStore(runFolder: folder), communicator: communicator, config: config,
      layout: step.model.layout)
  }

  private static func checkOutput(_ folder: String, options: TrainOptions) throws {
    if options.resume == nil, let last = try CheckpointStore(runFolder: folder).steps().last {
      throw UserError(
        "\(folder) already holds a run up to step \(last); add --resume auto to go on with it, or "
          + "choose another folder with --output")
    }
    if let steps = options.stopAfterStep, steps < 1 {
      throw UserError("--steps \(steps); legal values: 1 or more")
    }
  }

  /// Trains until the last step, or until a signal asks to stop.
  public func run() throws {
    var state = try start()
    let lastStep = options.stopAfterStep ?? config.run.steps
    announce(from: state.step, to: lastStep)
    let metrics = try agree(communicator) {
      communicator.rank == 0 ? try openRunFolder(keepingUpTo: state.step) : nil
    }
    var savedStep = state.step
    var clock = RunClock()
    while state.step < lastStep {
      let number = state.step + 1
      let result = try step.run(step: number, progress: stepProgress(number, of: lastStep)) {
        sample in
        Batch(
          corpus: corpus, window: plan.window(sample: sample),
          byteOffset: config.model.byteOffset)
      }
      state.step = number
      state.trainedBytes += config.run.globalBatch * config.data.length
      clock.add(result.seconds)
      let isDue = { (every: Int) in every > 0 && number % every == 0 }
      let isEnd = number == lastStep || result.stopRequested
      try report(
        result, state: state, lastStep: lastStep, clock: clock,
        isMilestone: isDue(config.run.logEvery) || isEnd, metrics: metrics)
      if isDue(config.run.evaluateEvery) || (number == lastStep && !result.stopRequested) {
        try evaluate(&state, metrics: metrics)
      }
      let isSaving = isDue(config.run.checkpointEvery) || isEnd
      // Never save what was not compared: the last checkpoint is then a good one.
      if config.run.replicaCheckEvery > 0, isDue(config.run.replicaCheckEvery) || isSaving {
        try checkReplicas(step.currentParameters(), step: number, communicator)
      }
      if isSaving {
        try save(state, metrics: metrics)
        savedStep = number
      }
      if result.stopRequested {
        progress.message(
          "stopped by a signal after step \(number); go on with --resume auto")
        break
      }
    }
    progress.message(
      "done: step \(state.step), checkpoint of step \(savedStep) in "
        + checkpoint.store.folder(step: savedStep))
  }

  /// Makes the run folder and writes the resolved config into it.
  private func openRunFolder(keepingUpTo step: Int) throws -> MetricsWriter {
    do {
      try FileManager.default.createDirectory(
        atPath: folder, withIntermediateDirectories: true)
      try Data(config.toml.utf8).write(
        to: URL(fileURLWithPath: folder + "/" + TrainingState.configName), options: .atomic)
      return try MetricsWriter(folder: folder, keepingUpTo: step)
    } catch {
      throw UserError(
        "run folder \(folder) cannot be written; choose another with --output, or change its "
          + "permissions")
    }
  }

  /// Parameters, moments and state to begin with.
  private func start() throws -> TrainingState {
    if let resume = options.resume {
      if let found = try checkpoint.find(resume: resume, report: progress.message) {
        let state = try checkpoint.load(
          found, corpus: digest, parameters: step.currentParameters(), optimizer: step.optimizer)
        progress.message("resuming \(found)")
        return state
      }
      progress.message("no checkpoint in \(folder) yet; starting at step 1")
    }
    config.reformer.initialise(
      try step.currentParameters(), layout: step.model.layout, seed: UInt64(config.run.seed))
    return TrainingState(
      step: 0, corpus: digest, trainedBytes: 0, validationBitsPerByte: nil)
  }

  private func announce(from first: Int, to last: Int) {
    let (ranks, threads) = (communicator.size, engine.pool.threadCount)
    progress.message(
      "\(amount(Double(step.model.layout.parameterCount), "parameters")), "
        + "\(ranks) rank\(ranks == 1 ? "" : "s") x \(threads) thread\(threads == 1 ? "" : "s"), "
        + "\(Kernels.instructionSet), \(MatrixLibrary.description)")
    progress.message(
      "\(config.data.corpus) (\(amount(Double(corpus.count), "B"))), windows of "
        + "\(config.data.length) bytes, \(config.run.globalBatch) per step, "
        + "steps \(first + 1) to \(last), run folder \(folder)")
    if let warning = MatrixLibrary.environmentWarning {
      progress.message("warning: \(warning)")
    }
    if !GradientReduction.sameBits(globalBatch: config.run.globalBatch, ranks: ranks) {
      progress.message(
        "note: run.global_batch / ranks is no power of two, so parameters equal those of other "
          + "rank counts to rounding only")
    }
  }

  /// Shows how far a step is, where a step takes long enough to wonder.
  private func stepProgress(_ number: Int, of lastStep: Int) -> (Double) -> Void {
    let start = ContinuousClock.now
    return { [progress] share in
      let passed = seconds(since: start)
      guard passed > 2 else { return }
      progress.update(
        String(
          format: "step %d/%d  %.0f %% of the step, %@ left of it", number, lastStep, share * 100,
          duration(passed * (1 - share) / share)), isMilestone: false)
    }
  }

  private func report(
    _ result: StepResult, state: TrainingState, lastStep: Int, clock: RunClock,
    isMilestone: Bool, metrics: MetricsWriter?
  ) throws {
    let bits = result.lossNats / log(2)
    let bytes = Double(config.run.globalBatch * config.data.length)
    progress.update(
      String(
        format: "step %d/%d  loss %.4f nats  %.3f bits/byte  %@  gradient %.2f  %@ left",
        state.step, lastStep, result.lossNats, bits, amount(bytes / clock.typical, "B/s"),
        result.gradientNorm, duration(clock.typical * Double(lastStep - state.step))),
      isMilestone: isMilestone)
    try metrics?.write(
      MetricsRecord(
        step: state.step, lossNats: result.lossNats, bitsPerByte: bits,
        gradientNorm: result.gradientNorm, learningRate: result.learningRate,
        stepSeconds: result.seconds, bytesPerSecond: bytes / result.seconds,
        communicationExposedSeconds: result.communicationExposedSeconds,
        peakRssBytes: peakResidentBytes(), trainedBytes: state.trainedBytes))
  }

  private func evaluate(_ state: inout TrainingState, metrics: MetricsWriter?) throws {
    let start = ContinuousClock.now
    let result = try evaluator.run(
      parameters: step.currentParameters(), split: .validation, context: config.data.length,
      stride: config.data.length, limit: config.run.evaluateBytes
    ) { share in
      progress.update(String(format: "validation %.0f %%", share * 100), isMilestone: false)
    }
    state.validationBitsPerByte = result.bitsPerByte
    progress.message(
      String(
        format: "step %d  validation %.4f bits/byte over %@ in %@", state.step,
        result.bitsPerByte, amount(Double(result.bytes), "B"), duration(seconds(since: start))))
    try metrics?.write(
      MetricsRecord(
        step: state.step, validationBitsPerByte: result.bitsPerByte,
        validationBytes: result.bytes, validationSeconds: seconds(since: start)))
  }

  private func save(_ state: TrainingState, metrics: MetricsWriter?) throws {
    let start = ContinuousClock.now
    try checkpoint.save(
      state, parameters: step.currentParameters(), optimizer: step.optimizer)
    try metrics?.write(
      MetricsRecord(step: state.step, checkpointSeconds: seconds(since: start)))
  }
}

/// Seconds a step takes, for the time left: an average that forgets, so that a slow start does not
/// linger.
private struct RunClock {
  private(set) var typical = 0.0

  mutating func add(_ seconds: Double) {
    typical = typical == 0 ? seconds : 0.9 * typical + 0.1 * seconds
  }
}
