// `reformer-train conformance`: this implementation against a dump of Hugging Face's.
import ArgumentParser
import Foundation
import Training

struct ConformanceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "conformance",
    abstract: "Compare logits, loss and gradients with a reference dump, or a training's losses.",
    discussion: """
      With training.safetensors in the folder, the steps written down there are taken here, too, and the difference \
      of every step's losses must be within twice what first values that differ by 1e-6 do to the reference itself.
      """)

  @Argument(
    help:
      "Folder with config.json (or a run's config.toml), model.safetensors, and reference or training.safetensors.",
    completion: .directory)
  var folder: String

  @Flag(help: "List each parameter's gradient, the largest difference first, or each step.")
  var verbose = false

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    let threads = Placement.alone.threads(configured: 0)
    if FileManager.default.fileExists(atPath: folder + "/training.safetensors") {
      let report = try runTrainingConformance(folder: folder, threads: threads)
      if json { try printJSON(report) } else { show(report) }
      guard report.passes else { throw ExitCode(1) }
    } else {
      let report = try runConformance(folder: folder, threads: threads)
      if json { try printJSON(report) } else { show(report) }
      guard report.passes else { throw ExitCode(1) }
    }
  }

  private func show(_ report: ConformanceReport) {
    print("\(folder): \(report.passes ? "agrees" : "DIFFERS")")
    print(String(format: "  logits      %.2e (limit 1e-3)", report.maxAbsLogitDifference))
    print(String(format: "  loss        %.2e (limit 1e-4)", report.lossDifference))
    print(
      String(
        format: "  gradients   %.2e relative (limit 2e-3)", report.maxRelativeGradientDifference))
    guard verbose else { return }
    let parts = report.relativeGradientDifferences.sorted {
      ($1.value, $0.key) < ($0.value, $1.key)
    }
    for (name, difference) in parts { print(String(format: "    %.2e  ", difference) + name) }
  }

  private func show(_ report: TrainingConformanceReport) {
    print("\(folder): \(report.passes ? "agrees" : "DIFFERS") over \(report.lossNats.count) steps")
    print(
      String(
        format: "  largest difference %.2f of the floor at its step (limit 2)",
        report.worstShareOfFloor))
    print("  step  loss here  reference  difference  floor")
    let last = report.lossNats.count
    for step in 1...max(last, 1) where step <= last {
      guard verbose || step == 1 || step % 10 == 0 || step == last else { continue }
      print(
        String(
          format: "  %4d  %9.6f  %9.6f  %10.2e  %.2e", step, report.lossNats[step - 1],
          report.expectedLossNats[step - 1], report.differences[step - 1],
          report.floorNats[step - 1]))
    }
  }
}
