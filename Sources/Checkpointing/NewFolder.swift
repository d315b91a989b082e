// Folders that appear whole or not at all, outside of runs: what is exported and imported.
import Foundation
import Glibc

/// Making a folder that others may read as soon as it is there.
public enum NewFolder {
  private static let partial = ".partial"

  /// Makes the folder `path`: `fill` writes into `path.partial`, which then gets that name.
  ///
  /// - Throws: `CheckpointError` when there is something of one of these names already, or the disk refuses, and what
  ///   `fill` throws; then there is no new folder.
  public static func make<Result>(
    _ path: String, _ fill: (String) throws -> Result
  ) throws -> Result {
    var path = path
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    var status = stat()
    guard lstat(path, &status) != 0 else {
      throw CheckpointError(path, "exists already; choose another name")
    }
    let unfinished = path + partial
    guard lstat(unfinished, &status) != 0 else {
      throw CheckpointError(
        unfinished, "is in the way, perhaps left by a program that was killed; remove it")
    }
    try makeFolder(unfinished)
    do {
      let result = try fill(unfinished)
      try synchronizeFolder(unfinished)
      try move(unfinished, to: path)
      try synchronizeFolder(parentFolder(path))
      return result
    } catch {
      try? removeTree(unfinished)
      throw error
    }
  }
}
