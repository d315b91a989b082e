// The few system calls checkpoints need: whole writes and reads, fsync, rename, folders.
import Foundation
import Glibc

/// A file on disk as a manifest lists it.
public struct FileDigest: Codable, Equatable, Sendable {
  /// Name inside the checkpoint folder.
  public let name: String
  /// Size in bytes.
  public let bytes: Int
  /// Lower-case hexadecimal SHA-256 of the content.
  public let sha256: String

  /// All fields at once.
  public init(name: String, bytes: Int, sha256: String) {
    self.name = name
    self.bytes = bytes
    self.sha256 = sha256
  }

  /// Reads the file at `path` once, in pieces.
  ///
  /// - Throws: `CheckpointError` when it cannot be read.
  public init(path: String) throws(CheckpointError) {
    let file = try OpenFile(reading: path)
    let hash = SHA256()
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: OpenFile.piece, alignment: 64)
    defer { piece.deallocate() }
    var offset = 0
    while offset < file.byteCount {
      let part = UnsafeMutableRawBufferPointer(
        rebasing: piece[0..<min(piece.count, file.byteCount - offset)])
      try file.read(at: offset, into: part)
      hash.update(UnsafeRawBufferPointer(part))
      offset += part.count
    }
    self.init(
      name: lastComponent(path), bytes: offset,
      sha256: hash.finish())
  }
}

/// What follows the last slash.
///
/// Foundation 6.3 traps when it takes apart a path of one component.
func lastComponent(_ path: String) -> String {
  path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
}

/// The folder of a file or folder.
func parentFolder(_ path: String) -> String {
  guard let slash = path.lastIndex(of: "/") else { return "." }
  return slash == path.startIndex ? "/" : String(path[..<slash])
}

/// An open regular file that closes itself.
///
/// Reads are positioned, so threads may share it.
final class OpenFile: Sendable {
  /// Bytes handled at once: large enough for the disk, small enough to stay in cache between
  /// hashing and writing.
  static let piece = 1 << 20

  let path: String
  let byteCount: Int
  private let descriptor: Int32

  /// Opens an existing regular file.
  init(reading path: String) throws(CheckpointError) {
    self.path = path
    // Non-blocking, so that a pipe with this name is refused below instead of waited for.
    descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      throw CheckpointError(path, "cannot be opened (\(systemReason()))")
    }
    var status = stat()
    let known = fstat(descriptor, &status) == 0
    byteCount = known ? Int(status.st_size) : 0
    guard known, status.st_mode & S_IFMT == S_IFREG else {
      throw CheckpointError(path, "is not a regular file")
    }
  }

  /// Creates or truncates a file for writing from its start.
  init(writing path: String) throws(CheckpointError) {
    self.path = path
    byteCount = 0
    descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw CheckpointError(path, "cannot be created (\(systemReason()))")
    }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Appends all bytes.
  func write(_ bytes: UnsafeRawBufferPointer) throws(CheckpointError) {
    var done = 0
    while done < bytes.count {
      let count = Glibc.write(
        descriptor, bytes.baseAddress?.advanced(by: done), bytes.count - done)
      if count < 0 {
        if errno == EINTR { continue }
        throw CheckpointError(path, "cannot be written (\(systemReason()))")
      }
      done += count
    }
  }

  /// Fills `bytes` from `offset` on.
  func read(at offset: Int, into bytes: UnsafeMutableRawBufferPointer) throws(CheckpointError) {
    var done = 0
    while done < bytes.count {
      let count = pread(
        descriptor, bytes.baseAddress?.advanced(by: done), bytes.count - done, off_t(offset + done))
      if count < 0 {
        if errno == EINTR { continue }
        throw CheckpointError(path, "cannot be read (\(systemReason()))")
      }
      guard count > 0 else {
        throw CheckpointError(path, "ends at byte \(offset + done); it was cut while being read")
      }
      done += count
    }
  }

  /// Returns once the content is on the disk.
  func synchronize() throws(CheckpointError) {
    guard fsync(descriptor) == 0 else {
      throw CheckpointError(path, "cannot be flushed to disk (\(systemReason()))")
    }
  }
}

/// Makes the names in a folder durable.
func synchronizeFolder(_ path: String) throws(CheckpointError) {
  let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
  guard descriptor >= 0 else {
    throw CheckpointError(path, "cannot be opened (\(systemReason()))")
  }
  defer { close(descriptor) }
  // Some network file systems have no fsync of folders (EINVAL); the rename is then as durable
  // as that file system makes it.
  guard fsync(descriptor) == 0 || errno == EINVAL else {
    throw CheckpointError(path, "cannot be flushed to disk (\(systemReason()))")
  }
}

/// Renames a file or folder.
func move(_ source: String, to target: String) throws(CheckpointError) {
  guard rename(source, target) == 0 else {
    throw CheckpointError(source, "cannot be renamed to \(target) (\(systemReason()))")
  }
}

/// Makes a folder and the folders above it; with `isFlushed`, the names of those made are on the disk when it
/// returns.
func makeFolder(_ path: String, isFlushed: Bool = true) throws(CheckpointError) {
  func make() -> Int32 { mkdir(path, 0o777) == 0 ? 0 : errno }
  var code = make()
  if code == ENOENT, parentFolder(path) != path {
    try makeFolder(parentFolder(path), isFlushed: isFlushed)
    code = make()
  }
  if code == 0 {
    if isFlushed { try synchronizeFolder(parentFolder(path)) }
    return
  }
  var status = stat()
  if code == EEXIST, stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR { return }
  guard code == 0 else {
    throw CheckpointError(path, "cannot be made a folder (\(String(cString: strerror(code))))")
  }
}

/// Deletes a file or a folder with all it holds.
func removeTree(_ path: String) throws(CheckpointError) {
  do {
    try FileManager.default.removeItem(atPath: path)
  } catch {
    throw CheckpointError(path, "cannot be removed (\(plainReason(error)))")
  }
}

/// Foundation wraps the system's reason; people want the reason.
private func plainReason(_ error: any Error) -> String {
  let wrapper = error as NSError
  let cause = wrapper.userInfo[NSUnderlyingErrorKey] as? NSError
  if let cause, cause.domain == NSPOSIXErrorDomain {
    return String(cString: strerror(Int32(cause.code)))
  }
  return wrapper.localizedDescription
}
