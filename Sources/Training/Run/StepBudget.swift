// `--minutes`: a run that ends on time. How fast a step is, is tried before the first one; from then on the number
// of steps is fixed, and nothing else depends on the time.
import Checkpointing
import Communication
import Compute
import Corpus
import Foundation

/// What a run's time goes to.
package struct StepBudget {
  /// Seconds of a step of each stage, of an evaluation, of a checkpoint.
  package var step: [Double]
  package var evaluation: Double
  package var checkpoint: Double

  /// All three.
  package init(step: [Double], evaluation: Double, checkpoint: Double) {
    self.step = step
    self.evaluation = evaluation
    self.checkpoint = checkpoint
  }

  /// Left over for steps that are slower than those that were tried.
  private static let margin = 0.03

  /// The most steps that end, evaluations and checkpoints of `config` included, within `seconds`; 0 where none do.
  package func steps(_ config: RunConfig, within seconds: Double) -> Int {
    var (fits, tooMany) = (0, RunSection.stepNumbers.upperBound + 1)
    while tooMany - fits > 1 {
      let middle = (fits + tooMany) / 2
      if time(of: middle, config) <= seconds * (1 - Self.margin) {
        fits = middle
      } else {
        tooMany = middle
      }
    }
    return fits
  }

  /// Seconds of a run of `steps` steps, the last evaluation and checkpoint included.
  package func time(of steps: Int, _ config: RunConfig) -> Double {
    func times(_ every: Int) -> Double {
      Double(1 + (every > 0 ? (steps - 1) / every : 0))
    }
    let saved = config.run.backgroundCheckpoints ? 1 : times(config.run.checkpointEvery)
    var whole = config
    whole.run.steps = steps
    let training = zip(whole.stepPlan.stepCounts, step).reduce(0) { $0 + Double($1.0) * $1.1 }
    return training + times(config.run.evaluateEvery) * evaluation
      + saved * checkpoint
  }

  /// Estimates evaluations and checkpoints from the sizes of `config`, given the seconds of a step of each stage.
  init(
    _ config: RunConfig, step: [Double], validationBytes: Int, parameters: Int, ranks: Int
  ) {
    let limit = config.run.evaluateBytes
    let bytes = limit > 0 ? min(limit, validationBytes) : validationBytes
    let windows = bytes / config.data.length + 1
    // The last stage's windows are as long as those of an evaluation.
    let windowSeconds = (step.last ?? 0) / Double(config.run.globalBatch / ranks)
    // Forward only, and reading and adding up the scores.
    let evaluation = Double((windows + ranks - 1) / ranks) * 0.25 * windowSeconds
    // Parameters and moments, hashed and flushed: a slow disk takes 200 MB/s.
    self.init(
      step: step, evaluation: evaluation, checkpoint: 0.3 + Double(12 * parameters) / 200e6)
  }
}

extension TrainOptions {
  /// The config with the number of steps that `--minutes` stands for, or stood for when the run was begun.
  ///
  /// `measure`: seconds of a step of each stage, tried here for at most so long; `budget`: what the run's time goes
  /// to, given those. All ranks call it.
  func fixingSteps(
    _ config: RunConfig, folder: String, started: ContinuousClock.Instant,
    communicator: any Communicator, progress: Progress, measure: (Double) throws -> [Double],
    budget: ([Double]) -> StepBudget
  ) throws -> (config: RunConfig, fixed: Int?) {
    guard !setsSteps else { return (config, nil) }
    var config = config
    if let earlier = try fixedSteps(folder, communicator) {
      if earlier != config.run.steps {
        progress.message("run.steps = \(earlier), as --minutes fixed it when the run was begun")
      }
      config.run.steps = earlier
      return (config, earlier)
    }
    guard let minutes else { return (config, nil) }
    let limit = minutes * 60
    let step = try measure(min(30, max(1, 0.05 * limit)))
    let left = Double(try communicator.minimum(Int64((limit - seconds(since: started)) * 1e9)))
    let steps = budget(step).steps(config, within: left * 1e-9)
    let times = step.map { String(format: "%.3g s", $0) }.joined(separator: ", later ")
    guard steps >= 1 else {
      throw UserError(
        "--minutes \(minutes): a step takes \(times), with evaluation and checkpoint about "
          + "\(duration(budget(step).time(of: 1, config))); give more minutes")
    }
    config.run.steps = steps
    progress.message(
      "--minutes \(minutes): a step takes \(times), so run.steps = \(steps)"
    )
    if config.optimizer.warmupSteps >= steps {
      progress.warning(
        "optimizer.warmup_steps = \(config.optimizer.warmupSteps) is the whole run")
    }
    return (config, steps)
  }

  /// The number of steps that `--minutes` fixed in the run to go on with; nil where there is none.
  private func fixedSteps(_ folder: String, _ communicator: any Communicator) throws -> Int? {
    guard let resume else { return nil }
    let found = try agree(communicator) { () -> Int in
      guard communicator.rank == 0 else { return 0 }
      let place = resume == "auto" ? folder : resume
      let store = CheckpointStore(runFolder: place)
      let steps = try store.steps().reversed().map { store.folder(step: $0) }
      // What is wrong with a checkpoint, resuming will tell; the number is the same in all of a run.
      for step in [place] + steps {
        guard let state = try? TrainingState(folder: step) else { continue }
        let fixed = state.fixedSteps ?? 0
        return RunSection.stepNumbers.contains(fixed) ? fixed : 0
      }
      // Ended before the first checkpoint: the resolved config has the number.
      let stored = place + "/" + Manifest.configName
      guard minutes != nil, FileManager.default.fileExists(atPath: stored) else { return 0 }
      return (try? RunConfig.load(stored: stored))?.run.steps ?? 0
    }
    let steps = try communicator.maximum(Int64(found))
    return steps > 0 ? Int(steps) : nil
  }
}
