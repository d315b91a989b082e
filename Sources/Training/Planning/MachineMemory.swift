// The memory that this machine, and the control groups this process lives in, have left.
import Foundation

/// Memory that programs may still take on this machine.
public enum MachineMemory {
  /// Bytes available without swapping: the least of what the machine has and what each control group around
  /// this process leaves; nil where the system does not say.
  public static var availableBytes: Int? { availableBytes(root: "") }

  /// The same for a machine whose `/proc` and `/sys` lie under `root`.
  ///
  /// A batch system limits a job by groups inside groups, the process in the innermost: each level counts.
  package static func availableBytes(root: String) -> Int? {
    let machine = kilobytes("MemAvailable:", in: root + "/proc/meminfo")
    return ([machine] + groups(root: root).map(\.availableBytes)).compactMap { $0 }.min()
  }

  /// The number of a line such as `VmHWM:   1234 kB`, in bytes.
  static func kilobytes(_ name: String, in path: String) -> Int? {
    field(name, in: path).map { $0 * 1024 }
  }

  /// One level of a hierarchy of control groups: its folder, and the names files have in this version.
  private struct Group {
    let folder: String
    let limits: [String]
    let usage: String
    let cache: String

    /// What the limit leaves, where there is one.
    ///
    /// Pages of files that nobody uses count as used, but make room when they have to.
    var availableBytes: Int? {
      guard let limit = limits.compactMap({ number(folder + "/" + $0) }).min(),
        let used = number(folder + "/" + usage)
      else { return nil }
      let reclaimable = field(cache, in: folder + "/memory.stat") ?? 0
      return max(0, limit - max(0, used - reclaimable))
    }
  }

  /// The groups of this process that can limit memory, innermost first.
  private static func groups(root: String) -> [Group] {
    // A line is number:controllers:path, or 0::path for version 2.
    let paths = lines(root + "/proc/self/cgroup").map {
      $0.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
    }.filter { $0.count == 3 }
    // A line is six fields and more, a dash, type, source and options; of the six, the fourth and fifth are
    // the part of the hierarchy that is mounted, and where.
    let mounts = lines(root + "/proc/self/mountinfo").map { $0.split(separator: " ") }
    return mounts.flatMap { mount -> [Group] in
      guard let dash = mount.firstIndex(of: "-"), dash >= 6, mount.count > dash + 3 else {
        return []
      }
      let isFirst = mount[dash + 1] == "cgroup"
      let options = mount[dash + 3].split(separator: ",")
      guard isFirst ? options.contains("memory") : mount[dash + 1] == "cgroup2",
        let path = paths.first(where: {
          isFirst ? $0[1].split(separator: ",").contains("memory") : $0[1].isEmpty
        })?[2]
      else { return [] }
      return levels(of: String(path), below: String(mount[3])).map { level in
        let folder = root + mount[4] + level
        return isFirst
          ? Group(
            folder: folder, limits: ["memory.limit_in_bytes"], usage: "memory.usage_in_bytes",
            cache: "total_inactive_file")
          // Beyond memory.high nothing is refused, but everything waits.
          : Group(
            folder: folder, limits: ["memory.max", "memory.high"], usage: "memory.current",
            cache: "inactive_file")
      }
    }
  }

  /// `/a/b`, `/a` and the empty path for `/a/b`, as seen where `top` of the hierarchy is mounted.
  private static func levels(of path: String, below top: String) -> [String] {
    let inside =
      top != "/" && (path == top || path.hasPrefix(top + "/"))
      ? String(path.dropFirst(top.count)) : path
    var names = inside.split(separator: "/")
    var levels = [""]
    while !names.isEmpty {
      levels.append("/" + names.joined(separator: "/"))
      names.removeLast()
    }
    return levels
  }

  private static func lines(_ path: String) -> [Substring] {
    ((try? String(contentsOfFile: path, encoding: .utf8)) ?? "").split(separator: "\n")
  }

  /// The number after `name` on its line of `path`.
  private static func field(_ name: String, in path: String) -> Int? {
    lines(path).lazy.map { $0.split { $0 == " " || $0 == "\t" } }
      .first { $0.first == name[...] }?.dropFirst().first.flatMap { Int($0) }
  }

  /// The number a file holds; nil for `max`, which says that there is no limit.
  private static func number(_ path: String) -> Int? {
    lines(path).first.flatMap { Int($0) }
  }
}

/// Largest resident memory of this program so far, in bytes.
///
/// Not what getrusage says: that counts the program which started this one, up to the moment it did.
public func peakResidentBytes() -> Int {
  MachineMemory.kilobytes("VmHWM:", in: "/proc/self/status") ?? 0
}
