// The stages of a run: short windows and few of them first, those of `data.length` and `run.global_batch` last.
import Corpus

extension RunConfig {
  /// Bytes that are trained on in their own order.
  public var block: Int { data.block == 0 ? data.length : data.block }

  /// The run's stages, the one of `data.length` last.
  public var stages: [Stage] {
    let schedule = data.lengthSchedule
    let early = schedule.share.indices.map {
      Stage(
        share: schedule.share[$0], length: schedule.length[$0], windows: schedule.windows[$0])
    }
    let rest = 1 - schedule.share.reduce(0, +)
    return early + [Stage(share: rest, length: data.length, windows: run.globalBatch)]
  }

  /// The windows of the run, for people.
  var stageDescription: String {
    if data.task == .pairs {
      return
        "pairs of up to \(data.sourceLength) and \(data.length) bytes, \(run.globalBatch) per step"
    }
    let counts = stepPlan.stepCounts
    return zip(stages, counts).map { stage, count in
      "windows of \(stage.length) bytes, \(stage.windows) per step"
        + (counts.count > 1 ? " for \(count) steps" : "")
    }.joined(separator: ", then ")
  }

  /// What each step of the run trains on.
  public var stepPlan: StepPlan { StepPlan(stages: stages, block: block, steps: run.steps) }

  /// Each stage as a config whose whole run it is, with the same model.
  public var stageConfigs: [RunConfig] {
    stages.map { stage in
      var config = self
      config.data.lengthSchedule = LengthScheduleSection()
      config.data.block = block
      config.data.length = stage.length
      config.run.globalBatch = stage.windows
      return config
    }
  }
}
