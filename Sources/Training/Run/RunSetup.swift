// What all ranks agree on before a run takes its folder: data, machines, and how many steps there are.
import Checkpointing
import Communication
import Compute
import Corpus

/// A run that can start, the same on all ranks.
struct RunSetup {
  /// The config with the number of steps that `--minutes` stands for.
  let config: RunConfig
  /// That number; nil where the config says how many steps there are.
  let fixedSteps: Int?
  /// The run folder.
  let folder: String
  let data: RunData
  let mix: CorpusMix
  let digest: CorpusDigest
  let engine: Engine
  let stop: StopRequest

  /// Checks everything that can be checked before the first step.
  ///
  /// Throws on all ranks alike; nothing is written.
  init(
    _ config: RunConfig, _ options: TrainOptions, communicator: any Communicator,
    progress: Progress
  ) throws {
    let started = ContinuousClock.now
    communicator.limitWaits(to: config.run.waitLimitSeconds)
    let folder = options.output ?? "checkpoints/" + config.run.name
    let placement = try Placement(communicator)
    let (data, mix) = try agree(communicator) {
      try config.validate(ranks: communicator.size)
      let data = try RunData(config: config, communicator: communicator, progress: progress)
      let mix = try data.mix()
      try options.check()
      if communicator.rank == 0 { try options.requireFresh(folder) }
      try config.requireMemory(ranks: communicator.size, placement: placement)
      return (data, mix)
    }
    MatrixProducts.current = config.run.matrixProducts
    let threads = placement.threads(configured: config.run.threads)
    if let objection = placement.objection(toThreads: threads) { progress.notice(objection) }
    let engine = Engine(threads: threads, processes: placement.ranksOnCores)
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
      progress.notice("\(difference): parameters depend on which rank computes what")
    }
    let stop = StopRequest(after: options.stopAfter.flatMap(StopRequest.seconds))
    (self.config, fixedSteps) = try options.fixingSteps(
      // Stored with the checkpoints, whose readers may stand elsewhere.
      config.withAbsoluteCorpora(), folder: folder, started: started, communicator: communicator,
      progress: progress,
      measure: { limit in
        let stages = config.stageConfigs
        return try stages.map { stage in
          let windows = TrainingWindows(mix, config: stage)
          return try typicalStepSeconds(
            stage, communicator: communicator, engine: engine, stop: stop,
            limit: limit / Double(stages.count), progress: progress, window: windows.window)
        }
      },
      budget: {
        StepBudget(
          config, step: $0,
          validationBytes: data.parts.reduce(0) { $0 + $1.corpus.range(of: .validation).count },
          parameters: config.reformer.parameterLayout.count, ranks: communicator.size)
      })
    (self.folder, self.data, self.mix) = (folder, data, mix)
    (self.engine, self.stop) = (engine, stop)
  }
}
