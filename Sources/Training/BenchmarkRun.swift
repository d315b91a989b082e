// Training steps on made-up bytes, timed: the figures of `reformer-train benchmark`.
import Communication
import Compute
import Corpus
import Foundation

/// What a benchmark measured on this machine.
public struct BenchmarkReport: Codable, Sendable {
  /// Steps timed, after one that was not.
  public let steps: Int
  /// Positions per window.
  public let length: Int
  /// Threads of the process.
  public let threads: Int
  /// `scalar`, `avx2` or `avx512`.
  public let instructionSet: String
  /// Library behind matrix products.
  public let matrixLibrary: String
  /// Training bytes per second, from the median step.
  public let bytesPerSecond: Double
  /// Median step.
  public let stepSeconds: Double
  /// Fastest and slowest step.
  public let stepSecondsRange: [Double]
  /// Useful matrix operations per second, in 1e9 (see `FlopCount`).
  public let usefulGflops: Double
  /// Rate of the matrix library on large products, all threads, in 1e9.
  public let sgemmGflops: Double
  /// Limit of multiply-adds on registers, all threads, in 1e9.
  public let fmaGflops: Double
  /// `usefulGflops` over `fmaGflops`.
  public let utilization: Double
  /// Largest resident memory of the process.
  public let peakRssBytes: Int
  /// Largest scratch lent at once.
  public let scratchBytes: Int
  /// Mean seconds per step of each phase.
  public let phases: [String: Double]
}

/// Times `steps` training steps of `config` in one process.
public func runBenchmark(
  _ config: RunConfig, steps: Int, threads: Int, progress: Progress
) throws -> BenchmarkReport {
  config.useMatrixLibrary()
  let engine = Engine(threads: threads)
  let step = TrainStep(config: config, communicator: SoloCommunicator(), engine: engine)
  config.reformer.initialise(
    step.parameters.view, layout: step.model.layout, seed: UInt64(config.run.seed))
  func batch(_ sample: Int) -> Batch {
    Batch(
      bytes: SyntheticTasks.uniformBytes(
        seed: UInt64(config.run.seed), index: sample, count: config.data.length + 1),
      byteOffset: config.model.byteOffset)
  }
  _ = try step.run(step: 1, batch: batch)
  engine.phases.reset()
  var times: [Double] = []
  for number in 0..<steps {
    progress.update("benchmark step \(number + 1)/\(steps)", isMilestone: false)
    times.append(try step.run(step: number + 2, batch: batch).seconds)
  }
  let peak = peakResidentBytes()
  let rates = MachineRates(engine)
  let median = times.sorted()[times.count / 2]
  let windows = Double(config.run.globalBatch)
  let useful = windows * FlopCount(config.reformer).step / median * 1e-9
  let phases = engine.phases.seconds.map { ($0.phase.rawValue, $0.seconds / Double(steps)) }
  return BenchmarkReport(
    steps: steps, length: config.data.length, threads: threads,
    instructionSet: Kernels.instructionSet, matrixLibrary: MatrixLibrary.description,
    bytesPerSecond: windows * Double(config.data.length) / median, stepSeconds: median,
    stepSecondsRange: [times.min() ?? 0, times.max() ?? 0],
    usefulGflops: useful, sgemmGflops: rates.sgemmGflops, fmaGflops: rates.fmaGflops,
    utilization: useful / rates.fmaGflops, peakRssBytes: peak,
    scratchBytes: engine.scratchHighWaterBytes,
    phases: Dictionary(uniqueKeysWithValues: phases))
}
