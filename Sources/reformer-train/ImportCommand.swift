// `reformer-train import`: a Reformer of Hugging Face's transformers as a checkpoint.
import ArgumentParser
import Training

struct ImportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import",
    abstract: "Make a checkpoint of a folder that transformers has saved.",
    discussion: """
      The checkpoint has the parameters, no moments and no corpus: start a training from it with train --from, score \
      it with evaluate --set data.corpus=PATH.
      """)

  @Argument(
    help: "Folder with config.json and model.safetensors.", completion: .directory)
  var folder: String

  @Option(
    help: ArgumentHelp("Checkpoint to make.", valueName: "folder"), completion: .directory)
  var to: String

  @Option(
    help: ArgumentHelp(
      "Token id of byte 0 (default: byte_offset of config.json, or 0 where there are 256 tokens).",
      valueName: "number"))
  var byteOffset: Int?

  func run() throws {
    let model = try ImportedModel(
      folder: folder, byteOffset: byteOffset, notice: Progress(rank: 0).notice)
    try model.write(to: to, commit: builtFromCommit)
    print("\(folder): imported to \(to)")
    print("parameters_sha256 \(model.parametersSHA256)")
  }
}
