// `reformer-train evaluate`: bits per byte of a checkpoint on a split of its corpus.
import ArgumentParser
import Attention
import Communication
import Compute
import Corpus
import Foundation
import Reformer
import Training

extension CorpusSplit: ExpressibleByArgument {}
extension AttentionKind: ExpressibleByArgument {}

struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate", abstract: "Score a checkpoint on held-out bytes.")

  @Argument(help: "Step folder, or run folder for its newest complete step.")
  var checkpoint: String

  @Option(help: "Part of the corpus to score.")
  var split = CorpusSplit.test

  @Option(help: "Bytes the model sees at once (default: the training length).")
  var context: Int?

  @Option(help: "Bytes scored per window (default: context, windows side by side).")
  var stride: Int?

  @Option(help: "Hash rounds (default: as trained).")
  var hashes: Int?

  @Option(help: "Leave out the attention layers of a kind, to see what they are worth.")
  var without: AttentionKind?

  @Option(help: "Score only so many bytes; 0 for the whole split.")
  var bytes = 0

  @Option(name: .customLong("set"), help: "Change a key of the stored config (repeatable).")
  var overrides: [String] = []

  @Option(help: "Threads (default: all cores).")
  var threads = 0

  @Flag(help: "Print one JSON object.")
  var json = false

  private struct Report: Encodable {
    let bitsPerByte: Double
    let bytes: Int
    let split: String
    let context: Int
    let stride: Int
    let hashes: Int
    let without: AttentionKind?
    let step: Int
    let corpora: [CorpusScore]?
  }

  func run() throws {
    let hashing = hashes.map { ["attention.lsh.hashes=\($0)"] } ?? []
    let stored = try StoredModel(path: checkpoint, overrides: overrides + hashing)
    if let without { try stored.remove(without) }
    let config = stored.config
    let context = context ?? config.data.length
    let stride = stride ?? context
    guard (1...config.data.length).contains(context) else {
      throw UserError("--context \(context); legal values: 1 to data.length, \(config.data.length)")
    }
    guard (1...context).contains(stride) else {
      throw UserError("--stride \(stride); legal values: 1 to the context, \(context)")
    }
    guard bytes >= 0, threads >= 0 else {
      throw UserError("--bytes \(bytes), --threads \(threads); legal values: 0 or more")
    }
    let progress = Progress(rank: 0)
    let communicator = SoloCommunicator()
    let data = try RunData(config: config, communicator: communicator, progress: progress)
    config.useMatrixLibrary()
    let model = try ReformerModel(
      config: config.reformer, engine: Engine(threads: Placement.alone.threads(configured: threads))
    )
    let score = try Evaluator(
      model: model, corpora: data.parts, communicator: communicator, seed: UInt64(config.run.seed)
    ).run(
      parameters: stored.parameters.view, split: split, context: context, stride: stride,
      limit: bytes
    ) { progress.update("\(split.rawValue) \(Int($0 * 100)) %", isMilestone: false) }
    progress.finish()
    guard let result = score else { throw RunFailure("the evaluation was stopped") }
    if json {
      try printJSON(
        Report(
          bitsPerByte: result.bitsPerByte, bytes: result.bytes, split: split.rawValue,
          context: context, stride: stride, hashes: config.attention.lsh.hashes,
          without: without, step: stored.step, corpora: result.corpora))
    } else {
      for part in result.corpora ?? [] {
        print(
          "step \(stored.step)  \(split.rawValue)  \(part.name)  "
            + String(format: "%.4f bits/byte over %d bytes", part.bitsPerByte, part.bytes))
      }
      print(
        "step \(stored.step)  \(split.rawValue)  "
          + String(format: "%.4f bits/byte over %d bytes", result.bitsPerByte, result.bytes)
          + "  (windows of \(context), \(stride) scored in each)")
    }
  }
}
