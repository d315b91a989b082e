// `reformer-train benchmark`: training steps on made-up bytes, or the exchange between ranks.
import ArgumentParser
import Communication
import Foundation
import Training

struct BenchmarkCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "benchmark",
    abstract: "Time training steps on made-up bytes, or with --reduction the sum over ranks.")

  @Option(help: "TOML file of the run; needed for training steps.")
  var config: String?

  @Option(name: .customLong("set"), help: "Change a key: --set data.length=1024 (repeatable).")
  var overrides: [String] = []

  @Option(help: "Steps to time, after one that is not timed.")
  var steps = 5

  @Option(help: "Threads (default: run.threads of the config).")
  var threads: Int?

  @Flag(help: "Under mpirun: time the sum of --floats numbers over all ranks beside MPI_Allreduce.")
  var reduction = false

  @Option(help: "Numbers to sum with --reduction.")
  var floats = 64 << 20

  @Flag(help: "Print one JSON object.")
  var json = false

  @Flag(help: "Print the time of each phase of a step.")
  var phases = false

  func run() throws {
    if reduction { return try runReduction() }
    guard let file = config else {
      throw UserError(
        "benchmark needs --config FILE for training steps, or --reduction under mpirun")
    }
    let config = try RunConfig.load(file: file, overrides: overrides)
    let threads = threads ?? Placement.alone.threads(configured: config.run.threads)
    guard steps >= 1, threads >= 1 else {
      throw UserError("--steps \(steps), --threads \(threads); legal values: 1 or more")
    }
    let progress = Progress(rank: 0)
    let report = try runBenchmark(config, steps: steps, threads: threads, progress: progress)
    progress.finish()
    if json { return try printJSON(report) }
    print(
      String(
        format: "L=%d  %d thread(s)  %@  %.0f bytes/s  %.3f s/step (%.3f to %.3f over %d)  "
          + "%.1f useful Gflop/s, %.2f of the limit (fp32 %.0f, bf16 %.0f, AMX %.0f; large products: %.0f, %.0f "
          + "and %.0f by tiles, %.0f by OpenBLAS)  %.0f MiB peak", report.length,
        report.threads, report.precision, report.bytesPerSecond, report.stepSeconds,
        report.stepSecondsRange[0],
        report.stepSecondsRange[1], report.steps, report.usefulGflops, report.utilization,
        report.fmaGflops, report.bf16Gflops, report.amxGflops, report.tilesGflops,
        report.bf16TilesGflops, report.amxTilesGflops, report.openblasGflops,
        Double(report.peakRssBytes) / 1_048_576))
    guard phases else { return }
    print("  phase                    s    share  useful Gflop   Gflop/s")
    for phase in report.phases where phase.seconds > 0 {
      let figures = String(format: "%8.4f  %5.1f %%", phase.seconds, 100 * phase.share)
      let rate =
        phase.usefulGflop > 0
        ? String(
          format: "  %12.2f  %8.1f", phase.usefulGflop, phase.usefulGflop / phase.seconds) : ""
      print("  " + phase.name.padding(toLength: 18, withPad: " ", startingAt: 0) + figures + rate)
    }
  }

  private func runReduction() throws {
    guard floats >= 1, steps >= 1 else {
      throw UserError("--floats \(floats), --steps \(steps); legal values: 1 or more")
    }
    guard MPICommunicator.underLauncher() else {
      throw UserError("--reduction compares ranks; start it with mpirun -np 2 or more")
    }
    try runUnderMPI { communicator in
      // A link that is slower than 1 MB/s is as good as none.
      communicator.limitWaits(
        to: RunSection.usualWaitLimit, orOwnWork: 4e-6 * Double(floats))
      let progress = Progress(rank: communicator.rank)
      let report = try measureReduction(
        floats: floats, rounds: steps, communicator: communicator,
        sumByMPI: communicator.sumByMPI, progress: progress)
      progress.finish()
      guard communicator.rank == 0 else { return }
      if json { return try printJSON(report) }
      print(
        String(
          format: "%d ranks  %d floats  %.4f s (best %.4f), MPI_Allreduce %.4f s (best %.4f): "
            + "%.2f times as fast", report.ranks, report.floats, report.reductionSecondsMedian,
          report.reductionSeconds, report.allreduceSecondsMedian, report.allreduceSeconds,
          report.ratio))
    }
  }
}
