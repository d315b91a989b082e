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
  /// Stop before so much time has passed, such as `2h`.
  public var stopAfter: String?
  /// Take as many steps as end within so many minutes, in place of `run.steps`.
  public var minutes: Double?
  /// Whether the command line says `run.steps`, which then goes before a number that `minutes` fixed.
  public var setsSteps: Bool
  /// Let ranks, or a resume, differ in matrix library.
  public var allowMixedMachines: Bool
  /// The commit that the program is built from, for the record.
  public var commit: String?

  /// All options at once.
  public init(
    resume: String? = nil, output: String? = nil, stopAfterStep: Int? = nil,
    stopAfter: String? = nil, minutes: Double? = nil, setsSteps: Bool = false,
    allowMixedMachines: Bool = false, commit: String? = nil
  ) {
    self.resume = resume
    self.output = output
    self.stopAfterStep = stopAfterStep
    self.stopAfter = stopAfter
    self.minutes = minutes
    self.setsSteps = setsSteps
    self.allowMixedMachines = allowMixedMachines
    self.commit = commit
  }
}

/// A run on one rank.
///
/// All ranks make one and call `run`.
public final class Trainer {
  private let config: RunConfig
  private let communicator: any Communicator
  private let progress: Progress
  private let data: RunData
  private let mix: CorpusMix
  private let digest: CorpusDigest
  private let engine: Engine
  private let step: TrainStep
  private let evaluator: Evaluator
  private let folder: String
  private let store: CheckpointStore
  private let writer: CheckpointWriter
  private let options: TrainOptions
  private let stop: StopRequest
  private let fixedSteps: Int?
  private var clock = RunClock()

  /// Checks everything that can be checked before the first step and allocates the model.
  ///
  /// Throws on all ranks alike; nothing is written.
  public init(
    config: RunConfig, options: TrainOptions, communicator: any Communicator,
    progress: Progress
  ) throws {
    let started = ContinuousClock.now
    self.options = options
    self.communicator = communicator
    self.progress = progress
    folder = options.output ?? "checkpoints/" + config.run.name
    let placement = try Placement(communicator)
    (data, mix) = try agree(communicator) { [folder] in
      try config.validate(ranks: communicator.size)
      let data = try RunData(config: config, communicator: communicator, progress: progress)
      let mix = try data.mix()
      try Self.checkOptions(options)
      if communicator.rank == 0 { try Self.requireFresh(folder, options) }
      try config.requireMemory(ranks: communicator.size, placement: placement)
      return (data, mix)
    }
    config.useMatrixLibrary()
    engine = Engine(
      threads: placement.threads(configured: config.run.threads),
      processes: placement.ranksOnCores)
    try requireEqual(
      [
        ("program", "\(Program.current)"), ("config", SHA256.digits(of: config.toml.utf8)),
        ("output folder", folder), ("options", "\(options)"),
      ], communicator)
    // Only now: ranks with different configs would ask each other different things.
    digest = try data.digest()
    try requireEqual([("corpus", "\(digest)")], communicator)
    if let difference = try machineDifference(communicator) {
      guard options.allowMixedMachines else {
        throw UserError(
          "\(difference); use machines of one kind, or --allow-mixed-machines where the parameters "
            + "may depend on which rank computes what")
      }
      progress.message("note: \(difference): parameters depend on which rank computes what")
    }
    stop = StopRequest(after: options.stopAfter.flatMap(StopRequest.seconds))
    store = CheckpointStore(runFolder: folder)
    let (config, fixedSteps) = try options.fixingSteps(
      // Stored with the checkpoints, whose readers may stand elsewhere.
      config.withAbsoluteCorpora(), folder: folder, started: started, communicator: communicator,
      progress: progress,
      measure: { [engine, stop, mix] limit in
        try typicalStepSeconds(
          config, communicator: communicator, engine: engine, stop: stop, limit: limit,
          progress: progress
        ) { sample in
          Window(
            bytes: try mix.bytes(sample: sample), byteOffset: config.model.byteOffset)
        }
      },
      budget: { [data] in
        StepBudget(
          config, step: $0,
          validationBytes: data.parts.reduce(0) { $0 + $1.corpus.range(of: .validation).count },
          parameters: config.reformer.parameterLayout.count, ranks: communicator.size)
      })
    self.config = config
    self.fixedSteps = fixedSteps
    step = try TrainStep(config: config, communicator: communicator, engine: engine, stop: stop)
    evaluator = Evaluator(
      model: step.model, corpora: data.parts, communicator: communicator,
      seed: UInt64(config.run.seed), stop: stop)
    writer = CheckpointWriter(
      store, config: config, communicator: communicator, progress: progress, step: step)
  }

  private static func checkOptions(_ options: TrainOptions) throws {
    if let steps = options.stopAfterStep, steps < 1 {
      throw UserError("--steps \(steps); legal values: 1 or more")
    }
    if let minutes = options.minutes, !(minutes > 0 && minutes <= 1e7) {
      throw UserError("--minutes \(minutes); legal values: above 0, to 1e7")
    }
    if let text = options.stopAfter, StopRequest.seconds(text) == nil {
      throw UserError("--stop-after \(text); legal values: a time such as 90s, 45m, 1h30m or 2d")
    }
  }

  /// Trains until the last step, or until a signal or the time budget asks to stop.
  public func run() throws {
    let runFolder = RunFolder(path: folder, communicator: communicator, progress: progress)
    let lock = try runFolder.take()
    defer { withExtendedLifetime(lock) {} }
    var state: TrainingState
    do { state = try start() } catch {
      lock.removeUnused()
      throw error
    }
    let lastStep = options.stopAfterStep ?? config.run.steps
    announce(from: state.step, to: lastStep)
    let metrics = try runFolder.open(config, keepingUpTo: state.step)
    writer.metrics = metrics
    var isSaved = true
    var isStopped = false
    let isDue = { (every: Int, step: Int) in step > 0 && every > 0 && step % every == 0 }
    // What an earlier run was stopped before, or in the middle of.
    if isDue(config.run.evaluateEvery, state.step) || (state.step > 0 && state.step == lastStep),
      state.validationStep != state.step
    {
      isSaved = false
      isStopped = try !evaluate(&state, metrics: metrics)
    }
    while state.step < lastStep && !isStopped {
      let number = state.step + 1
      var unreadable: CorpusError?
      let result = try step.run(
        step: number,
        objection: { [state, config] loss, norm in
          state.spikes.spike(loss: loss, norm: norm, limit: config.run.spikeDeviations)
        }, progress: stepProgress(number, of: lastStep)
      ) { sample in
        do throws(CorpusError) {
          return Window(
            bytes: try mix.bytes(sample: sample), byteOffset: config.model.byteOffset)
        } catch {
          unreadable = error
          throw error
        }
      }
      isStopped = result.stopRequested
      guard result.outcome != .abandoned else { break }
      // Bytes that cannot be read are no reason to train on fewer.
      if case .skipped = result.outcome {
        try agree(communicator) { if let unreadable { throw unreadable } }
      }
      isSaved = false
      clock.step(result.seconds)
      stop.secondsToNextEnd = clock.secondsToNextEnd(checkpoint: writer.seconds)
      // Whatever comes next, what is being written has its chance first.
      _ = try writer.settle(&state, waiting: false)
      do {
        if let reason = try state.count(result, config) {
          progress.message("step \(number) skipped: \(reason)")
        }
      } catch {
        _ = try writer.settle(&state, waiting: true)
        throw error
      }
      report(
        result, state: state, lastStep: lastStep,
        isMilestone: isDue(config.run.logEvery, number) || number == lastStep || isStopped,
        metrics: metrics)
      if isDue(config.run.evaluateEvery, number) || number == lastStep, !isStopped {
        isStopped = try !evaluate(&state, metrics: metrics)
      }
      // A run that skips step after step should not replace the checkpoints it can go back to.
      let isSaving =
        isDue(config.run.checkpointEvery, number) && state.skippedInARow == 0 && number < lastStep
      if isSaving || isDue(config.run.replicaCheckEvery, number) { try compareReplicas(&state) }
      if isSaving { isSaved = try writer.save(&state) }
    }
    isSaved = try writer.settle(&state, waiting: true) && isSaved
    if !isSaved && state.step > 0 {
      try compareReplicas(&state)
      try writer.saveLast(&state)
    }
    if isStopped {
      let reason =
        StopSignal.number == 0 && options.stopAfter != nil ? "by --stop-after" : "by a signal"
      progress.message(
        "stopped \(reason) after step \(state.step); go on with --resume auto")
    }
    if state.step > 0 {
      progress.message(
        "done: checkpoint of step \(state.step) in \(store.folder(step: state.step))")
    }
  }

  /// Ends the run where replicas differ; what was not compared is never saved.
  private func compareReplicas(_ state: inout TrainingState) throws {
    guard config.run.replicaCheckEvery > 0 else { return }
    do {
      try checkReplicas(step.currentParameters(), step: state.step, communicator)
    } catch {
      // The checkpoint being written was compared before it was begun.
      _ = try writer.settle(&state, waiting: true)
      throw error
    }
  }

  /// Refuses to begin where a run has been.
  ///
  /// For rank 0 alone: another host that shares the folder would remember that it was not there.
  private static func requireFresh(_ folder: String, _ options: TrainOptions) throws {
    guard options.resume == nil, let last = try CheckpointStore(runFolder: folder).steps().last
    else { return }
    throw UserError(
      "\(folder) already holds a run up to step \(last); add --resume auto to go on with it, or "
        + "choose another folder with --output")
  }

  /// Parameters, moments and state to begin with.
  private func start() throws -> TrainingState {
    try agree(communicator) {
      guard communicator.rank == 0 else { return }
      try store.removeLeftovers()
      // Once more now that nobody else writes here: a run that was waited for has left its own.
      try Self.requireFresh(folder, options)
    }
    let origin = Origin.current(commit: options.commit)
    var state = TrainingState(corpus: digest, origin: origin)
    if let checkpoint = try options.resume.flatMap({
      try Checkpoint.toResume(
        $0, runFolder: folder, communicator: communicator, report: progress.message)
    }) {
      state = try checkpoint.resume(
        as: config, data: data, digest: digest, origin: origin,
        allowMixedMachines: options.allowMixedMachines, parameters: step.currentParameters(),
        optimizer: step.optimizer, communicator: communicator, report: progress.message)
      progress.message("resuming \(checkpoint.folder)")
      try checkpoint.becomeNewest(
        in: store, state: &state, communicator: communicator, report: progress.message)
    } else {
      if options.resume != nil {
        progress.message("no checkpoint in \(folder) yet; starting at step 1")
      }
      step.model.layout.initialise(try step.currentParameters(), seed: UInt64(config.run.seed))
    }
    state.fixedSteps = fixedSteps
    return state
  }

  private func announce(from first: Int, to last: Int) {
    let (ranks, threads) = (communicator.size, engine.pool.threadCount)
    progress.message(
      "\(amount(Double(step.model.layout.parameterCount), "parameters")), "
        + "\(ranks) rank\(ranks == 1 ? "" : "s") x \(threads) thread\(threads == 1 ? "" : "s"), "
        + "\(Kernels.instructionSet), \(MatrixLibrary.description)")
    progress.message(
      "\(mix.description), windows of \(config.data.length) bytes, \(config.run.globalBatch) per step, "
        + "steps \(first + 1) to \(last), run folder \(folder)")
    for notice in mix.notices { progress.message(notice) }
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
    _ result: StepResult, state: TrainingState, lastStep: Int, isMilestone: Bool,
    metrics: MetricsWriter?
  ) {
    let bits = result.lossNats / log(2)
    let bytes = Double(config.run.globalBatch * config.data.length)
    let isApplied = result.outcome == .applied
    if isApplied {
      progress.update(
        String(
          format: "step %d/%d  loss %.4f nats  %.3f bits/byte  %@  gradient %.2f  %@ left",
          state.step, lastStep, result.lossNats, bits, amount(bytes / clock.typical, "B/s"),
          result.gradientNorm, duration(clock.typical * Double(lastStep - state.step))),
        isMilestone: isMilestone)
    }
    // JSON has no word for what is not finite.
    let finite = { (value: Double) in value.isFinite ? value : nil }
    metrics?.write(
      MetricsRecord(
        step: state.step, lossNats: finite(result.lossNats), bitsPerByte: finite(bits),
        gradientNorm: finite(result.gradientNorm), learningRate: result.learningRate,
        isSkipped: isApplied ? nil : true, stepSeconds: result.seconds,
        bytesPerSecond: bytes / result.seconds,
        communicationExposedSeconds: result.communicationExposedSeconds,
        peakRssBytes: peakResidentBytes(), trainedBytes: state.trainedBytes))
  }

  /// Scores the validation split; false when the run is to stop instead.
  private func evaluate(_ state: inout TrainingState, metrics: MetricsWriter?) throws -> Bool {
    let start = ContinuousClock.now
    let score = try evaluator.run(
      parameters: step.currentParameters(), split: .validation, context: config.data.length,
      stride: config.data.length, limit: config.run.evaluateBytes
    ) { share in
      progress.update(String(format: "validation %.0f %%", share * 100), isMilestone: false)
    }
    guard let result = score else { return false }
    state.validationBitsPerByte = result.bitsPerByte
    state.validationStep = state.step
    progress.message(
      String(
        format: "step %d  validation %.4f bits/byte over %@ in %@", state.step,
        result.bitsPerByte, amount(Double(result.bytes), "B"), duration(seconds(since: start)))
        + (result.corpora ?? []).map { String(format: "; %@ %.4f", $0.name, $0.bitsPerByte) }
        .joined())
    metrics?.write(
      MetricsRecord(
        step: state.step, validationBitsPerByte: result.bitsPerByte,
        validationBytes: result.bytes, validationSeconds: seconds(since: start),
        validationCorpora: result.corpora))
    return true
  }
}
