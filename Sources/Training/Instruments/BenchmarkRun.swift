// Training steps on made-up bytes, timed: the figures of `reformer-train benchmark`.
import Communication
import Compute
import Corpus
import Foundation
import Reformer

/// What a benchmark measured on this machine.
public struct BenchmarkReport: Codable, Sendable {
  /// Steps timed, after one that was not.
  public let steps: Int
  /// Positions per window.
  public let length: Int
  /// Threads of the process.
  public let threads: Int
  /// `portable`, `avx2`, `avx512`, `avx512-bf16` or `amx`.
  public let instructionSet: String
  /// How products were computed: by tiles, or OpenBLAS's version and kernel set.
  public let matrixProducts: String
  /// What products with weights read: `fp32` or `bf16`.
  public let precision: String
  /// Training bytes per second, from the median step.
  public let bytesPerSecond: Double
  /// Median step.
  public let stepSeconds: Double
  /// Fastest and slowest step.
  public let stepSecondsRange: [Double]
  /// Useful matrix operations per second, in 1e9 (see `FlopCount`).
  public let usefulGflops: Double
  /// Rate of our products of tiles on large matrices, all threads, in 1e9.
  public let tilesGflops: Double
  /// The same of bf16 numbers.
  public let bf16TilesGflops: Double
  /// The same by the route `amx`, 0 where the processor has no AMX.
  public let amxTilesGflops: Double
  /// That of OpenBLAS.
  public let openblasGflops: Double
  /// Limit of multiply-adds on registers, all threads, in 1e9.
  public let fmaGflops: Double
  /// The same of bf16 numbers, 0 without an instruction for them.
  public let bf16Gflops: Double
  /// The same by AMX, 0 where the processor has none.
  public let amxGflops: Double
  /// `usefulGflops` over the limit of this precision and route: `fmaGflops`, or `bf16Gflops` or `amxGflops` where that is one.
  public let utilization: Double
  /// Largest resident memory of the process.
  public let peakRssBytes: Int
  /// Largest scratch lent at once.
  public let scratchBytes: Int
  /// Where the time of one more step went, most first.
  public let phases: [PhaseReport]
}

extension MachineRates {
  /// What limits the products of a run.
  func limit(_ config: RunConfig) -> Double {
    guard config.model.precision == .bf16 else { return fmaGflops }
    let limit = config.run.matrixProducts == .amx ? amxGflops : bf16Gflops
    return limit > 0 ? limit : fmaGflops
  }
}

/// A part of a step.
public struct PhaseReport: Codable, Sendable {
  /// Name of the `Phase`; `waiting` for threads without a task.
  public let name: String
  /// Seconds, the mean over threads, so that phases add up to the step.
  public let seconds: Double
  /// `seconds` over those of the step.
  public let share: Double
  /// Useful matrix operations, in 1e9 (see `FlopCount`).
  public let usefulGflop: Double
}

/// Times `steps` training steps of `config` in one process, with windows of `data.length`.
public func runBenchmark(
  _ config: RunConfig, steps: Int, threads: Int, progress: Progress
) throws -> BenchmarkReport {
  MatrixProducts.current = config.run.matrixProducts
  let config = config.stageConfigs.last ?? config
  let engine = Engine(threads: threads)
  let step = try TrainStep(config: config, communicator: SoloCommunicator(), engine: engine)
  step.model.layout.initialise(try step.currentParameters(), seed: UInt64(config.run.seed))
  func window(_ sample: Sample) -> Window { config.madeUpWindow(sample.index) }
  let first = { (share: Double) in
    progress.update(
      String(format: "benchmark, untimed step  %.0f %%", share * 100), isMilestone: false)
  }
  _ = try step.run(step: 1, progress: first, window: window)
  var times: [Double] = []
  for number in 0..<steps {
    progress.update("benchmark step \(number + 1)/\(steps)", isMilestone: false)
    times.append(try step.run(step: number + 2, window: window).seconds)
  }
  let peak = peakResidentBytes()
  let rates = MachineRates(engine)
  let median = times.sorted()[times.count / 2]
  let windows = Double(config.run.globalBatch)
  let operations = FlopCount(config.reformer)
  let phases = try phaseReports(engine: engine, windows: windows, operations: operations) {
    try step.run(step: steps + 2, window: window).seconds
  }
  let useful = windows * operations.step / median * 1e-9
  return BenchmarkReport(
    steps: steps, length: config.data.length, threads: threads,
    instructionSet: Kernels.instructionSet, matrixProducts: MatrixProducts.description,
    precision: config.model.precision.rawValue,
    bytesPerSecond: windows * Double(config.data.length) / median, stepSeconds: median,
    stepSecondsRange: [times.min() ?? 0, times.max() ?? 0],
    usefulGflops: useful, tilesGflops: rates.tilesGflops, bf16TilesGflops: rates.bf16TilesGflops,
    amxTilesGflops: rates.amxTilesGflops,
    openblasGflops: rates.openblasGflops, fmaGflops: rates.fmaGflops, bf16Gflops: rates.bf16Gflops,
    amxGflops: rates.amxGflops,
    utilization: useful / rates.limit(config), peakRssBytes: peak,
    scratchBytes: engine.scratchHighWaterBytes,
    phases: phases)
}

/// Times the parts of a step, apart from the steps whose time counts: the clocks cost about a percent.
private func phaseReports(
  engine: Engine, windows: Double, operations: FlopCount, step: () throws -> Double
) rethrows -> [PhaseReport] {
  engine.pool.resetLaps(running: true)
  let total = try step()
  let threads = Double(engine.pool.threadCount)
  let laps = engine.pool.lapSeconds.map { ($0.phase, $0.seconds / threads) }
  engine.pool.resetLaps(running: false)
  let waiting = total - laps.reduce(0) { $0 + $1.1 }
  let reports = laps.map { phase, seconds in
    PhaseReport(
      name: "\(phase)", seconds: seconds, share: seconds / total,
      usefulGflop: windows * operations.phases[phase, default: 0] * 1e-9)
  }
  return
    (reports + [
      PhaseReport(name: "waiting", seconds: waiting, share: waiting / total, usefulGflop: 0)
    ]).sorted { $0.seconds > $1.seconds }
}
