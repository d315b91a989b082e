// Options that several commands share.
import ArgumentParser
import Training

/// A config file and changes to it.
struct ConfigArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp("TOML file of the run.", valueName: "file"),
    completion: .file(extensions: ["toml"]))
  var config: String

  @OptionGroup var changes: ConfigChanges

  func load() throws -> RunConfig {
    try RunConfig.load(file: config, overrides: changes.overrides)
  }
}

/// `--set`.
struct ConfigChanges: ParsableArguments {
  @Option(
    name: .customLong("set"),
    help: ArgumentHelp(
      "Change a key of the config: --set run.steps=100 (repeatable; help config lists them).",
      valueName: "key=value"),
    completion: .list(ConfigKey.all.map { $0.name + "=" }))
  var overrides: [String] = []
}
