// Keeps two runs out of one folder. Every rank holds a shared lock on one file for as long as it lives,
// and a run begins only when it can have that lock alone: so it also waits for stragglers of a run whose
// launcher was killed, which could otherwise still write into a checkpoint of the new run.
import Foundation
import Glibc

/// The right to write into a run folder; the system takes it back when the process ends.
public final class RunLock: Sendable {
  /// Name of the lock file in the run folder; it stays there, unlocked, after the run.
  public static let name = "run.lock"

  private let folder: String
  private let descriptor: Int32
  private let madeFolder: Bool

  /// False where the file system has no locks, so that nothing is kept out.
  public let isHeld: Bool

  /// Takes the folder for a new run, and makes it where it is missing; for rank 0.
  ///
  /// - `patience`: seconds to wait for another run to end; ranks whose launcher was killed need a few.
  /// - `waiting`: called once before waiting, with who holds the lock.
  /// - Throws: `CheckpointError` when another run has it, or the folder cannot be written.
  public init(
    taking path: String, patience: Double, waiting: (String) -> Void
  ) throws(CheckpointError) {
    // A slash at the end is a habit of shells.
    let folder = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    self.folder = folder
    madeFolder = access(folder, F_OK) != 0
    try makeFolder(folder)
    let file = "\(folder)/\(Self.name)"
    descriptor = try Self.open(file, O_CREAT)
    let deadline = ContinuousClock.now + .seconds(patience)
    var hasWaited = false
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      guard errno == EWOULDBLOCK else {
        isHeld = false
        return
      }
      let holder = String(
        decoding: (try? SmallFile.read(file, limit: 4096)) ?? [], as: UTF8.self
      ).trimmingCharacters(in: .whitespacesAndNewlines)
      guard ContinuousClock.now < deadline else {
        close(descriptor)
        throw CheckpointError(
          folder,
          "another run writes here (\(holder)); wait until it has ended, or choose another folder "
            + "with --output")
      }
      if !hasWaited { waiting(holder) }
      hasWaited = true
      usleep(100_000)
    }
    isHeld = true
    let holder = Array("\(ProcessInfo.processInfo.hostName), process \(getpid())\n".utf8)
    // For people only: a full disk is no reason to fail here.
    _ = ftruncate(descriptor, 0)
    _ = holder.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, 0) }
    // Shared from now on, so that the other ranks can join.
    _ = flock(descriptor, LOCK_SH)
  }

  /// Joins the run whose rank 0 has taken the folder; for all other ranks.
  ///
  /// - `patience`: seconds to wait for the folder to appear here. Other hosts of a shared file system may
  ///   remember for a while that it was not there.
  /// - Throws: `CheckpointError` when the folder is not there, as on a host that does not share it.
  public init(joining folder: String, patience: Double) throws(CheckpointError) {
    self.folder = folder
    madeFolder = false
    let file = "\(folder)/\(Self.name)"
    let deadline = ContinuousClock.now + .seconds(patience)
    while access(file, F_OK) != 0, errno == ENOENT, ContinuousClock.now < deadline {
      // A network file system asks its server again when a folder is opened.
      for path in [parentFolder(folder), folder] {
        if let stream = opendir(path) { closedir(stream) }
      }
      usleep(50_000)
    }
    descriptor = try Self.open(file, 0)
    isHeld = flock(descriptor, LOCK_SH | LOCK_NB) == 0
    guard isHeld || errno != EWOULDBLOCK else {
      throw CheckpointError(folder, "another run has just taken this folder; start again")
    }
  }

  deinit { close(descriptor) }

  /// Removes what taking the folder has made, for a run that ends before it has begun.
  public func removeUnused() {
    guard madeFolder else { return }
    unlink("\(folder)/\(Self.name)")
    rmdir(folder)
  }

  private static func open(_ path: String, _ creation: Int32) throws(CheckpointError) -> Int32 {
    // Network file systems want a file opened for writing before they lock it. A link could lead to
    // any file of the user, which would be emptied below.
    let descriptor = Glibc.open(path, O_RDWR | creation | O_CLOEXEC | O_NOFOLLOW, 0o644)
    guard descriptor >= 0 else {
      if errno == ELOOP { throw CheckpointError(path, "is a symbolic link; remove it") }
      throw CheckpointError(path, "cannot be opened (\(systemReason()))")
    }
    return descriptor
  }
}
