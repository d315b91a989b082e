// `reformer-train benchmark`: training steps on made-up bytes.
import ArgumentParser
import Foundation
import Training

struct BenchmarkCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "benchmark", abstract: "Time training steps on made-up bytes.")

  @OptionGroup var arguments: ConfigArguments

  @Option(help: "Steps to time, after one that is not timed.")
  var steps = 5

  @Option(help: "Threads (default: run.threads of the config).")
  var threads: Int?

  @Flag(help: "Print one JSON object.")
  var json = false

  @Flag(help: "Print the time of each phase of a step.")
  var phases = false

  func run() throws {
    let config = try arguments.load()
    let threads = threads ?? threadCount(configured: config.run.threads)
    guard steps >= 1, threads >= 1 else {
      throw UserError("--steps \(steps), --threads \(threads); legal values: 1 or more")
    }
    let progress = Progress(rank: 0)
    let report = try runBenchmark(config, steps: steps, threads: threads, progress: progress)
    progress.finish()
    if json { return try printJSON(report) }
    print(
      String(
        format: "L=%d  %d thread(s)  %.0f bytes/s  %.3f s/step (%.3f to %.3f over %d)  "
          + "%.1f useful Gflop/s, %.2f of the FMA limit  %.0f MiB peak", report.length,
        report.threads, report.bytesPerSecond, report.stepSeconds, report.stepSecondsRange[0],
        report.stepSecondsRange[1], report.steps, report.usefulGflops, report.utilization,
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
}
