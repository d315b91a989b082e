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

  @Option(
    help: """
      Attention that adds nothing, to see what it is worth: lsh, local or full for all layers of the kind, \
      layer:N (from 0) for one; repeatable, or a list with commas.
      """)
  var without: [String] = []

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
    let without: [String]
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
    try requireEqual(
      [
        ("program", "\(Program.current)"),
        (
          "options",
          "\(split) \(bytes) \(context ?? 0) \(stride ?? 0) \(without) \(overrides + hashing)"
        ),
      ], communicator)
    let stored = try Checkpoint.open(
      checkpoint, overrides: overrides + hashing, communicator: communicator,
      report: progress.notice)
    let config = stored.config
    let ablation = try agree(communicator) {
      try check(config)
      return try Ablation(
        without.flatMap { $0.split(separator: ",").map(String.init) }, of: config.model.layers)
    }
    let data = try stored.data(communicator: communicator, progress: progress)
    let context = context ?? config.data.length
    let stride = stride ?? context
    MatrixProducts.current = config.run.matrixProducts
    let placement = try Placement(communicator)
    let engine = Engine(
      threads: placement.threads(configured: threads), processes: placement.ranksOnCores)
    let evaluator = try Evaluator(
      config: config,
      model: ReformerModel(
        config: config.reformer, engine: engine, withoutAttention: ablation.layers),
      corpora: data.parts, communicator: communicator)
    let score = try stored.withParameters(communicator: communicator) { parameters in
      try evaluator.run(
        parameters: parameters, split: split, context: context, stride: stride, limit: bytes
      ) { progress.update("\(split.rawValue) \(Int($0 * 100)) %", isMilestone: false) }
    }
    progress.finish()
    guard let score else { throw RunFailure("the evaluation was stopped") }
    guard communicator.rank == 0 else { return }
    try show(
      Report(
        bitsPerByte: score.bitsPerByte, bytes: score.bytes, split: split.rawValue,
        context: context, stride: stride, hashes: config.attention.lsh.hashes,
        without: ablation.names, step: stored.step, corpora: score.corpora))
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
    var place = "step \(report.step)  \(report.split)  "
    if !report.without.isEmpty {
      place += "without \(report.without.joined(separator: ", "))  "
    }
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
