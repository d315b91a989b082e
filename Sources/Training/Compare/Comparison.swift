// A comparison from start to end: each run in turn, trained and scored like any other, and what all of them come to.
import Checkpointing
import Communication
import Compute
import Corpus
import Foundation
import Reformer

/// The runs of a comparison, on one rank.
///
/// All ranks make one and call `run`.
public struct Comparison {
  private let spec: CompareSpec
  private let configs: [RunConfig]
  private let communicator: any Communicator
  private let progress: Progress
  private let commit: String?

  /// The page about all runs, in the folder of the comparison.
  package static let pageName = "compare.html"
  /// What a run came to, in its folder; where it is, the run is done.
  static let scoreName = "test.json"

  /// Checks all that can be checked before the first run starts.
  ///
  /// `commit`: that of the program, for the record. Throws on all ranks alike; nothing is written.
  public init(
    _ spec: CompareSpec, commit: String?, communicator: any Communicator, progress: Progress
  ) throws {
    (self.spec, self.commit) = (spec, commit)
    (self.communicator, self.progress) = (communicator, progress)
    let placement = try Placement(communicator)
    configs = try agree(communicator) {
      try spec.runs.map { run in
        do {
          let config = try spec.config(of: run)
          try config.validate(ranks: communicator.size)
          _ = try RunData(config: config, communicator: communicator, progress: progress).mix()
          try config.requireMemory(ranks: communicator.size, placement: placement)
          if communicator.rank == 0 { try spec.requireSame(config, as: run) }
          return config
        } catch {
          throw UserError("variant \(run.variant.name): \(error)")
        }
      }
    }
    try requireEqual([("comparison", "\(spec)")], communicator)
  }

  /// Trains and scores what is not done yet; nil where a signal ended it before all was.
  ///
  /// Rank 0 has the report, and has written the page about it.
  public func run() throws -> CompareReport? {
    for (index, (run, config)) in zip(spec.runs, configs).enumerated() {
      guard try !isDone(run) else { continue }
      progress.message("run \(index + 1) of \(spec.runs.count): \(run.name)")
      guard try untilStopped({ try train(run, config) }, { try score(run) }) else {
        progress.message("stopped; the same command goes on with \(run.name)")
        return nil
      }
    }
    return try agree(communicator) {
      guard communicator.rank == 0 else { return CompareReport(budgets: []) }
      let done = try spec.runs.map { try FinishedRun($0, folder: folder($0)) }
      let report = CompareReport(spec, done)
      var page = try RunPage(folders: spec.runs.map(folder))
      page.lead = report.html
      try page.write(to: spec.output + "/" + Self.pageName)
      return report
    }
  }

  /// Does one part after the other unless a signal comes, and says whether all are done.
  private func untilStopped(_ parts: () throws -> Void...) throws -> Bool {
    for part in parts {
      var failure: (any Error)?
      do { try part() } catch  where isOfAllRanks(error) { failure = error }
      // What a signal ends before the first step, or while the test split is scored, fails.
      guard try communicator.maximum(StopSignal.number == 0 ? 0 : 1) == 0 else { return false }
      if let failure { throw failure }
    }
    return true
  }

  private func folder(_ run: CompareSpec.Run) -> String { spec.output + "/" + run.name }

  private func isDone(_ run: CompareSpec.Run) throws -> Bool {
    let path = folder(run) + "/" + Self.scoreName
    let isDone = communicator.rank == 0 && FileManager.default.fileExists(atPath: path)
    return try communicator.maximum(isDone ? 1 : 0) > 0
  }

  /// Trains a run to its end, or to a signal.
  private func train(_ run: CompareSpec.Run, _ config: RunConfig) throws {
    // Each run tells of its own memory; where the kernel does not forget the peak before, of the largest so far.
    try? Data("5".utf8).write(to: URL(fileURLWithPath: "/proc/self/clear_refs"))
    var options = TrainOptions(resume: "auto", output: folder(run), commit: commit)
    switch run.budget {
    case .bytes: options.setsSteps = true
    case .seconds(let seconds): options.minutes = Double(seconds) / 60
    }
    try Trainer(
      config: config, options: options, communicator: communicator, progress: progress
    ).run()
  }

  /// Scores the test split with the run's last parameters, and puts that down.
  private func score(_ run: CompareSpec.Run) throws {
    let checkpoint = try Checkpoint.open(
      folder(run), communicator: communicator, report: progress.notice)
    let (config, context) = (checkpoint.config, checkpoint.config.data.length)
    let parts = try checkpoint.data(communicator: communicator, progress: progress).parts
    MatrixProducts.current = config.run.matrixProducts
    let placement = try Placement(communicator)
    let engine = Engine(
      threads: placement.threads(configured: config.run.threads),
      processes: placement.ranksOnCores)
    let result = try checkpoint.withParameters(communicator: communicator) { parameters in
      try Evaluator(
        config: config, model: ReformerModel(config: config.reformer, engine: engine),
        corpora: parts, communicator: communicator
      ).run(
        parameters: parameters, split: .test, context: context, stride: context,
        limit: spec.testBytes
      ) { progress.update("test \(Int($0 * 100)) %", isMilestone: false) }
    }
    progress.finish()
    guard let result else { throw RunFailure("the evaluation was stopped") }
    try agree(communicator) {
      guard communicator.rank == 0 else { return }
      let score = TestScore(bitsPerByte: result.bitsPerByte, positions: result.positions)
      let path = folder(run) + "/" + Self.scoreName
      do {
        try SmallFile.replace(path, with: Array(JSONEncoder().encode(score)))
      } catch {
        throw UserError("\(path): cannot be written (\(error)); mend the folder")
      }
    }
  }
}

/// What the test split says of a run.
struct TestScore: Codable {
  let bitsPerByte: Double
  let positions: [PositionScore]
}

extension CompareSpec {
  /// The config of a run.
  func config(of run: Run) throws(ConfigError) -> RunConfig {
    var changes = run.variant.changes + ["run.seed=\(run.seed)"]
    if case .bytes(let bytes) = run.budget {
      let plan = try RunConfig.load(file: base, overrides: changes)
      changes.append("run.steps=\(plan.steps(forBytes: Double(bytes)))")
    }
    return try RunConfig.load(file: base, overrides: changes)
  }

  /// Throws a `UserError` where the folder of `run` holds a run of another config.
  func requireSame(_ config: RunConfig, as run: Run) throws {
    let folder = output + "/" + run.name
    let path = folder + "/" + Manifest.configName
    guard FileManager.default.fileExists(atPath: path) else { return }
    let stored = try RunConfig.load(stored: path)
    let config = config.withAbsoluteCorpora()
    for key in ConfigKey.all where !key.name.hasPrefix("run.") {
      guard key.get(config) == key.get(stored) else {
        throw UserError(
          "\(folder) holds a run with \(key.name) = \(key.get(stored).toml), here it is "
            + "\(key.get(config).toml); name another output, or another variant")
      }
    }
  }
}

extension RunConfig {
  /// The number of steps of a run whose bytes come closest to `bytes`, stages and all.
  fileprivate func steps(forBytes bytes: Double) -> Int {
    func trained(_ steps: Int) -> Double {
      var config = self
      config.run.steps = steps
      return config.stepPlan.bytes(steps: steps)
    }
    var (few, many) = (0, RunSection.stepNumbers.upperBound)
    while many - few > 1 {
      let middle = (few + many) / 2
      if trained(middle) <= bytes { few = middle } else { many = middle }
    }
    return few > 0 && bytes - trained(few) <= trained(many) - bytes ? few : many
  }
}
