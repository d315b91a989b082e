// The run's own folder before the first step: taken for this run alone, with the
// config and the metrics in it.
import Checkpointing
import Communication
import Foundation

/// The folder of a run, as all its ranks see it.
struct RunFolder {
  let path: String
  let communicator: any Communicator
  let progress: Progress

  /// Seconds to wait for ranks of a run that was killed a moment ago; under Open MPI 4.1 they take 3.
  private static let patience = 10.0

  /// Makes the folder where it is missing and takes it for this run alone; all ranks call it.
  func take() throws -> RunLock {
    let isFirst = communicator.rank == 0
    let first = try agree(communicator) { () -> RunLock? in
      guard isFirst else { return nil }
      do throws(CheckpointError) {
        return try RunLock(taking: path, patience: Self.patience) { holder in
          progress.message("waiting for another run in \(path) to end (\(holder))")
        }
      } catch {
        throw UserError("run folder \(error)")
      }
    }
    let lock = try agree(communicator) { try first ?? RunLock(joining: path) }
    if isFirst, !lock.isHeld {
      progress.warning(
        "the file system of \(path) has no locks; never start two runs in one folder")
    }
    return lock
  }

  /// Writes the resolved config and opens the metrics, on rank 0.
  func open(_ config: RunConfig, keepingUpTo step: Int) throws -> MetricsWriter? {
    try agree(communicator) {
      guard communicator.rank == 0 else { return nil }
      do {
        try SmallFile.replace(
          path + "/" + RunCheckpoint.configName, with: Array(config.toml.utf8))
        return try MetricsWriter(folder: path, keepingUpTo: step, progress: progress)
      } catch {
        throw UserError(
          "run folder \(path) cannot be written (\(error)); choose another with --output, or "
            + "change its permissions")
      }
    }
  }
}
