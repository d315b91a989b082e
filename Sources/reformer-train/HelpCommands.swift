// `reformer-train help config [KEY]` and `help metrics`: references of the keys of files.
import ArgumentParser
import Training

struct HelpConfigCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reformer-train help config",
    abstract: "Show what the keys of a config mean, their defaults and legal values.")

  @Argument(help: "Only this key or section, such as data.length or attention.lsh.")
  var name: String?

  func run() throws {
    let text = try name.map { try ConfigSection.reference(of: $0) } ?? ConfigSection.reference
    print(text, terminator: "")
  }
}

struct HelpMetricsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reformer-train help metrics",
    abstract: "Show what the keys of metrics.jsonl mean, and their units.")

  func run() { print(MetricKey.reference, terminator: "") }
}
