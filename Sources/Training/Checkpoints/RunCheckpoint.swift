// Saving and resuming a run over all ranks: each rank writes its moments, rank 0 the rest; the step
// folder appears complete or not at all (CheckpointStore).
import Checkpointing
import Communication
import Compute
import Corpus
import Foundation
import Optimizers

/// Writes and reads the checkpoints of one run.
struct RunCheckpoint {
  let store: CheckpointStore
  let communicator: any Communicator
  let config: RunConfig
  let layout: ParameterLayout

  static let configName = "config.toml"
  static let huggingFaceName = "config.json"

  /// Writes the checkpoint of `state.step`.
  ///
  /// All ranks call it; all throw `RunFailure` if one fails, and nothing of it is left.
  func save(_ content: CheckpointContent, ranges: [Range<Int>]) throws {
    try begin(step: content.state.step)
    try finish(content.state) { try files(ranges: ranges).write(content) }
  }

  /// Makes the folder for the files; all ranks call it.
  func begin(step: Int) throws {
    try agreeOnWriting(step) { if communicator.rank == 0 { try store.begin(step: step) } }
  }

  /// What this rank, which owns `ranges` of the moments, writes.
  func files(ranges: [Range<Int>]) -> CheckpointFiles {
    CheckpointFiles(
      store: store, config: config, layout: layout, ranges: ranges, rank: communicator.rank,
      ranks: communicator.size)
  }

  /// Makes what all ranks have written, or `write` now, a checkpoint, and removes those no longer kept; all ranks
  /// call it.
  func finish(_ state: TrainingState, _ write: () throws -> [FileDigest]) throws {
    let own = try agreeOnWriting(state.step, nil, write)
    let all = try communicator.gatherAll(Array(JSONEncoder().encode(own))).flatMap {
      try JSONDecoder().decode([FileDigest].self, from: Data($0))
    }
    try agreeOnWriting(state.step) {
      guard communicator.rank == 0 else { return }
      try store.commit(
        Manifest(
          step: state.step, ranks: communicator.size,
          configSHA256: SHA256.digits(of: config.toml.utf8), files: all))
    }
    try agreeOnWriting(
      state.step, "checkpoint of step \(state.step) is written, but older ones are in its way"
    ) {
      guard communicator.rank == 0 else { return }
      if config.run.keepBest, state.bestStep == state.step { try store.markBest(step: state.step) }
      try store.removeOld(keep: config.run.keep, upTo: state.step) { step in
        (config.run.keepBest && step == state.bestStep)
          || (config.run.keepEvery > 0 && step % config.run.keepEvery == 0)
      }
    }
  }

  @discardableResult
  private func agreeOnWriting<Result>(
    _ step: Int, _ trouble: String? = nil, _ body: () throws -> Result
  ) throws -> Result {
    do {
      return try agree(communicator, body)
    } catch let error as CommunicationError {
      throw error
    } catch {
      if communicator.rank == 0 { store.discard(step: step) }
      throw RunFailure(
        "\(trouble ?? "checkpoint of step \(step) not written"): \(error); earlier checkpoints are "
          + "intact")
    }
  }

  /// The checkpoint to go on from: the newest that verifies for `auto`, else the folder named.
  ///
  /// Rank 0 looks, all ranks learn the answer. Nil when `auto` finds none.
  func find(resume: String, report: (String) -> Void) throws -> String? {
    let found = try agree(communicator) { () -> String? in
      guard communicator.rank == 0 else { return nil }
      guard resume == "auto" else {
        return try Self.checkpointFolder(resume)
      }
      return try store.newestComplete { report("skipping a broken checkpoint: \($0)") }?.folder
    }
    let folder = String(
      decoding: try communicator.broadcast(Array((found ?? "").utf8), root: 0), as: UTF8.self)
    return folder.isEmpty ? nil : folder
  }

  /// Loads parameters and this rank's moments from `folder`.
  func load(
    _ folder: String, corpus: CorpusDigest, parameters: View<Float>, optimizer: Adam,
    report: (String) -> Void
  ) throws -> TrainingState {
    try agree(communicator) {
      let saved = try RunConfig.load(file: folder + "/" + Self.configName, notice: report)
      let differences = config.differencesThatForbidResume(from: saved)
      guard differences.isEmpty else {
        throw UserError(
          "cannot resume \(folder) with another model or data order: "
            + differences.joined(separator: "; "))
      }
      let changes = config.differencesThatAllowResume(from: saved)
      if !changes.isEmpty { report("changed since: \(changes.joined(separator: "; "))") }
      let manifest = try Manifest(folder: folder)
      let state = try TrainingState(folder: folder)
      guard state.step == manifest.step else {
        throw UserError("\(folder): state.json is of step \(state.step), not \(manifest.step)")
      }
      guard state.corpus == corpus else {
        throw UserError(
          "cannot resume \(folder): it was trained on corpus \(state.corpus), "
            + "data.corpus = \(config.data.corpus) is \(corpus)")
      }
      try ModelFile.read(folder + "/" + ModelFile.name, layout: layout, into: parameters)
      try OptimizerShards(folder: folder, ranks: manifest.ranks, layout: layout).read(
        ranges: optimizer.ranges, first: optimizer.firstMoment.view,
        second: optimizer.secondMoment.view)
      return state
    }
  }

  /// `path` itself when it is a verified step folder, or the newest complete one inside it.
  static func checkpointFolder(_ path: String) throws -> String {
    guard FileManager.default.fileExists(atPath: path) else {
      throw UserError("\(path): no such checkpoint; give a step folder or a run folder")
    }
    if FileManager.default.fileExists(atPath: path + "/" + Manifest.name) {
      _ = try CheckpointStore.verify(path)
      return path
    }
    var reasons: [String] = []
    if let newest = try CheckpointStore(runFolder: path).newestComplete(broken: {
      reasons.append("\($0)")
    }) {
      return newest.folder
    }
    throw UserError(
      reasons.isEmpty
        ? "\(path): no checkpoint here; give a step folder or a run folder"
        : "\(path): no complete checkpoint; \(reasons.joined(separator: "; "))")
  }
}

/// What a checkpoint is written from; `parameters` is needed on rank 0 only.
struct CheckpointContent {
  let state: TrainingState
  let parameters: View<Float>
  let firstMoment: View<Float>
  let secondMoment: View<Float>
}

/// One rank's files; writing them talks to nobody, so that any thread may do it.
struct CheckpointFiles: Sendable {
  let store: CheckpointStore
  let config: RunConfig
  let layout: ParameterLayout
  let ranges: [Range<Int>]
  let rank: Int
  let ranks: Int

  /// Writes them into the partial folder of the content's step.
  func write(_ content: CheckpointContent) throws -> [FileDigest] {
    let folder = store.partialFolder(step: content.state.step)
    var files: [FileDigest] = []
    if rank == 0 {
      files = [
        try ModelFile.write(layout: layout, parameters: content.parameters, to: folder),
        try SmallFile.write(
          Array(config.toml.utf8), to: folder + "/" + RunCheckpoint.configName),
        try SmallFile.write(
          Array(HuggingFaceConfig(config.reformer, config.attention.sizes).json()) + [0x0A],
          to: folder + "/" + RunCheckpoint.huggingFaceName),
        try SmallFile.write(content.state.json(), to: folder + "/" + TrainingState.name),
      ]
    }
    files.append(
      try OptimizerShards.write(
        layout: layout, ranges: ranges, first: content.firstMoment, second: content.secondMoment,
        rank: rank, ranks: ranks, to: folder))
    return files
  }
}
