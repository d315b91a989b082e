// `reformer-train help config [KEY]`, `help metrics` and `help schema`: references of the keys of files and outputs.
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

struct HelpSchemaCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reformer-train help schema",
    abstract: "Show the JSON Schema of what a command prints with --json.")

  @Argument(help: "Command, such as evaluate or inspect-verify (default: list all).")
  var name: String?

  func run() throws {
    guard let name else {
      return print(OutputSchemas.all.map { $0.schemaName }.joined(separator: "\n"))
    }
    print(try OutputSchemas.text(name))
  }
}
