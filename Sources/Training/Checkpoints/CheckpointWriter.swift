// When and how a run's checkpoints are written: at once, or from a copy by a thread of its own while
// training goes on.
import Checkpointing
import Communication
import Compute
import Foundation
import Optimizers
import Synchronization

/// The checkpoints of one run on one rank; all ranks call the same functions in the same order.
final class CheckpointWriter {
  private let store: CheckpointStore
  private let communicator: any Communicator
  private let config: RunConfig
  private let progress: Progress
  private let step: TrainStep
  private let files: CheckpointFiles
  private let snapshot: Snapshot?
  private var pending: BackgroundSave?
  /// Where the times go; set once the run folder is open.
  var metrics: MetricsWriter?
  /// Seconds the last checkpoint took.
  private(set) var seconds = 0.0

  init(
    _ store: CheckpointStore, config: RunConfig, communicator: any Communicator,
    progress: Progress, step: TrainStep
  ) {
    self.store = store
    self.communicator = communicator
    self.config = config
    self.progress = progress
    self.step = step
    files = CheckpointFiles(
      store: store, config: config, layout: step.model.layout, rank: communicator.rank,
      ranks: communicator.size)
    guard config.run.backgroundCheckpoints else {
      snapshot = nil
      return
    }
    let copies = Snapshot(
      parameters: Buffer(communicator.rank == 0 ? step.model.layout.parameterBufferCount : 0),
      shards: step.optimizer.shards.map { LayoutShard($0.name, ranges: $0.ranges) },
      streams: Buffer(step.streams.count))
    // Memory costs time when it is touched first: better now than in the first pause.
    for buffer in [copies.parameters, copies.streams] + copies.shards.map(\.values)
    where buffer.count > 0 {
      buffer.view.fill(0)
    }
    snapshot = copies
  }

  /// Writes the checkpoint of `state`, or begins to.
  ///
  /// - Returns: false when it could not be written and the run goes on all the same.
  func save(_ state: inout TrainingState) throws -> Bool {
    guard let snapshot else { return try tolerate { try saveNow(&state) } }
    // Waiting for the one before is part of the pause.
    let start = ContinuousClock.now
    _ = try settle(&state, waiting: true)
    let saved = state.asCheckpoint
    let parameters = try step.currentParameters()
    return try tolerate {
      try begin(step: saved.step)
      if snapshot.parameters.count > 0 { snapshot.parameters.view.copy(from: parameters) }
      for (copy, shard) in zip(snapshot.shards, step.optimizer.shards) {
        copy.values.view.copy(from: shard.values.view)
      }
      let content = CheckpointContent(
        state: saved, parameters: snapshot.parameters.view, shards: snapshot.shards,
        streams: step.streams.rows?.copied(to: snapshot.streams))
      pending = BackgroundSave(content, in: snapshot, files: files)
      metrics?.write(
        MetricsRecord(step: saved.step, checkpointPauseSeconds: Training.seconds(since: start)))
    }
  }

  /// Writes the checkpoint of `state` before it returns; for the end of a run, which must not go without.
  func saveLast(_ state: inout TrainingState) throws { try saveNow(&state) }

  /// Makes a checkpoint of what the thread has written, once that of every rank is done.
  ///
  /// - Returns: false when it could not be written and the run goes on all the same.
  func settle(_ state: inout TrainingState, waiting: Bool) throws -> Bool {
    guard let save = pending else { return true }
    if !waiting, try communicator.minimum(save.isDone ? 1 : 0) == 0 { return true }
    pending = nil
    return try tolerate {
      try finish(save.state) { try save.wait().get() }
      finished(save.state, &state, since: save.start)
    }
  }

  private func saveNow(_ state: inout TrainingState) throws {
    let start = ContinuousClock.now
    let saved = state.asCheckpoint
    let content = CheckpointContent(
      state: saved, parameters: try step.currentParameters(), shards: step.optimizer.shards,
      streams: step.streams.rows)
    try begin(step: saved.step)
    try finish(saved) { try files.write(content) }
    finished(saved, &state, since: start)
    metrics?.write(MetricsRecord(step: saved.step, checkpointPauseSeconds: seconds))
  }

  private func finished(
    _ saved: TrainingState, _ state: inout TrainingState, since start: ContinuousClock.Instant
  ) {
    // Only now is there a checkpoint that can be the best.
    (state.bestStep, state.bestBitsPerByte) = (saved.bestStep, saved.bestBitsPerByte)
    seconds = Training.seconds(since: start)
    metrics?.write(MetricsRecord(step: saved.step, checkpointSeconds: seconds))
  }

  /// Makes the folder for the files; all ranks call it.
  private func begin(step: Int) throws {
    try agreeOnWriting(step) { if communicator.rank == 0 { try store.begin(step: step) } }
  }

  /// Makes what all ranks have written, or `write` now, a checkpoint, and removes those no longer kept; all ranks call
  /// it.
  ///
  /// All throw `RunFailure` if one fails, and nothing of it is left.
  private func finish(_ state: TrainingState, _ write: () throws -> [FileDigest]) throws {
    let own = try agreeOnWriting(state.step, nil, write)
    let all = try communicator.gatherAll(Array(JSONEncoder().encode(own))).flatMap {
      try JSONDecoder().decode([FileDigest].self, from: Data($0))
    }
    try agreeOnWriting(state.step) {
      guard communicator.rank == 0 else { return }
      // A resume keeps the lines up to its checkpoint, so they must be there as long as it is.
      try metrics?.synchronize()
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

  private func tolerate(_ write: () throws -> Void) throws -> Bool {
    do {
      try write()
      return true
    } catch let error as RunFailure where config.run.onCheckpointError == .continue {
      progress.warning("\(error); going on")
      return false
    }
  }
}

/// Memory for copies of what changes while a checkpoint is written; reused for the next.
struct Snapshot: Sendable {
  /// Empty but on rank 0.
  let parameters: Buffer<Float>
  let shards: [LayoutShard]
  let streams: Buffer<Float>
}

/// This rank's files of one checkpoint, being written by a thread.
final class BackgroundSave: Sendable {
  let state: TrainingState
  let start = ContinuousClock.now
  private let result = Mutex<Result<[FileDigest], any Error>?>(nil)

  /// Starts the thread; `snapshot`, where `content` is, must not change until it is done.
  init(_ content: CheckpointContent, in snapshot: Snapshot, files: CheckpointFiles) {
    state = content.state
    Thread.detachNewThread { [self] in
      let outcome = withExtendedLifetime(snapshot) { Result { try files.write(content) } }
      result.withLock { $0 = outcome }
    }
  }

  var isDone: Bool { result.withLock { $0 != nil } }

  /// What the thread has written, or why not.
  func wait() -> Result<[FileDigest], any Error> {
    while true {
      if let outcome = result.withLock({ $0 }) { return outcome }
      usleep(1000)
    }
  }
}
