// `reformer-train evaluate`: bits per byte of a checkpoint on a split of its corpus.
import ArgumentParser
import Communication
import Compute
import Corpus
import Foundation
import Reformer
import Training

extension CorpusSplit: ExpressibleByArgument {}

struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate",
    abstract: "Score a checkpoint on held-out bytes, alone or as ranks of mpirun.")

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

  @Option(help: "Score only so many bytes; 0 for the whole split.")
  var bytes = 0

  @Option(name: .customLong("set"), help: "Change a key of the stored config (repeatable).")
  var overrides: [String] = []

  @Option(help: "Threads of a rank (default: its share of the cores).")
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
    let step: Int
    let corpora: [CorpusScore]?
  }

  func run() throws {
    guard MPICommunicator.underLauncher() else { return try evaluate(SoloCommunicator()) }
    try runUnderMPI { try evaluate($0) }
  }

  private func evaluate(_ communicator: any Communicator) throws {
    let progress = Progress(rank: communicator.rank)
    let hashing = hashes.map { ["attention.lsh.hashes=\($0)"] } ?? []
    let (stored, data) = try agree(communicator) {
      let stored = try StoredModel(path: checkpoint, overrides: overrides + hashing)
      try check(stored.config)
      return (
        stored,
        try RunData(config: stored.config, communicator: communicator, progress: progress)
      )
    }
    let config = stored.config
    try requireEqual(
      [
        ("program version", programVersion), ("parameters", stored.parametersSHA256),
        ("options", "\(split) \(bytes) \(context ?? 0) \(stride ?? 0) \(overrides + hashing)"),
      ], communicator)
    let context = context ?? config.data.length
    let stride = stride ?? context
    MatrixProducts.current = config.run.matrixProducts
    let placement = try Placement(communicator)
    let engine = Engine(
      threads: placement.threads(configured: threads), processes: placement.ranksOnCores)
    let score = try Evaluator(
      config: config, model: ReformerModel(config: config.reformer, engine: engine),
      corpora: data.parts, communicator: communicator
    ).run(
      parameters: stored.parameters.view, split: split, context: context, stride: stride,
      limit: bytes
    ) { progress.update("\(split.rawValue) \(Int($0 * 100)) %", isMilestone: false) }
    progress.finish()
    guard let score else { throw RunFailure("the evaluation was stopped") }
    guard communicator.rank == 0 else { return }
    try show(
      Report(
        bitsPerByte: score.bitsPerByte, bytes: score.bytes, split: split.rawValue,
        context: context, stride: stride, hashes: config.attention.lsh.hashes,
        step: stored.step, corpora: score.corpora))
  }

  private func check(_ config: RunConfig) throws(UserError) {
    let context = context ?? config.data.length
    guard (1...config.data.length).contains(context) else {
      throw UserError("--context \(context); legal values: 1 to data.length, \(config.data.length)")
    }
    guard (1...context).contains(stride ?? context) else {
      throw UserError(
        "--stride \(stride ?? context); legal values: 1 to the context, \(context)")
    }
    guard bytes >= 0, threads >= 0 else {
      throw UserError("--bytes \(bytes), --threads \(threads); legal values: 0 or more")
    }
  }

  private func show(_ report: Report) throws {
    if json { return try printJSON(report) }
    let place = "step \(report.step)  \(report.split)  "
    for part in report.corpora ?? [] {
      print(
        place + "\(part.name)  "
          + String(format: "%.4f bits/byte over %d bytes", part.bitsPerByte, part.bytes))
    }
    print(
      place + String(format: "%.4f bits/byte over %d bytes", report.bitsPerByte, report.bytes)
        + "  (windows of \(report.context), \(report.stride) scored in each)")
  }
}
