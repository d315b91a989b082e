// Files that fit in memory: config, state, manifest. Written so that a crash leaves the old content
// or the new, read with a limit so that a wrong file costs no memory.
import Foundation
import Glibc

/// Whole small files.
public enum SmallFile {
  // What `replace` writes before the rename; a fixed name, so that a dead writer leaves one at most.
  static let partial = ".partial"

  /// Writes a file and waits until it is on the disk.
  ///
  /// - Returns: name, size and SHA-256, for the manifest. - Throws: `CheckpointError` when the disk
  ///   refuses; a half-written file is then left.
  @discardableResult
  public static func write(
    _ bytes: [UInt8], to path: String
  ) throws(CheckpointError) -> FileDigest {
    let file = try OpenFile(writing: path)
    try writeArray(bytes, to: file)
    try file.synchronize()
    return FileDigest(
      name: lastComponent(path), bytes: bytes.count,
      sha256: SHA256.digits(of: bytes))
  }

  /// Gives a file this content; whoever reads it meanwhile, or after a crash, finds all of the old
  /// content or all of the new.
  ///
  /// - Throws: `CheckpointError` when the disk refuses; the old file is then as it was.
  public static func replace(_ path: String, with bytes: [UInt8]) throws(CheckpointError) {
    do throws(CheckpointError) {
      try write(bytes, to: path + partial)
      try move(path + partial, to: path)
    } catch {
      // On a full disk what was written stands in the way of everything else.
      unlink(path + partial)
      throw error
    }
  }

  /// The whole content of a regular file of at most `limit` bytes.
  ///
  /// - Throws: `CheckpointError` when it is missing, unreadable or larger.
  public static func read(_ path: String, limit: Int) throws(CheckpointError) -> [UInt8] {
    let file = try OpenFile(reading: path)
    guard file.byteCount <= limit else {
      throw CheckpointError(
        path, "is too large: \(file.byteCount) bytes, at most \(limit) expected")
    }
    return try file.array(at: 0, count: file.byteCount)
  }
}
