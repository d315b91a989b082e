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
  private let checkpoint: RunCheckpoint
  private let config: RunConfig
  private let progress: Progress
  private let step: TrainStep
  private let snapshot: Snapshot?
  private var pending: BackgroundSave?
  /// Where the times go; set once the run folder is open.
  var metrics: MetricsWriter?
  /// Seconds the last checkpoint took.
  private(set) var seconds = 0.0

  init(
    _ checkpoint: RunCheckpoint, config: RunConfig, progress: Progress, step: TrainStep
  ) {
    self.checkpoint = checkpoint
    self.config = config
    self.progress = progress
    self.step = step
    guard config.run.backgroundCheckpoints else {
      snapshot = nil
      return
    }
    let moments = step.optimizer.firstMoment.count
    let copies = Snapshot(
      parameters: Buffer(
        checkpoint.communicator.rank == 0 ? step.model.layout.parameterBufferCount : 0),
      firstMoment: Buffer(moments), secondMoment: Buffer(moments))
    // Memory costs time when it is touched first: better now than in the first pause.
    for buffer in [copies.parameters, copies.firstMoment, copies.secondMoment] {
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
    let optimizer = step.optimizer
    let parameters = try step.currentParameters()
    return try tolerate {
      try checkpoint.begin(step: saved.step)
      if snapshot.parameters.count > 0 { snapshot.parameters.view.copy(from: parameters) }
      snapshot.firstMoment.view.copy(from: optimizer.firstMoment.view)
      snapshot.secondMoment.view.copy(from: optimizer.secondMoment.view)
      pending = BackgroundSave(
        saved, from: snapshot, files: checkpoint.files(ranges: optimizer.ranges))
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
    if !waiting, try checkpoint.communicator.minimum(save.isDone ? 1 : 0) == 0 { return true }
    pending = nil
    return try tolerate {
      try checkpoint.finish(save.state) { try save.wait().get() }
      finished(save.state, &state, since: save.start)
    }
  }

  private func saveNow(_ state: inout TrainingState) throws {
    let start = ContinuousClock.now
    let saved = state.asCheckpoint
    let optimizer = step.optimizer
    try checkpoint.save(
      CheckpointContent(
        state: saved, parameters: step.currentParameters(), firstMoment: optimizer.firstMoment.view,
        secondMoment: optimizer.secondMoment.view), ranges: optimizer.ranges)
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
  let firstMoment: Buffer<Float>
  let secondMoment: Buffer<Float>
}

/// This rank's files of one checkpoint, being written by a thread.
final class BackgroundSave: Sendable {
  let state: TrainingState
  let start = ContinuousClock.now
  private let result = Mutex<Result<[FileDigest], any Error>?>(nil)

  /// Starts the thread; `snapshot` must not change until it is done.
  init(_ state: TrainingState, from snapshot: Snapshot, files: CheckpointFiles) {
    self.state = state
    Thread.detachNewThread { [self] in
      let outcome = Result {
        try files.write(
          CheckpointContent(
            state: state, parameters: snapshot.parameters.view,
            firstMoment: snapshot.firstMoment.view, secondMoment: snapshot.secondMoment.view))
      }
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
