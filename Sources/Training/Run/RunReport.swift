// What a run tells: people by messages and the progress line, programs by metrics.jsonl.
import Communication
import Compute
import Corpus
import Foundation

/// The report of one run; only rank 0's is heard.
final class RunReport {
  private let config: RunConfig
  private let windows: TrainingWindows
  private let progress: Progress
  private let lastStep: Int
  /// Where figures go; set once the run folder is open.
  var metrics: MetricsWriter?
  private var plannedBytes: Int?

  init(_ config: RunConfig, windows: TrainingWindows, progress: Progress, lastStep: Int) {
    self.config = config
    self.windows = windows
    self.progress = progress
    self.lastStep = lastStep
  }

  /// The run begins after step `step`.
  func begins(
    after step: Int, parameters: Int, ranks: Int, threads: Int, mix: CorpusMix, folder: String
  ) {
    progress.message(
      "\(amount(Double(parameters), "parameters")), "
        + "\(ranks) rank\(ranks == 1 ? "" : "s") x \(threads) thread\(threads == 1 ? "" : "s"), "
        + "\(Kernels.instructionSet), \(MatrixProducts.description), \(config.model.precision)")
    progress.message(
      "\(mix.description), \(config.stageDescription), "
        + "steps \(step + 1) to \(lastStep), run folder \(folder)")
    plannedBytes = MemoryPlan(config, ranks: ranks, threads: threads).peakRssBytes
    for notice in mix.notices { progress.notice(notice) }
    if let warning = OpenBLAS.environmentWarning { progress.warning(warning) }
    if config.run.matrixProducts == .amx && !InBlocks.isFast {
      progress.notice(
        "no AMX tiles here (\(Kernels.instructionSet)): the same numbers, but slower than fp32")
    } else if config.model.precision == .bf16 && !InPairs.isFast {
      progress.notice(
        "no instruction for bf16 here (\(Kernels.instructionSet)): the same numbers, but no faster than fp32"
      )
    }
    let isRounded = config.run.wire == .bf16 && ranks > 1
    if isRounded {
      progress.notice(
        "run.wire = \"bf16\": each rank's gradients are rounded before they are added, so parameters are those of "
          + "\(ranks) ranks alone")
    }
    for stage in config.stages {
      if !isRounded, !GradientReduction.sameBits(globalBatch: stage.windows, ranks: ranks) {
        progress.notice(
          "\(stage.windows) windows per step / \(ranks) ranks is no power of two, so parameters equal "
            + "those of other rank counts to rounding only")
      }
      if stage.windows < ranks {
        progress.notice(
          "\(ranks - stage.windows) of the \(ranks) ranks wait in steps of \(stage.windows) windows"
        )
      }
    }
  }

  /// Shows how far step `number` is, where a step takes long enough to wonder.
  func shares(ofStep number: Int) -> (Double) -> Void {
    let start = ContinuousClock.now
    return { [progress, lastStep] share in
      let passed = seconds(since: start)
      guard passed > 2 else { return }
      progress.update(
        String(
          format: "step %d/%d  %.0f %% of the step, %@ left of it", number, lastStep, share * 100,
          duration(passed * (1 - share) / share)), isMilestone: false)
    }
  }

  /// A step was applied, or skipped for `reason`; `typical` seconds are what one takes.
  func step(
    _ result: StepResult, state: TrainingState, skippedFor reason: String?, typical: Double,
    isLast: Bool
  ) {
    if let reason { progress.message("step \(state.step) skipped: \(reason)") }
    let bits = result.lossNats / log(2)
    let bytes = Double(windows.byteCount(step: state.step))
    if reason == nil {
      let speed = amount(bytes / typical, "B/s")
      let left = windows.byteCount(after: state.step, through: lastStep)
      let time = duration(typical / bytes * left)
      // Bytes tell how far a run is: steps may be of different lengths.
      let all = windows.byteCount(after: 0, through: lastStep)
      progress.update(
        String(
          format: "step %d/%d  loss %.4f nats  %.3f bits/byte  %@  gradient %.2f  %@ left",
          state.step, lastStep, result.lossNats, bits, speed, result.gradientNorm, time),
        isMilestone: isLast || state.step == lastStep || state.step % config.run.logEvery == 0,
        bar: ProgressBar(
          share: 1 - left / all,
          String(
            format: "step %d/%d  %.3f bits/byte  %@  %@ left  %@", state.step, lastStep, bits,
            speed, time, amount(Double(peakResidentBytes()), "B"))))
    }
    // JSON has no word for what is not finite.
    let finite = { (value: Double) in value.isFinite ? value : nil }
    metrics?.write(
      MetricsRecord(
        step: state.step, lossNats: finite(result.lossNats), bitsPerByte: finite(bits),
        gradientNorm: finite(result.gradientNorm), learningRate: result.learningRate,
        isSkipped: reason == nil ? nil : true, stepSeconds: result.seconds,
        bytesPerSecond: bytes / result.seconds,
        communicationExposedSeconds: result.communicationExposedSeconds,
        slowestRank: result.pace?.slowest, slowestRankSeconds: result.pace?.slowestSeconds,
        meanRankSeconds: result.pace?.meanSeconds,
        peakRssBytes: peakResidentBytes(), plannedRssBytes: plannedBytes,
        trainedBytes: state.trainedBytes,
        prequentialBitsPerByte: state.prequential?.bitsPerByte))
  }

  /// Shows how far an evaluation is.
  func evaluation(share: Double) {
    progress.update(String(format: "validation %.0f %%", share * 100), isMilestone: false)
  }

  /// The validation split has been scored, in so many seconds.
  ///
  /// `averaged`: the score of the averaged parameters, where there are. `sample`: what the model has written, if anything.
  func evaluation(
    _ result: EvaluationResult, averaged: EvaluationResult?, sample: String?, step: Int,
    seconds: Double
  ) {
    progress.message(
      String(
        format: "step %d  validation %.4f bits/byte over %@ in %@", step, result.bitsPerByte,
        amount(Double(result.bytes), "B"), duration(seconds))
        + (result.accuracy.map { String(format: ", accuracy %.2f %%", 100 * $0) } ?? "")
        + (result.corpora ?? []).map { String(format: "; %@ %.4f", $0.name, $0.bitsPerByte) }
        .joined()
        + (averaged.map { String(format: "; averaged weights %.4f", $0.bitsPerByte) } ?? ""))
    metrics?.write(
      MetricsRecord(
        step: step, validationBitsPerByte: result.bitsPerByte,
        validationAccuracy: result.accuracy, averagedValidationBitsPerByte: averaged?.bitsPerByte,
        validationBytes: result.bytes,
        validationSeconds: seconds, validationCorpora: result.corpora,
        validationPositions: result.positions,
        validationHashing: result.hashing.isEmpty ? nil : result.hashing, sample: sample))
  }

  /// The run has ended in order; `stopped` says who asked for it before the last step.
  func ends(_ state: TrainingState, stopped: String?, checkpoint: String, folder: String) {
    let step = state.step
    if let score = state.prequential, let bits = score.bitsPerByte {
      progress.message(
        String(
          format: "prequential %.4f bits/byte over the first epoch's %@", bits,
          amount(score.bytes, "B")))
    }
    if let stopped {
      progress.message("stopped \(stopped) after step \(step); go on with --resume auto")
    }
    if step > 0 { progress.message("done: checkpoint of step \(step) in \(checkpoint)") }
    draw(in: folder)
  }

  /// Draws the run's page; a run does not fail for it.
  private func draw(in folder: String) {
    guard metrics != nil else { return }
    do {
      let path = folder + "/" + RunPage.name
      try RunPage(folders: [folder]).write(to: path)
      progress.message("its curves are in \(path)")
    } catch { progress.warning("no report: \(error)") }
  }
}
