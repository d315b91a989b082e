// `reformer-train evaluate`: bits per byte of a checkpoint on held-out bytes.
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
    abstract: "Score a checkpoint on held-out bytes, alone or as ranks of mpirun.",
    discussion: """
      Two protocols, and the one in use stands beside each figure: "blocks", where windows stand side by side and \
      nothing is carried over (what Reformer papers report; "streams" where layers of kind memory do carry over), and with a --stride below the context "sliding", \
      where each byte sees at least context - stride bytes before it (what Transformer-XL and Longformer report). \
      Either way each byte is scored once.
      """)

  @Argument(help: "Step folder, or run folder for its newest complete step.")
  var checkpoint: String

  @Option(help: "Part of the corpus to score (default: test, or all of --corpus).")
  var split: CorpusSplit?

  @Option(help: "Score this file or folder instead of the corpus that it was trained on.")
  var corpus: String?

  @Option(
    help:
      "Bytes the model sees at once (default: the training length; rotary and infused positions go on past it)."
  )
  var context: Int?

  @Option(help: "Bytes scored per window (default: context, windows side by side).")
  var stride: Int?

  @Option(
    help: "Hash rounds (default: as trained), or a list for a score of each, such as 1,2,4,8.")
  var hashes: String?

  @Option(help: "Score with so many seeds of hash rotations; mean, and their standard deviation.")
  var hashSeeds = 1

  @Option(
    help: """
      Attention that adds nothing, to see what it is worth: lsh, local or full for all layers of the kind, \
      layer:N (from 0) for one; repeatable, or a list with commas.
      """)
  var without: [String] = []

  @Option(help: "Score only so many bytes; 0 for the whole split.")
  var bytes = 0

  @Flag(
    help: "Show also what bytes cost by how many bytes of their window they are predicted from.")
  var positions = false

  @Option(
    help: "With data.task = \"pairs\": write the targets of so many pairs, too, for BLEU and chrF.")
  var targets = 0

  @Option(help: "Targets of a pair that are gone on with side by side, as for translate.")
  var beam = 1

  @Option(help: "How much a beam search prefers longer targets, as for translate.")
  var lengthPenalty = 1.0

  @Flag(help: "Use the averaged parameters (optimizer.average) instead of the last ones.")
  var averaged = false

  @Option(name: .customLong("set"), help: "Change a key of the stored config (repeatable).")
  var overrides: [String] = []

  @Option(help: "Threads of a rank (default: its share of the cores).")
  var threads = 0

  @Flag(help: "Print one JSON object for each number of hash rounds.")
  var json = false

  func run() throws {
    guard MPICommunicator.underLauncher() else { return try evaluate(SoloCommunicator()) }
    try runUnderMPI { try evaluate($0) }
  }

  private func evaluate(_ communicator: any Communicator) throws {
    let progress = Progress(rank: communicator.rank)
    try requireEqual(
      [("program", "\(Program.current)"), ("options", options)], communicator)
    var stored = try Checkpoint.open(
      checkpoint, overrides: overrides, communicator: communicator, report: progress.notice)
    if averaged { stored = try stored.averaged() }
    let (configs, ablation) = try agree(communicator) {
      (
        try checkedConfigs(of: stored),
        try Ablation(Self.list(without.joined(separator: ",")), of: stored.config.model.layers)
      )
    }
    let parts = try corpora(of: stored, communicator, progress)
    let part = split ?? .test
    MatrixProducts.current = stored.config.run.matrixProducts
    let placement = try Placement(communicator)
    let engine = Engine(
      threads: placement.threads(configured: threads), processes: placement.ranksOnCores)
    try stored.withParameters(communicator: communicator) { parameters in
      for (number, config) in configs.enumerated() {
        let context = context ?? config.data.length
        var sizes = config.reformer
        sizes.length = max(sizes.length, context)
        let evaluator = try Evaluator(
          config: config,
          model: ReformerModel(config: sizes, engine: engine, withoutAttention: ablation.layers),
          corpora: parts, communicator: communicator)
        let results = try (0..<hashSeeds).map { seed in
          let done = number * hashSeeds + seed
          let result = try evaluator.run(
            parameters: parameters, split: part, context: context, stride: stride ?? context,
            limit: bytes, hashSeed: seed
          ) { share in
            let all = (Double(done) + share) / Double(configs.count * hashSeeds)
            progress.update("\(part.rawValue) \(Int(all * 100)) %", isMilestone: false)
          }
          guard let result else { throw RunFailure("the evaluation was stopped") }
          return result
        }
        var search = TargetSearch()
        (search.beam, search.lengthPenalty) = (beam, lengthPenalty)
        let written =
          try targets == 0
          ? nil
          : TargetScore(
            of: config, parameters: parameters, corpora: parts, split: part, count: targets,
            search: search, communicator: communicator, engine: engine
          ) { progress.update("targets \(Int($0 * 100)) %", isMilestone: false) }
        progress.finish()
        guard communicator.rank == 0 else { continue }
        let report = EvaluationReport(
          step: stored.step, corpus: corpus, split: corpus != nil && split == nil ? nil : part,
          context: context, stride: stride ?? context, isPairs: config.data.task == .pairs,
          streams: config.reformer.carriedRows > 0 ? config.run.globalBatch : nil,
          averaged: averaged,
          without: ablation.names,
          hashes: config.model.layers.contains(.lsh) ? config.attention.lsh.hashes : nil,
          results: results, targets: written)
        if json { try printJSON(report) } else { print(report.text(positions: positions)) }
      }
    }
  }

  /// What all ranks must be told alike.
  private var options: String {
    let numbers = [bytes, context ?? 0, stride ?? 0, hashSeeds, targets, beam]
    return
      "\(split?.rawValue ?? "") \(corpus ?? "") \(numbers) \(hashes ?? "") \(averaged) \(without) \(overrides) \(lengthPenalty)"
  }

  private static func list(_ text: String) -> [String] {
    text.split(separator: ",").map(String.init)
  }

  /// The stored config, with each number of hash rounds asked for.
  private func checkedConfigs(of stored: Checkpoint) throws -> [RunConfig] {
    let config = stored.config
    let context = context ?? config.data.length
    let isEndless = config.model.positions != .axial
    let longest = isEndless ? ConfigLimits.length : config.data.length
    guard (1...longest).contains(context) else {
      throw UserError(
        "--context \(context); legal values: 1 to \(isEndless ? "" : "data.length, ")\(longest)")
    }
    guard (1...context).contains(stride ?? context) else {
      throw UserError(
        "--stride \(stride ?? context); legal values: 1 to the context, \(context)")
    }
    let isWhole = context == config.data.length && stride ?? context == context
    let task = config.data.task
    guard isWhole || task.isText || (corpus != nil && task != .pairs) else {
      throw UserError(
        "--context \(context), --stride \(stride ?? context); legal values: data.length, \(config.data.length), with "
          + "data.task = \"\(task.rawValue)\"")
    }
    guard stride ?? context == context || config.reformer.carriedRows == 0 else {
      throw UserError(
        "--stride \(stride ?? context); legal values: the context, \(context), where layers of kind memory go on from "
          + "window to window")
    }
    let memory = config.attention.memory
    guard config.reformer.carriedRows == 0 || memory.compressed == 0 || context % memory.ratio == 0
    else {
      throw UserError(
        "--context \(context); legal values: multiples of attention.memory.ratio = \(memory.ratio)")
    }
    guard bytes >= 0, threads >= 0, targets >= 0 else {
      throw UserError(
        "--bytes \(bytes), --threads \(threads), --targets \(targets); legal values: 0 or more")
    }
    guard targets == 0 || (task == .pairs && without.isEmpty) else {
      throw UserError(
        "--targets \(targets); legal values: 0 unless data.task = \"pairs\", and with --without")
    }
    guard (1...1000).contains(hashSeeds) else {
      throw UserError("--hash-seeds \(hashSeeds); legal values: 1 to 1000")
    }
    guard config.model.layers.contains(.lsh) || (hashes == nil && hashSeeds == 1) else {
      throw UserError("--hashes and --hash-seeds change nothing: the model has no lsh layers")
    }
    guard let hashes else { return [config] }
    return try Self.list(hashes).map {
      try stored.config(changedBy: overrides + ["attention.lsh.hashes=\($0)"])
    }
  }

  /// What is scored; all ranks call it.
  private func corpora(
    of stored: Checkpoint, _ communicator: any Communicator, _ progress: Training.Progress
  ) throws -> [MixPart] {
    guard let corpus else {
      return try stored.data(communicator: communicator, progress: progress).parts
    }
    let config = stored.config.reading(corpus, whole: split == nil)
    let data = try agree(communicator) {
      try RunData(config: config, communicator: communicator, progress: progress)
    }
    try requireEqual([("corpus", "\(data.digest())")], communicator)
    return data.parts
  }
}
