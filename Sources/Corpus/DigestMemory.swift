// What is known about corpora that were read before. Reading 100 GB takes minutes; asking whether the files
// are still the same takes none.
import Foundation

/// Digests by the state the files were in, in a folder that may be deleted at any time.
///
/// A digest is recalled only if the number of files and the size, times and inode of each are what they were. One that
/// cannot be read or written is as good as none.
package struct DigestMemory: Sendable {
  private let folder: String?

  /// Less than this is read again quicker than it is worth remembering.
  private static let leastBytes = CorpusDigest.largestPiece
  /// Files changed later than this before they were read may change again with the same times: some
  /// file systems count whole seconds.
  private static let settled = 2.0

  /// Remembers in `folder`; nil for not at all.
  package init(folder: String?) { self.folder = folder }

  /// The user's own: `reformer-train/corpora` in `$XDG_CACHE_HOME` or `~/.cache`.
  package static var ofUser: DigestMemory {
    let environment = ProcessInfo.processInfo.environment
    // Relative ones are to be ignored (XDG base directory specification).
    let caches =
      environment["XDG_CACHE_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil }
      ?? environment["HOME"].flatMap { $0.hasPrefix("/") ? $0 + "/.cache" : nil }
    return DigestMemory(folder: caches.map { $0 + "/reformer-train/corpora" })
  }

  private struct Entry: Codable {
    let path: String
    let state: String
    let digest: CorpusDigest
  }

  /// The digest of `corpus`, if its files are as they were; `whole` asks for that of older programs.
  package func recall(_ corpus: ByteCorpus, whole: Bool = false) -> CorpusDigest? {
    guard let file = file(corpus, whole: whole),
      let content = FileManager.default.contents(atPath: file),
      let entry = try? JSONDecoder().decode(Entry.self, from: content),
      entry.state == corpus.state, entry.digest.bytes == corpus.count
    else { return nil }
    return entry.digest
  }

  /// Keeps the digest that reading `corpus` from `start` on gave.
  package func remember(
    _ digest: CorpusDigest, of corpus: ByteCorpus, whole: Bool = false, readFrom start: Date
  ) {
    guard let file = file(corpus, whole: whole), corpus.count >= Self.leastBytes,
      corpus.isUnchanged, corpus.lastChange < start.timeIntervalSince1970 - Self.settled,
      let content = try? JSONEncoder().encode(
        Entry(path: corpus.path, state: corpus.state, digest: digest))
    else { return }
    let manager = FileManager.default
    try? manager.createDirectory(
      atPath: file.prefix(upTo: file.lastIndex(of: "/") ?? file.startIndex).description,
      withIntermediateDirectories: true)
    // Ranks of one machine write the same at the same time; a rename cannot be seen half done.
    try? content.write(to: URL(fileURLWithPath: file), options: .atomic)
  }

  /// One file for each corpus, whatever becomes of it.
  private func file(_ corpus: ByteCorpus, whole: Bool) -> String? {
    folder.map { "\($0)/\(corpus.placeName)\(whole ? "-whole" : "").json" }
  }
}

extension ByteCorpus {
  /// Equal for equal files in an equal state, also when other machines look at them.
  package var state: String {
    Self.hash(
      files.map(\.identity).map { "\($0.bytes) \($0.modified) \($0.changed) \($0.inode)" })
  }

  /// Stands for where the files lie.
  fileprivate var placeName: String {
    let folder = FileManager.default.currentDirectoryPath
    return Self.hash(files.map { $0.path.hasPrefix("/") ? $0.path : folder + "/" + $0.path })
  }

  private static func hash(_ lines: [String]) -> String {
    var hash = XXHash64()
    Array(lines.joined(separator: "\n").utf8).withUnsafeBytes { hash.update($0) }
    return "\(lines.count)-" + String(hash.finish(), radix: 16)
  }

  /// Seconds since 1970 when the last of the files was changed.
  fileprivate var lastChange: Double {
    files.reduce(0) { max($0, Double(max($1.identity.modified, $1.identity.changed)) * 1e-9) }
  }

  /// Whether all files still are what they were when the corpus was opened.
  fileprivate var isUnchanged: Bool {
    files.allSatisfy { file in
      guard let descriptor = try? CorpusFile.open(file.path) else { return false }
      defer { close(descriptor) }
      return (try? CorpusFile.identity(of: descriptor, path: file.path)) == file.identity
    }
  }
}
