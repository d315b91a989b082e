// A file system of a few hundred kilobytes, to be filled by tests.
import Foundation

/// A mounted tmpfs; unmounted when this object goes away.
public final class SmallDisk: Sendable {
  private let path: String

  /// Whether this user may mount: root outside of most containers.
  public static let isPossible: Bool = {
    guard geteuid() == 0, let folder = try? TemporaryFolder() else { return false }
    return (try? SmallDisk(folder.path("disk"), kilobytes: 16)) != nil
  }()

  private struct Failure: Error {}

  /// Makes the folder `path` and mounts the disk there.
  public init(_ path: String, kilobytes: Int) throws {
    self.path = path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    guard mount("tmpfs", path, "tmpfs", 0, "size=\(kilobytes)k") == 0 else { throw Failure() }
  }

  /// Refuses all writing from now on.
  public func makeReadOnly() throws {
    guard mount("tmpfs", path, "tmpfs", UInt(MS_REMOUNT | MS_RDONLY), nil) == 0
    else { throw Failure() }
  }

  deinit { umount2(path, Int32(MNT_DETACH)) }
}
