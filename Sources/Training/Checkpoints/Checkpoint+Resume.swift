// Going on from a checkpoint: what may differ and what may not, what is loaded, and what becomes of later steps.
import Checkpointing
import Communication
import Compute
import Corpus
import Foundation
import Optimizers

extension Checkpoint {
  /// The checkpoint that `--resume` asks for; nil when `auto` finds none in `runFolder`.
  ///
  /// All ranks call it.
  static func toResume(
    _ resume: String, runFolder: String, communicator: any Communicator, report: (String) -> Void
  ) throws -> Checkpoint? {
    if resume == "auto" {
      return try openIfAny(runFolder, communicator: communicator, report: report)
    }
    return try open(resume, communicator: communicator, report: report)
  }

  /// Loads parameters, this rank's moments and what its streams carry over, for a run of `config` on `data`; all ranks call it.
  ///
  /// - `fresh`: the state of a run that begins: what `data` is, and this program on this machine.
  /// - Returns: the state to go on with. - Throws: `UserError` when the run would be another.
  func resume(
    as config: RunConfig, data: RunData, fresh: TrainingState,
    allowMixedMachines: Bool, parameters: View<Float>, optimizer: Optimizer,
    streams: RunStreams, communicator: any Communicator, report: (String) -> Void
  ) throws -> TrainingState {
    guard !isImported else {
      throw UserError(
        "cannot resume \(folder): it was imported, and has no moments; start from it with --from")
    }
    // Reading an old file's digest anew is for all ranks together.
    let isSameCorpus = try data.matches(state.corpus, digest: fresh.corpus)
    return try agree(communicator) {
      try requireSameRun(as: config)
      guard isSameCorpus else {
        throw UserError(
          "cannot resume \(folder): it was trained on corpus \(state.corpus), "
            + "\(config.data.source) is \(fresh.corpus)")
      }
      if config.run.matrixProducts == self.config.run.matrixProducts,
        let difference = fresh.origin?.difference(from: state.origin)
      {
        guard allowMixedMachines else {
          throw UserError(
            "cannot resume \(folder): \(difference); go on on a machine of that kind, or with "
              + "--allow-mixed-machines where the bits need not be those of one")
        }
        report("\(difference): the parameters will be neither's alone")
      }
      if let note = fresh.origin?.note(on: state.origin) { report("\(folder) \(note)") }
      if config.run.wire == .bf16, manifest.ranks != communicator.size {
        report(
          "run.wire = \"bf16\" and \(communicator.size) ranks, \(manifest.ranks) in the checkpoint: the parameters "
            + "will be those of neither number alone")
      }
      let changes = config.differencesThatAllowResume(from: self.config)
      if !changes.isEmpty { report("changed since: \(changes.joined(separator: "; "))") }
      try ModelFile.read(
        folder + "/" + ModelFile.name, layout: config.reformer.parameterLayout, into: parameters)
      let shards = try OptimizerShards(
        folder: folder, ranks: manifest.ranks, layout: config.reformer.parameterLayout)
      for shard in optimizer.shards { try shards.read(into: shard) }
      try streams.read(folder: folder, ranks: manifest.ranks)
      var state = state
      state.corpus = fresh.corpus
      state.origin = fresh.origin
      state.origin?.resumedFrom = try parent()
      state.origin?.startedFrom = self.state.origin?.startedFrom
      return state
    }
  }

  /// This checkpoint, for the record of a run that goes on from it.
  func parent() throws(CheckpointError) -> Origin.Parent {
    Origin.Parent(
      checkpoint: folder.hasPrefix("/")
        ? folder : FileManager.default.currentDirectoryPath + "/" + folder, step: step,
      manifestSHA256: try FileDigest(path: folder + "/" + Manifest.name).sha256)
  }

  /// Throws a `UserError` naming each key that a resume may not change, and `config` has changed; so where stages of
  /// `config` would have ended elsewhere.
  package func requireSameRun(as config: RunConfig) throws(UserError) {
    var differences = config.differencesThatForbidResume(from: self.config)
    // Fixed keys first: with another length of a window, say, there are no stages to compare.
    if differences.isEmpty, let difference = config.stageDifference(from: self.config, after: step)
    {
      differences = [difference]
    }
    guard differences.isEmpty else {
      throw UserError(
        "cannot resume \(folder) with another model or data order: "
          + differences.joined(separator: "; "))
    }
  }

  /// Makes this the newest checkpoint of the run in `store`: going back is a decision that stays made.
  ///
  /// Steps of a branch that is left, or of another run, are set aside. All ranks call it.
  func becomeNewest(
    in store: CheckpointStore, state: inout TrainingState, communicator: any Communicator,
    report: (String) -> Void
  ) throws {
    let isBestLost = try agree(communicator) {
      guard communicator.rank == 0 else { return false }
      let exists = FileManager.default.fileExists(atPath:)
      let link = "\(store.runFolder)/\(CheckpointStore.best)"
      let hadLink = exists(link)
      let names = try store.setAside(after: isStep(of: store) ? step : nil)
      guard !names.isEmpty else { return false }
      report(
        "going on from step \(step), so later steps in \(store.runFolder) are set aside as "
          + names.joined(separator: ", "))
      // The best before may have been removed in favour of one that is set aside now.
      guard let best = state.bestStep else { return false }
      guard exists(store.folder(step: best)) else { return true }
      if hadLink, !exists(link) { try store.markBest(step: best) }
      return false
    }
    if try communicator.maximum(isBestLost ? 1 : 0) == 1 {
      (state.bestStep, state.bestBitsPerByte) = (nil, nil)
    }
  }

  /// Whether it is one of the run's own.
  private func isStep(of store: CheckpointStore) -> Bool {
    func place(_ path: String) -> String? {
      guard let real = realpath(path, nil) else { return nil }
      defer { free(real) }
      return String(cString: real)
    }
    return place(folder) == place(store.folder(step: step))
  }
}
