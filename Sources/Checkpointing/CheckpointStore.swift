// The step folders of a run. A checkpoint is complete or absent: everything is written into
// `step-00001200.partial`, the manifest last, and one rename makes it `step-00001200`.
import Foundation
import Glibc

/// The checkpoints of one run.
///
/// With several ranks: rank 0 calls `begin`, barrier, each rank writes its files into
/// `partialFolder(step:)`, rank 0 collects their digests, `commit`, `removeOld`. The barriers are
/// the caller's.
public struct CheckpointStore: Sendable {
  /// Folder of the run.
  public let runFolder: String

  private static let partial = ".partial"
  // Outdated folders are renamed to this before they are deleted, so no half folder looks whole.
  private static let removing = ".removing"
  // A folder in the way of a new one of its step; it comes back if the new one never arrives.
  private static let replaced = ".replaced"
  // A checkpoint that the run went back before; nothing but a person removes it.
  private static let aside = ".aside"
  /// Name of the link to the best checkpoint.
  public static let best = "best"

  /// A store in `runFolder`, which `begin` makes when it is missing.
  public init(runFolder: String) { self.runFolder = runFolder }

  /// Final folder of a step: `step-` and at least eight digits.
  public func folder(step: Int) -> String { "\(runFolder)/step-\(padded(step, 8))" }

  /// Folder of a step while it is being written.
  public func partialFolder(step: Int) -> String { folder(step: step) + Self.partial }

  /// Removes what interrupted runs left, and makes the partial folder of `step`.
  ///
  /// - Returns: `partialFolder(step:)`.
  /// - Throws: `CheckpointError` when the disk refuses.
  @discardableResult
  public func begin(step: Int) throws(CheckpointError) -> String {
    try makeFolder(runFolder)
    try removeLeftovers()
    let folder = partialFolder(step: step)
    // Until it has its final name nobody misses it.
    try makeFolder(folder, isFlushed: false)
    return folder
  }

  /// Removes what interrupted runs left in the run folder.
  ///
  /// - Throws: `CheckpointError` when the disk refuses.
  public func removeLeftovers() throws(CheckpointError) {
    unlink("\(runFolder)/\(Self.best)\(Self.partial)")
    for name in try names() where name.hasPrefix("step-") {
      let path = "\(runFolder)/\(name)"
      let final = String(path.dropLast(Self.replaced.count))
      if name.hasSuffix(Self.replaced), access(final, F_OK) != 0 {
        try move(path, to: final)
      } else if [Self.partial, Self.removing, Self.replaced].contains(where: name.hasSuffix) {
        try removeTree(path)
      }
    }
  }

  /// Removes the partial folder of `step` after a failure, so that it does not fill the disk.
  public func discard(step: Int) {
    // The failure has been reported; the next `begin` tries again.
    try? removeTree(partialFolder(step: step))
  }

  /// Makes the partial folder of the manifest's step a checkpoint.
  ///
  /// Writes the manifest, flushes the folder and renames it; whoever wrote the listed files has flushed
  /// them. A folder that stands in the way (the same step, saved again) is replaced.
  /// - Throws: `CheckpointError` when a listed file is missing or has another size, or the disk
  ///   refuses; then there is no new checkpoint, and older ones are untouched.
  public func commit(_ manifest: Manifest) throws(CheckpointError) {
    let source = partialFolder(step: manifest.step)
    for entry in manifest.files {
      let file = try OpenFile(reading: "\(source)/\(entry.name)")
      guard file.byteCount == entry.bytes else { throw Self.size(of: file, expected: entry.bytes) }
    }
    try manifest.write(to: source)
    try synchronizeFolder(source)
    let target = folder(step: manifest.step)
    let isReplacing = access(target, F_OK) == 0
    if isReplacing { try move(target, to: target + Self.replaced) }
    try move(source, to: target)
    try synchronizeFolder(runFolder)
    if isReplacing { try removeTree(target + Self.replaced) }
  }

  /// Renames the checkpoints of later steps than `step`, so that no resume takes them; all of them for nil.
  ///
  /// They stay on the disk, as `step-00000060.aside`. A link to one of them as the best one goes.
  /// - Returns: their new names, ascending. - Throws: `CheckpointError` when the disk refuses.
  public func setAside(after step: Int?) throws(CheckpointError) -> [String] {
    var renamed: [String] = []
    for later in try steps().reversed() where later > step ?? -1 {
      let source = folder(step: later)
      var target = source + Self.aside
      var copy = 1
      while access(target, F_OK) == 0 {
        copy += 1
        target = "\(source)\(Self.aside)\(copy)"
      }
      try move(source, to: target)
      renamed.insert(lastComponent(target), at: 0)
    }
    if !renamed.isEmpty {
      // A link to what has just gone leads nowhere.
      let link = "\(runFolder)/\(Self.best)"
      if access(link, F_OK) != 0 { unlink(link) }
      try synchronizeFolder(runFolder)
    }
    return renamed
  }

  /// Keeps the newest `keep` checkpoints up to `step` and removes older ones.
  ///
  /// Later steps are neither counted nor removed: after a resume from an earlier step they may be
  /// broken, or wanted. Keep at least 2, so that damage to one costs a little time only. Steps that
  /// `sparing` picks stay as well.
  /// - Throws: `CheckpointError` when the disk refuses.
  public func removeOld(
    keep: Int, upTo step: Int, sparing: (Int) -> Bool = { _ in false }
  ) throws(CheckpointError) {
    precondition(keep >= 1, "the checkpoint just written must stay")
    for old in try steps().filter({ $0 <= step }).dropLast(keep) where !sparing(old) {
      let source = folder(step: old)
      try move(source, to: source + Self.removing)
      try removeTree(source + Self.removing)
    }
  }

  /// Makes `best` in the run folder a link to the checkpoint of `step`.
  ///
  /// - Throws: `CheckpointError` when the disk refuses, or knows no links.
  public func markBest(step: Int) throws(CheckpointError) {
    let link = "\(runFolder)/\(Self.best)"
    let fresh = link + Self.partial
    unlink(fresh)
    guard symlink(lastComponent(folder(step: step)), fresh) == 0 else {
      throw CheckpointError(link, "cannot be made a link (\(systemReason()))")
    }
    try move(fresh, to: link)
  }

  /// Steps that have a final folder, ascending, complete or not; none without a run folder.
  public func steps() throws(CheckpointError) -> [Int] {
    guard access(runFolder, F_OK) == 0 else { return [] }
    let found = try names().compactMap { name -> Int? in
      guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)), step >= 0 else {
        return nil
      }
      // Only names as `folder(step:)` makes them.
      return name == "step-\(padded(step, 8))" ? step : nil
    }
    return found.sorted()
  }

  /// Folder of the newest checkpoint whose files are all there with the right sizes and SHA-256.
  ///
  /// - `broken` is called for each newer folder that is not, with the file and the reason.
  /// - Returns: nil when there is none. - Throws: `CheckpointError` when the run folder is unreadable.
  public func newestComplete(
    broken: (CheckpointError) -> Void
  ) throws(CheckpointError) -> String? {
    for step in try steps().reversed() {
      let folder = folder(step: step)
      do throws(CheckpointError) {
        let manifest = try Self.verify(folder)
        guard manifest.step == step else {
          throw CheckpointError("\(folder)/\(Manifest.name)", "is of step \(manifest.step)")
        }
        return folder
      } catch {
        broken(error)
      }
    }
    return nil
  }

  /// Reads every file of a checkpoint and compares it with the manifest, which must list just the files
  /// that a checkpoint has.
  ///
  /// - Throws: `CheckpointError` naming the first file that is missing, too many or differs, and how.
  public static func verify(_ folder: String) throws(CheckpointError) -> Manifest {
    let manifest = try Manifest(folder: folder)
    try manifest.requireFiles(in: folder)
    for entry in manifest.files {
      let file = try OpenFile(reading: "\(folder)/\(entry.name)")
      guard file.byteCount == entry.bytes else { throw size(of: file, expected: entry.bytes) }
    }
    // Sizes of all files first: they cost nothing and find most damage.
    for entry in manifest.files {
      let path = "\(folder)/\(entry.name)"
      guard try FileDigest(path: path).sha256 == entry.sha256 else {
        throw CheckpointError(path, "has other content than when it was written (SHA-256 differs)")
      }
    }
    return manifest
  }

  private static func size(of file: OpenFile, expected: Int) -> CheckpointError {
    CheckpointError(file.path, "is \(file.byteCount) bytes long; the manifest says \(expected)")
  }

  private func names() throws(CheckpointError) -> [String] {
    do {
      return try FileManager.default.contentsOfDirectory(atPath: runFolder)
    } catch {
      throw CheckpointError(runFolder, "cannot be listed as a folder")
    }
  }
}
