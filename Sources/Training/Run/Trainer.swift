// The training run of one rank, start to end: agree, resume or initialise, then step, report,
// evaluate and save until done.
import Checkpointing
import Communication
import Compute
import Corpus
import Foundation
import Reformer

/// A run on one rank.
///
/// All ranks make one and call `run`.
public final class Trainer {
  private let config: RunConfig
  private let options: TrainOptions
  private let communicator: any Communicator
  private let progress: Progress
  private let data: RunData
  private let mix: CorpusMix
  private let digest: CorpusDigest
  private let fixedSteps: Int?
  private let folder: String
  private let engine: Engine
  private let stop: StopRequest
  private let windows: TrainingWindows
  private let step: TrainStep
  private let evaluator: Evaluator
  private let store: CheckpointStore
  private let writer: CheckpointWriter
  private let report: RunReport
  private let lastStep: Int

  private var state: TrainingState
  private var clock = RunClock()
  private var isSaved = true
  private var isStopped = false
  /// Why an evaluation failed: the run then ends, with a checkpoint, as its training did not.
  private var evaluationFailure: (any Error)?

  /// Checks everything that can be checked before the first step and allocates the model.
  ///
  /// Throws on all ranks alike; nothing is written.
  public init(
    config: RunConfig, options: TrainOptions, communicator: any Communicator,
    progress: Progress
  ) throws {
    let setup = try RunSetup(config, options, communicator: communicator, progress: progress)
    let config = setup.config
    self.config = config
    self.options = options
    self.communicator = communicator
    self.progress = progress
    data = setup.data
    mix = setup.mix
    digest = setup.digest
    fixedSteps = setup.fixedSteps
    folder = setup.folder
    engine = setup.engine
    stop = setup.stop
    state = TrainingState(corpus: setup.digest, origin: Origin.current(commit: options.commit))
    lastStep = options.stopAfterStep ?? config.run.steps
    windows = TrainingWindows(setup.mix, config: config)
    step = try TrainStep(
      config: config, communicator: communicator, engine: engine, stop: stop)
    evaluator = Evaluator(
      config: config, model: step.model, corpora: data.parts, communicator: communicator,
      stop: stop)
    store = CheckpointStore(runFolder: folder)
    writer = CheckpointWriter(
      store, config: config, communicator: communicator, progress: progress, step: step)
    report = RunReport(config, windows: windows, progress: progress, lastStep: lastStep)
  }

  /// Trains until the last step, or until a signal or the time budget asks to stop.
  public func run() throws {
    let runFolder = RunFolder(path: folder, communicator: communicator, progress: progress)
    let lock = try runFolder.take()
    defer { withExtendedLifetime(lock) {} }
    do { state = try start() } catch {
      lock.removeUnused()
      throw error
    }
    report.begins(
      after: state.step, parameters: step.model.layout.parameterCount, ranks: communicator.size,
      threads: engine.pool.threadCount, mix: mix, folder: folder)
    report.metrics = try runFolder.open(config, keepingUpTo: state.step)
    writer.metrics = report.metrics
    do {
      try evaluateWhatIsOwed()
      while state.step < lastStep, !isStopped, evaluationFailure == nil { try takeStep() }
    } catch  where isOfAllRanks(error) {
      // What is being written was whole when it was begun.
      _ = try writer.settle(&state, waiting: true)
      throw error
    }
    try saveTheLast()
    report.ends(
      state, stopped: whoStopped, checkpoint: store.folder(step: state.step), folder: folder)
    if let evaluationFailure { throw evaluationFailure }
  }

  // MARK: The parts of a run in order

  /// Parameters, moments and state to begin with.
  private func start() throws -> TrainingState {
    try agree(communicator) {
      guard communicator.rank == 0 else { return }
      try store.removeLeftovers()
      // Once more now that nobody else writes here: a run that was waited for has left its own.
      try options.requireFresh(folder)
    }
    var state = state
    if let checkpoint = try options.resume.flatMap({
      try Checkpoint.toResume(
        $0, runFolder: folder, communicator: communicator, report: progress.notice)
    }) {
      state = try checkpoint.resume(
        as: config, data: data, fresh: state,
        allowMixedMachines: options.allowMixedMachines, parameters: step.currentParameters(),
        optimizer: step.optimizer, streams: step.streams, communicator: communicator,
        report: progress.notice)
      progress.message("resuming \(checkpoint.folder)")
      try checkpoint.becomeNewest(
        in: store, state: &state, communicator: communicator, report: progress.notice)
    } else {
      if options.resume != nil {
        progress.message("no checkpoint in \(folder) yet; starting at step 1")
      }
      step.model.layout.initialise(try step.currentParameters(), seed: UInt64(config.run.seed))
      if let from = options.from { state.origin?.startedFrom = try start(from: from) }
    }
    state.fixedSteps = fixedSteps
    return state
  }

  /// Begins with the parameters of the checkpoint `path`.
  private func start(from path: String) throws -> Origin.Parent {
    let checkpoint = try Checkpoint.open(path, communicator: communicator, report: progress.notice)
    let parameters = try step.currentParameters()
    let parent = try checkpoint.start(
      config, adapting: options.adaptations, parameters: parameters, communicator: communicator,
      report: progress.message)
    let (old, new) = (checkpoint.config.attention.lsh.sight, config.attention.lsh.sight)
    guard old != new else { return parent }
    var before = config
    (before.attention.lsh.sight, before.attention.lsh.window) = (
      old, checkpoint.config.attention.lsh.window
    )
    for config in [before, config] {
      let evaluator = Evaluator(
        config: config, model: try ReformerModel(config: config.reformer, engine: engine),
        corpora: data.parts, communicator: communicator, stop: stop)
      let score = try evaluator.run(
        parameters: parameters, split: .validation, context: config.data.length,
        stride: config.data.length, limit: config.run.evaluateBytes)
      guard let score else { break }
      progress.message(
        String(format: "validation %.4f bits/byte with attention.lsh.sight = ", score.bitsPerByte)
          + config.attention.lsh.sight.rawValue)
    }
    return parent
  }

  /// Evaluates what an earlier run was stopped before, or in the middle of.
  private func evaluateWhatIsOwed() throws {
    guard state.validationStep != state.step else { return }
    if isDue(config.run.evaluateEvery) || (state.step > 0 && state.step == lastStep) {
      try evaluate()
    }
  }

  private func takeStep() throws {
    let number = state.step + 1
    let result = try step.run(
      step: number,
      objection: { [state, config] loss, norm in
        state.spikes.spike(loss: loss, norm: norm, limit: config.run.spikeDeviations)
      }, progress: report.shares(ofStep: number)
    ) { try windows.window($0) }
    isStopped = result.stopRequested
    guard result.outcome != .abandoned else { return }
    if case .skipped = result.outcome { try windows.requireReadable(communicator) }
    isSaved = false
    clock.step(result.seconds)
    stop.secondsToNextEnd = clock.secondsToNextEnd(checkpoint: writer.seconds)
    // Whatever comes next, what is being written has its chance first.
    _ = try writer.settle(&state, waiting: false)
    let reason = try state.count(result, windows, config)
    report.step(
      result, state: state, skippedFor: reason, typical: clock.typical, isLast: isStopped)
    if isDue(config.run.evaluateEvery) || state.step == lastStep, !isStopped { try evaluate() }
    // The last checkpoint is written at the end. A run that skips step after step should not replace those it can go
    // back to.
    let isSaving =
      isDue(config.run.checkpointEvery) && state.skippedInARow == 0 && state.step < lastStep
    if isSaving || isDue(config.run.replicaCheckEvery) { try compareReplicas() }
    if isSaving { isSaved = try writer.save(&state) }
  }

  /// Scores the validation split; a failure ends the run after its checkpoint.
  private func evaluate() throws {
    let start = ContinuousClock.now
    let score: EvaluationResult?
    var averaged: EvaluationResult?
    let hasAverages = config.optimizer.average > 0 && state.step > 0
    do {
      score = try validate(step.currentParameters())
      if hasAverages, score != nil { averaged = try step.withAverages(validate) }
    } catch  where isOfAllRanks(error) {
      evaluationFailure = error
      return
    }
    guard let score, (averaged != nil) == hasAverages else {
      isStopped = true
      return
    }
    state.validationBitsPerByte = score.bitsPerByte
    state.validationStep = state.step
    isSaved = false
    let seconds = seconds(since: start)
    report.evaluation(
      score, averaged: averaged, sample: try sample(), step: state.step, seconds: seconds)
  }

  /// Text that the model writes, on rank 0; nil on others, and where the config asks for none.
  private func sample() throws -> String? {
    guard config.run.sampleBytes > 0 else { return nil }
    let parameters = try step.currentParameters()
    return try agree(communicator) {
      guard communicator.rank == 0 else { return nil }
      // An engine of its own: between tasks of the run's messages move, which only the run's thread may do.
      let (engine, corpus) = (Engine(threads: 1), data.parts[0].corpus)
      return config.data.task == .pairs
        ? try PairSample(config, corpus: corpus).text(parameters: parameters, engine: engine)
        : try TextSample(config, corpus: corpus).text(parameters: parameters, engine: engine)
    }
  }

  private func validate(_ parameters: View<Float>) throws -> EvaluationResult? {
    try evaluator.run(
      parameters: parameters, split: .validation, context: config.data.length,
      stride: config.data.length, limit: config.run.evaluateBytes,
      progress: report.evaluation(share:))
  }

  /// Ends the run where replicas differ: what was not compared is never saved.
  private func compareReplicas() throws {
    guard config.run.replicaCheckEvery > 0 else { return }
    try checkReplicas(step.currentParameters(), step: state.step, communicator)
  }

  /// Sees to it that there is a checkpoint of the last step.
  private func saveTheLast() throws {
    isSaved = try writer.settle(&state, waiting: true) && isSaved
    guard !isSaved && state.step > 0 else { return }
    try compareReplicas()
    try writer.saveLast(&state)
  }

  /// Who ended the run before its last step; nil where it is done.
  private var whoStopped: String? {
    if evaluationFailure != nil { return "by a failed evaluation" }
    guard isStopped else { return nil }
    return StopSignal.number == 0 && options.stopAfter != nil ? "by --stop-after" : "by a signal"
  }

  private func isDue(_ every: Int) -> Bool {
    state.step > 0 && every > 0 && state.step % every == 0
  }
}
