// `reformer-train inspect`: what a checkpoint holds.
import ArgumentParser
import Corpus
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

  struct Report: Codable {
    let folder: String
    let step: Int
    let parametersSha256: String
    /// Of the averaged parameters, where there are.
    let averagedParametersSha256: String?
    let parameters: Int
    let ranks: Int
    let trainedBytes: Int
    let validationBitsPerByte: Double?
    let prequentialBitsPerByte: Double?
    let corpus: CorpusDigest
    let origin: Origin?
    let skipped: [String]
  }

  struct Verification: Codable {
    struct Step: Codable {
      let folder: String
      let problem: String?
    }
    let steps: [Step]
  }

  func run() throws {
    if verify { return try verifyAll() }
    // Opening verifies every file.
    let found = try Checkpoint.open(checkpoint, report: Progress(rank: 0).notice)
    let state = found.state
    let digest = try found.parametersSHA256()
    let averaged =
      found.config.optimizer.average > 0 ? try found.averaged().parametersSHA256() : nil
    if json {
      return try printJSON(
        Report(
          folder: found.folder, step: found.step, parametersSha256: digest,
          averagedParametersSha256: averaged,
          parameters: found.layout.parameterCount, ranks: found.manifest.ranks,
          trainedBytes: state.trainedBytes, validationBitsPerByte: state.validationBitsPerByte,
          prequentialBitsPerByte: state.prequential?.bitsPerByte, corpus: state.corpus,
          origin: state.origin, skipped: found.skipped))
    }
    print("\(found.folder): step \(found.step), \(state.trainedBytes) bytes trained on")
    if let bits = state.validationBitsPerByte {
      print(String(format: "validation %.4f bits/byte", bits))
    }
    if let bits = state.prequential?.bitsPerByte {
      print(String(format: "prequential %.4f bits/byte", bits))
    }
    print("parameters_sha256 \(digest)")
    if let averaged { print("averaged_parameters_sha256 \(averaged)") }
    print("corpus \(state.corpus)")
    if let origin = state.origin { print(origin.description) }
    print("\n\(found.config.toml)")
    for slot in found.layout.slots { print("\(slot.name)  \(slot.shape)") }
  }

  /// Ends with an error where any step is broken, in either form.
  private func verifyAll() throws {
    let steps = try Checkpoint.verify(path: checkpoint)
    if json {
      try printJSON(
        Verification(
          steps: steps.map { Verification.Step(folder: $0, problem: $1.map { "\($0)" }) }))
    } else {
      for (folder, error) in steps where error == nil {
        print("\(folder): all files are as they were written")
      }
    }
    let broken = steps.compactMap { $0.error.map { "\($0)" } }
    if !broken.isEmpty { throw UserError(broken.joined(separator: "; ")) }
  }
}
