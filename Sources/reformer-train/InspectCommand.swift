// `reformer-train inspect`: what a checkpoint holds.
import ArgumentParser
import Foundation
import Training

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Show what a checkpoint holds.")

  @Argument(help: "Step folder, or run folder for its newest complete step.")
  var checkpoint: String

  @Flag(help: "Only verify every file against the manifest; in a run folder, of every step.")
  var verify = false

  @Flag(help: "Print one JSON object.")
  var json = false

  private struct Report: Encodable {
    let folder: String
    let step: Int
    let parametersSha256: String
    let parameters: Int
    let ranks: Int
    let trainedBytes: Int
    let validationBitsPerByte: Double?
    let prequentialBitsPerByte: Double?
  }

  func run() throws {
    if verify && !json { return try verifyAll() }
    // Opening verifies every file.
    let stored = try StoredModel(path: checkpoint)
    if json {
      return try printJSON(
        Report(
          folder: stored.folder, step: stored.step, parametersSha256: stored.parametersSHA256,
          parameters: stored.layout.parameterCount, ranks: stored.ranks,
          trainedBytes: stored.trainedBytes,
          validationBitsPerByte: stored.validationBitsPerByte,
          prequentialBitsPerByte: stored.prequentialBitsPerByte))
    }
    print("\(stored.folder): step \(stored.step), \(stored.trainedBytes) bytes trained on")
    if let bits = stored.validationBitsPerByte {
      print(String(format: "validation %.4f bits/byte", bits))
    }
    if let bits = stored.prequentialBitsPerByte {
      print(String(format: "prequential %.4f bits/byte", bits))
    }
    print("parameters_sha256 \(stored.parametersSHA256)")
    print("\n\(stored.config.toml)")
    for slot in stored.layout.slots { print("\(slot.name)  \(slot.shape)") }
  }

  private func verifyAll() throws {
    var broken: [String] = []
    for (folder, error) in try StoredModel.verify(path: checkpoint) {
      if let error {
        broken.append("\(error)")
      } else {
        print("\(folder): all files are as they were written")
      }
    }
    if !broken.isEmpty { throw UserError(broken.joined(separator: "; ")) }
  }
}
