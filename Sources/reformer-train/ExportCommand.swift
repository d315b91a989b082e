// `reformer-train export`: a checkpoint's model for Hugging Face's transformers.
import ArgumentParser
import Training

struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Write a checkpoint's model as a folder that transformers reads.",
    discussion: """
      The folder has config.json, model.safetensors and a model card, README.md. Models that Hugging Face's \
      Reformer cannot express are refused by name. import reads the folder again, to the same parameters.
      """)

  @Argument(help: "Step folder, or run folder for its newest complete step.")
  var checkpoint: String

  @Option(
    help: ArgumentHelp("Folder to make.", valueName: "folder"), completion: .directory)
  var to: String

  @Flag(help: "Write the averaged parameters (optimizer.average) instead of the last ones.")
  var averaged = false

  @OptionGroup var changes: ConfigChanges

  func run() throws {
    var found = try Checkpoint.open(
      checkpoint, overrides: changes.overrides, report: Progress(rank: 0).notice)
    if averaged { found = try found.averaged() }
    try found.export(to: to)
    print("\(found.folder): step \(found.step) exported to \(to)")
    print("parameters_sha256 \(try found.parametersSHA256())")
  }
}
