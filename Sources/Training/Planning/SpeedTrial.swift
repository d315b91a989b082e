// How long a step takes here, found by trying: whole steps on a model of its own that is thrown away, so that no bit
// of a run depends on it.
import Communication
import Compute
import Corpus
import Reformer

/// Seconds of a step of `config`, the same number on all ranks: the median of a few, after one that is not
/// timed where there is time for more.
///
/// `limit`: seconds after which no other step is begun. `window` gives the tokens of a sample.
func typicalStepSeconds(
  _ config: RunConfig, communicator: any Communicator, engine: Engine, stop: StopRequest,
  limit: Double, progress: Progress, window: (Sample) throws -> Window
) throws -> Double {
  let step = try TrainStep(config: config, communicator: communicator, engine: engine, stop: stop)
  step.model.layout.initialise(try step.currentParameters(), seed: UInt64(config.run.seed))
  var times: [Double] = []
  repeat {
    let number = times.count + 1
    let report = { (_: Double) in
      progress.update("measuring the speed, step \(number)", isMilestone: false)
    }
    let result = try step.run(step: number, progress: report, window: window)
    guard !result.stopRequested else {
      throw RunFailure("stopped while the speed was measured; nothing is trained yet")
    }
    // All ranks must try as often, and the slowest sets the pace.
    times.append(Double(try communicator.maximum(Int64(result.seconds * 1e9))) * 1e-9)
  } while times.count < 100 && times.reduce(0, +) + (times.last ?? 0) < limit
  // The other ranks' parameters may still be on their way.
  _ = try step.currentParameters()
  progress.finish()
  let counted = times.count > 1 ? Array(times.dropFirst()) : times
  return counted.sorted()[counted.count / 2]
}

/// Measures a window of `config` on one rank with `threads` threads, and copying, for `StepTime`.
public func measureSpeed(
  _ config: RunConfig, threads: Int, progress: Progress
) throws -> (windowSeconds: Double, copyBytesPerSecond: Double) {
  MatrixProducts.current = config.run.matrixProducts
  var config = config
  config.run.globalBatch = 1
  let engine = Engine(threads: threads)
  let seconds = try typicalStepSeconds(
    config, communicator: SoloCommunicator(), engine: engine, stop: StopRequest(), limit: 10,
    progress: progress
  ) { config.madeUpWindow($0.index) }
  return (seconds, copyRate(engine))
}
