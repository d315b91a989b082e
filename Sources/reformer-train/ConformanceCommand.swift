// `reformer-train conformance`: this implementation against a dump of Hugging Face's.
import ArgumentParser
import Foundation
import Training

struct ConformanceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "conformance",
    abstract: "Compare logits, loss and gradients with a reference dump.")

  @Argument(help: "Folder with config.json, model.safetensors and reference.safetensors.")
  var folder: String

  @Flag(help: "List the difference of each parameter's gradient, the largest first.")
  var verbose = false

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    let report = try runConformance(folder: folder, threads: Placement.alone.threads(configured: 0))
    if json {
      try printJSON(report)
    } else {
      print("\(folder): \(report.passes ? "agrees" : "DIFFERS")")
      print(String(format: "  logits      %.2e (limit 1e-3)", report.maxAbsLogitDifference))
      print(String(format: "  loss        %.2e (limit 1e-4)", report.lossDifference))
      print(
        String(
          format: "  gradients   %.2e relative (limit 2e-3)",
          report.maxRelativeGradientDifference))
      if verbose {
        let parts = report.relativeGradientDifferences.sorted {
          ($1.value, $0.key) < ($0.value, $1.key)
        }
        for (name, difference) in parts { print(String(format: "    %.2e  ", difference) + name) }
      }
    }
    guard report.passes else { throw ExitCode(1) }
  }
}
