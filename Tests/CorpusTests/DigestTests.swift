import Corpus
import Foundation
import Glibc
import TestSupport
import Testing

@Suite("Corpus digests")
struct DigestTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  /// More than one piece, not a multiple of anything.
  private func large(_ name: String = "large") throws -> String {
    try folder.write(
      name, (0..<((20 << 20) + 3)).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ ($0 >> 8)) })
  }

  // Constants from xxhsum 0.8.1, and from it and Python's struct for the hash of hashes.

  @Test("a large file has a digest of its pieces, and the one that older programs made")
  func pieces() throws {
    let corpus = try ByteCorpus(path: large())
    let digest = try corpus.digest()
    #expect(digest.description == "20971523-47b6fc21c8fd277a-16777216")
    #expect(corpus.hasWholeDigest)
    var work = WholeDigestWork(corpus)
    for _ in 0..<work.stepCount { #expect(try work.step()) }
    let whole = work.digest()
    #expect(whole.description == "20971523-5ed9c3f79aaf8448")
    #expect(!whole.isComparable(with: digest))
    #expect(whole.isComparable(with: whole))
    #expect(CorpusDigest(bytes: 5, xxh64: 1).isComparable(with: digest))
  }

  @Test("several files have a digest that depends on their edges and their order")
  func files() throws {
    let (abc, a) = (try folder.write("abc", text: "abc"), try folder.write("a", text: "a"))
    let digest = try ByteCorpus(paths: [abc, a]).digest()
    #expect(digest.description == "4-ba1a8192e627de01-16777216")
    #expect(try ByteCorpus(paths: [a, abc]).digest() != digest)
    let (ab, ca) = (try folder.write("ab", text: "ab"), try folder.write("ca", text: "ca"))
    #expect(try ByteCorpus(paths: [ab, ca]).digest() != digest)
  }

  @Test("shares of the work, taken in any order by anybody, give one digest", arguments: [1, 3])
  func shares(fileCount: Int) throws {
    var paths = try (0..<fileCount).map { try large("large\($0)") }
    if fileCount > 1 {
      paths += try (0..<300).map { try folder.write("s\($0)", [1, UInt8($0 % 9)]) }
    }
    let digest = try ByteCorpus(paths: paths).digest()
    let works = try (0..<2).map { _ in DigestWork(try ByteCorpus(paths: paths)) }
    // Two pieces a large file; all small ones fit beside the last.
    #expect(works[0].shareCount == 2 * fileCount)
    var hashes = [[UInt64]](repeating: [], count: works[0].shareCount)
    for share in hashes.indices.reversed() {
      hashes[share] = try works[share % 2].hashes(share: share) ?? []
    }
    #expect(works[0].digest(hashes: hashes) == digest)
    // Asked after each MiB.
    var asked = 0
    let stopped = try works[0].hashes(share: 0) {
      asked += 1
      return asked == 3
    }
    #expect(stopped == nil && asked == 3)
  }

  @Test("a digest is stored and read back, as older programs stored it where they could have")
  func coding() throws {
    let whole = CorpusDigest(bytes: 7, xxh64: .max)
    let old = #"{"bytes":7,"xxh64":18446744073709551615}"#
    #expect(try JSONDecoder().decode(CorpusDigest.self, from: Data(old.utf8)) == whole)
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    #expect(String(decoding: try encoder.encode(whole), as: UTF8.self) == old)
    let pieces = try ByteCorpus(path: large()).digest()
    let mix = CorpusDigest(parts: [whole, pieces])
    #expect(mix != CorpusDigest(parts: [pieces, whole]))
    #expect(CorpusDigest(parts: [pieces]) == pieces)
    for digest in [pieces, mix] {
      let data = try JSONEncoder().encode(digest)
      #expect(try JSONDecoder().decode(CorpusDigest.self, from: data) == digest)
    }
  }

  // MARK: Memory

  private var now: Date { Date() }

  /// A file old enough to be remembered.
  private func settled() throws -> String {
    let path = try large()
    usleep(2_100_000)
    return path
  }

  @Test("a digest is recalled while the file is what it was, and forgotten with any change")
  func memory() throws {
    let path = try settled()
    let memory = DigestMemory(folder: folder.path("cache/deep"))
    let corpus = try ByteCorpus(path: path)
    let digest = try corpus.digest()
    #expect(memory.recall(corpus) == nil)
    memory.remember(digest, of: corpus, readFrom: now)
    #expect(memory.recall(corpus) == digest)
    #expect(memory.recall(try ByteCorpus(path: path)) == digest)
    #expect(memory.recall(corpus, whole: true) == nil)
    #expect(memory.recall(try ByteCorpus(path: large("other"))) == nil)

    // Another byte, with size, inode and time of modification put back.
    var status = stat()
    #expect(stat(path, &status) == 0)
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    try handle.write(contentsOf: [99])
    try handle.close()
    let times = [status.st_atim, status.st_mtim]
    #expect(utimensat(AT_FDCWD, path, times, 0) == 0)
    let changed = try ByteCorpus(path: path)
    #expect(memory.recall(changed) == nil)
    #expect(try changed.digest() != digest)
    // What was read while the file changed is not kept either.
    memory.remember(digest, of: corpus, readFrom: now)
    #expect(memory.recall(changed) == nil)
  }

  @Test("a file changed just before it was read is not remembered: its times may not tell")
  func tooYoung() throws {
    let corpus = try ByteCorpus(path: large())
    let memory = DigestMemory(folder: folder.path("cache"))
    memory.remember(try corpus.digest(), of: corpus, readFrom: now)
    #expect(memory.recall(corpus) == nil)
  }

  @Test("a memory that cannot be written or read is none, and damage in it is not believed")
  func unusableMemory() throws {
    let path = try settled()
    let corpus = try ByteCorpus(path: path)
    let digest = try corpus.digest()
    let file = try folder.write("file", [1])
    for memory in [DigestMemory(folder: nil), DigestMemory(folder: file + "/in/a/file")] {
      memory.remember(digest, of: corpus, readFrom: now)
      #expect(memory.recall(corpus) == nil)
    }
    let memory = DigestMemory(folder: folder.path("cache"))
    memory.remember(digest, of: corpus, readFrom: now)
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path("cache"))
    #expect(names.count == 1)
    let entry = try Data(contentsOf: URL(fileURLWithPath: folder.path("cache/" + names[0])))
    for damaged in [Data(), entry.dropLast(1), Data("{}".utf8), Data([0xFF])] {
      try folder.write("cache/" + names[0], damaged)
      #expect(memory.recall(corpus) == nil)
    }
    try folder.write("cache/" + names[0], entry)
    #expect(memory.recall(corpus) == digest)
  }
}
