// Saving and resuming a run over all ranks: each rank writes its moments, rank 0 the rest; the step
// folder appears complete or not at all (CheckpointStore).
import Checkpointing
import Communication
import Compute
import Corpus
import Foundation
import Optimizers

/// What a run must remember beside parameters and moments.
///
/// Everything else is a function of seed and step.
struct TrainingState: Codable, Equatable {
  static let name = "state.json"
  static let configName = "config.toml"
  static let huggingFaceName = "config.json"

  /// Optimizer steps done.
  var step: Int
  /// Corpus trained on.
  var corpus: CorpusDigest
  /// Training bytes seen so far.
  var trainedBytes: Int
  /// Last score on the validation split, if any.
  var validationBitsPerByte: Double?

  private enum CodingKeys: String, CodingKey {
    case step, corpus
    case trainedBytes = "trained_bytes"
    case validationBitsPerByte = "validation_bits_per_byte"
  }
}

/// Writes and reads the checkpoints of one run.
struct RunCheckpoint {
  let store: CheckpointStore
  let communicator: any Communicator
  let config: RunConfig
  let layout: ParameterLayout

  /// Writes the checkpoint of `state.step`.
  ///
  /// All ranks call it; all throw if one fails.
  func save(_ state: TrainingState, parameters: View<Float>, optimizer: Adam) throws {
    let (rank, ranks) = (communicator.rank, communicator.size)
    try agreeOnWriting { if rank == 0 { try store.begin(step: state.step) } }
    let folder = store.partialFolder(step: state.step)
    var files: [FileDigest] = []
    try agreeOnWriting {
      if rank == 0 {
        files = [
          try ModelFile.write(layout: layout, parameters: parameters, to: folder),
          try write(config.toml, TrainingState.configName, to: folder),
          try write(
            String(decoding: HuggingFaceConfig(config.reformer).json(), as: UTF8.self) + "\n",
            TrainingState.huggingFaceName, to: folder),
          try write(json(state) + "\n", TrainingState.name, to: folder),
        ]
      }
      files.append(
        try OptimizerShards.write(
          layout: layout, ranges: optimizer.ranges, first: optimizer.firstMoment.view,
          second: optimizer.secondMoment.view, rank: rank, ranks: ranks, to: folder))
    }
    let all = try communicator.gatherAll(Array(JSONEncoder().encode(files))).flatMap {
      try JSONDecoder().decode([FileDigest].self, from: Data($0))
    }
    try agreeOnWriting {
      guard rank == 0 else { return }
      try store.commit(
        Manifest(
          step: state.step, ranks: ranks, configSHA256: sha256(config.toml), files: all))
      try store.removeOld(keep: config.run.keep, upTo: state.step)
    }
  }

  private func agreeOnWriting(_ body: () throws -> Void) throws {
    do {
      try agree(communicator, body)
    } catch {
      throw RunFailure("checkpoint not written: \(error); earlier checkpoints are intact")
    }
  }

  private func write(_ text: String, _ name: String, to folder: String) throws -> FileDigest {
    let path = folder + "/" + name
    guard FileManager.default.createFile(atPath: path, contents: Data(text.utf8)) else {
      throw RunFailure("\(path): cannot be written")
    }
    return try FileDigest(path: path)
  }

  private func json(_ state: TrainingState) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    return String(decoding: try encoder.encode(state), as: UTF8.self)
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
    _ folder: String, corpus: CorpusDigest, parameters: View<Float>, optimizer: Adam
  ) throws -> TrainingState {
    try agree(communicator) {
      let saved = try RunConfig.load(file: folder + "/" + TrainingState.configName)
      let differences = config.differencesThatForbidResume(from: saved)
      guard differences.isEmpty else {
        throw UserError(
          "cannot resume \(folder) with another model or data order: "
            + differences.joined(separator: "; "))
      }
      let manifest = try Manifest(folder: folder)
      let state = try Self.state(folder)
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

  /// Reads `state.json` of a step folder.
  static func state(_ folder: String) throws(UserError) -> TrainingState {
    let path = folder + "/" + TrainingState.name
    do {
      return try JSONDecoder().decode(
        TrainingState.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
    } catch {
      throw UserError("\(path): not a training state (\(shortReason(error)))")
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
