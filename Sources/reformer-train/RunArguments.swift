// Options that several commands share.
import ArgumentParser
import Training

/// A config file and changes to it.
struct ConfigArguments: ParsableArguments {
  @Option(help: "TOML file of the run.")
  var config: String

  @Option(name: .customLong("set"), help: "Change a key: --set run.steps=100 (repeatable).")
  var overrides: [String] = []

  func load() throws -> RunConfig { try RunConfig.load(file: config, overrides: overrides) }
}
