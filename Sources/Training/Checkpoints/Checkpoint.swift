// A complete checkpoint, verified: what resume, evaluate, inspect and every other command open.
import Checkpointing
import Communication
import Compute
import Foundation
import Reformer

/// A checkpoint whose files are those that were written, with its config and state.
public struct Checkpoint: Sendable {
  /// The step folder.
  public let folder: String
  /// The config it was trained with, changed as asked for.
  public let config: RunConfig
  /// Newer steps of the run folder that are broken: the file, and what is wrong with it.
  public let skipped: [String]
  /// Where training stood.
  package let state: TrainingState
  /// What it consists of.
  package let manifest: Manifest
  private let corpusIsGiven: Bool
  /// Whether its parameters are the averaged ones.
  private var isAveraged = false

  /// Opens `path`, a step folder or a run folder (its newest complete step), after verifying every file; all
  /// ranks call it, and rank 0 verifies.
  ///
  /// - `overrides`: `key=value` texts applied to the stored config, which must not change shapes.
  /// - `report`: told in a line of each newer step that is skipped, and of renamed values.
  /// - Throws: `UserError` when there is no checkpoint, or none is complete; `CheckpointError` when the step
  ///   folder that was named is broken.
  public static func open(
    _ path: String, overrides: [String] = [],
    communicator: any Communicator = SoloCommunicator(), report: (String) -> Void
  ) throws -> Checkpoint {
    if let found = try openIfAny(
      path, overrides: overrides, communicator: communicator, report: report)
    {
      return found
    }
    throw UserError("\(path): no checkpoint here; give a step folder or a run folder")
  }

  /// The same, but nil for a run folder without steps.
  package static func openIfAny(
    _ path: String, overrides: [String] = [], communicator: any Communicator,
    report: (String) -> Void
  ) throws -> Checkpoint? {
    let own = try agree(communicator) { communicator.rank == 0 ? try find(path) : nil }
    let bytes = try communicator.broadcast(Array(JSONEncoder().encode(own)), root: 0)
    guard let place = try JSONDecoder().decode(Place?.self, from: Data(bytes)) else { return nil }
    for reason in place.skipped { report("skipping a broken checkpoint: \(reason)") }
    return try agree(communicator) {
      try Checkpoint(place, overrides: overrides, report: report)
    }
  }

  /// A verified step folder, and the newer ones that are broken.
  private struct Place: Codable {
    let folder: String
    let skipped: [String]
  }

  /// The step folder `path` itself, or the newest complete one inside it; nil where there are none.
  private static func find(_ path: String) throws -> Place? {
    guard FileManager.default.fileExists(atPath: path) else {
      throw UserError("\(path): no such checkpoint; give a step folder or a run folder")
    }
    if FileManager.default.fileExists(atPath: path + "/" + Manifest.name) {
      _ = try CheckpointStore.verify(path)
      return Place(folder: path, skipped: [])
    }
    var skipped: [String] = []
    if let newest = try CheckpointStore(runFolder: path).newestComplete(broken: {
      skipped.append("\($0)")
    }) {
      return Place(folder: newest, skipped: skipped)
    }
    // To begin anew here would bury what a person may be able to mend.
    guard skipped.isEmpty else {
      throw UserError("\(path): no complete checkpoint; \(skipped.joined(separator: "; "))")
    }
    return nil
  }

  private init(_ place: Place, overrides: [String], report: (String) -> Void) throws {
    folder = place.folder
    skipped = place.skipped
    config = try RunConfig.load(
      stored: folder + "/" + Manifest.configName, overrides: overrides, notice: report)
    manifest = try Manifest(folder: folder)
    state = try TrainingState(folder: folder)
    guard state.step == manifest.step else {
      throw CheckpointError(
        folder, "\(Manifest.stateName) is of step \(state.step), not \(manifest.step)")
    }
    corpusIsGiven = overrides.contains {
      let key = $0.prefix { $0 != "=" }.trimmingCharacters(in: .whitespaces)
      return key == "data.corpus" || key.hasPrefix("data.mix.")
    }
  }

  /// The stored config, changed by other `overrides` than those of `config`.
  package func config(changedBy overrides: [String]) throws(ConfigError) -> RunConfig {
    try RunConfig.load(stored: folder + "/" + Manifest.configName, overrides: overrides)
  }

  /// Whether it is a model that was imported: it has no moments and no corpus.
  public var isImported: Bool { manifest.ranks == 0 }

  /// Optimizer steps done.
  public var step: Int { manifest.step }

  /// Where each parameter lies.
  public var layout: ParameterLayout { config.reformer.parameterLayout }

  /// The same checkpoint with the averages of its parameters in their place.
  ///
  /// Throws `UserError` where it has none.
  public func averaged() throws(UserError) -> Checkpoint {
    guard config.optimizer.average > 0 else {
      throw UserError(
        "\(folder) has no averaged weights: it was trained with optimizer.average = 0; leave --averaged out"
      )
    }
    var checkpoint = self
    checkpoint.isAveraged = true
    return checkpoint
  }

  /// Runs `body` with all parameters in `layout`, which are gone when it returns; all ranks call it, and throw where theirs differ.
  public func withParameters<Result>(
    communicator: any Communicator = SoloCommunicator(), _ body: (View<Float>) throws -> Result
  ) throws -> Result {
    let parameters = try agree(communicator) {
      let parameters = Buffer<Float>(layout.parameterBufferCount)
      try ModelFile.read(folder + "/" + ModelFile.name, layout: layout, into: parameters.view)
      if isAveraged {
        let shards = try OptimizerShards(folder: folder, ranks: manifest.ranks, layout: layout)
        for range in layout.groups.map(\.range) {
          try shards.read("average", ranges: [range], into: parameters.view[range])
        }
      }
      return parameters
    }
    return try withExtendedLifetime(parameters) {
      if communicator.size > 1 {
        // Hosts that share no folder may each have one of this name.
        try requireEqual([("parameters", digest(of: parameters.view))], communicator)
      }
      return try body(parameters.view)
    }
  }

  /// SHA-256 over the parameters in layout order, hexadecimal.
  public func parametersSHA256() throws -> String { try withParameters(digest(of:)) }

  private func digest(of parameters: View<Float>) -> String {
    ModelFile.parametersSHA256(layout: layout, parameters: parameters)
  }

  /// The data it was trained on, opened; all ranks call it.
  ///
  /// Another corpus than that is refused, but where `overrides` name one, which is then said.
  package func data(
    communicator: any Communicator, progress: Progress
  ) throws -> RunData {
    guard !isImported || corpusIsGiven else {
      throw UserError(
        "\(folder) was imported and has no corpus of its own; give one with --set data.corpus=PATH")
    }
    let data = try agree(communicator) {
      try RunData(config: config, communicator: communicator, progress: progress)
    }
    let digest = try data.digest()
    guard try !isImported && !data.matches(state.corpus, digest: digest) else { return data }
    let difference =
      "\(folder) was trained on corpus \(state.corpus), \(config.data.source) is \(digest)"
    guard corpusIsGiven else {
      throw UserError(
        "\(difference); give the file it was trained on, or any other, with --set data.corpus=PATH")
    }
    progress.notice(difference)
    return data
  }

  /// Verifies the step folder at `path`, or every step of the run folder there.
  ///
  /// - Returns: each folder with what is wrong with it, if anything. - Throws: `UserError` when there
  ///   is none.
  public static func verify(path: String) throws -> [(folder: String, error: CheckpointError?)] {
    let store = CheckpointStore(runFolder: path)
    let hasManifest = FileManager.default.fileExists(atPath: path + "/" + Manifest.name)
    let folders = hasManifest ? [path] : try store.steps().map { store.folder(step: $0) }
    guard !folders.isEmpty else {
      throw UserError(
        FileManager.default.fileExists(atPath: path)
          ? "\(path): no \(Manifest.name) and no steps here; give a step folder or a run folder"
          : "\(path): no such checkpoint; give a step folder or a run folder")
    }
    return folders.compactMap { folder in
      do throws(CheckpointError) {
        _ = try CheckpointStore.verify(folder)
        return (folder, nil)
      } catch {
        // A run that goes on meanwhile removes its old steps.
        let isGone = !hasManifest && !FileManager.default.fileExists(atPath: folder)
        return isGone ? nil : (folder, error)
      }
    }
  }
}
