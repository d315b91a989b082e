import Communication
import Corpus
import Foundation
import Glibc
import TestSupport
import Testing
import Training

@Suite("What a corpus holds is found out once, by all ranks together", .serialized)
struct SharedDigestTests {
  let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  /// A file of `count` zeros that takes no room on the disk.
  private func zeros(_ name: String, _ count: Int) throws -> String {
    let path = try tiny.folder.write(name, [])
    try #require(truncate(path, count) == 0)
    return path
  }

  private func train(
    _ corpus: String, ranks: Int, _ more: [String] = [], when text: String,
    act: (Process) -> Void
  ) throws -> ProgramRun {
    try ProgramRun(
      "reformer-train", ranks: ranks,
      arguments: [
        "train", "--config", tiny.config, "--output", tiny.output("run"), "--set",
        "data.corpus=\(corpus)", "--set", "run.steps=1000000", "--set", "run.evaluate_bytes=90",
      ] + more, environment: ["XDG_CACHE_HOME": tiny.folder.path("cache")], when: text, act: act)
  }

  private func ranks(of process: Process) -> [pid_t] {
    let pid = process.processIdentifier
    let children = try? String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8)
    return (children ?? "").split(separator: " ").compactMap { pid_t($0) }
  }

  /// Bytes that each rank has read when training begins; the run then ends.
  private func bytesRead(_ corpus: String, _ more: [String] = []) throws -> [Int] {
    var read: [Int] = []
    let run = try train(corpus, ranks: 2, more, when: "run folder") { process in
      for rank in ranks(of: process) {
        let lines = (try? String(contentsOfFile: "/proc/\(rank)/io", encoding: .utf8)) ?? ""
        let count = lines.firstMatch(of: /rchar: (\d+)/).flatMap { Int($0.1) }
        read.append(count ?? -1)
        kill(rank, SIGTERM)
      }
    }
    #expect(run.status == 0, "\(run.output)")
    return read
  }

  @Test(
    "ranks share the reading, the next start reads nothing, and a changed byte is found",
    .needs(.mpirun))
  func sharing() throws {
    let size = 96 << 20
    let corpus = try zeros("zeros", size)
    // Files that have just changed are not remembered.
    usleep(2_100_000)
    let first = try bytesRead(corpus)
    #expect(first.count == 2)
    // Half each, and what starting takes; all of it each, until this was shared.
    #expect(first.allSatisfy { $0 >= size / 2 && $0 < size * 3 / 4 }, "\(first)")
    let second = try bytesRead(corpus, ["--resume", "auto"])
    #expect(second.count == 2)
    #expect(second.allSatisfy { $0 >= 0 && $0 < size / 4 }, "\(second)")
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: corpus))
    try handle.seek(toOffset: UInt64(size - 1))
    try handle.write(contentsOf: [1])
    try handle.close()
    let refused = try train(corpus, ranks: 2, ["--resume", "auto"], when: "run folder") { process in
      for rank in ranks(of: process) { kill(rank, SIGTERM) }
    }
    #expect(refused.status == 2, "\(refused.output)")
    #expect(refused.output.contains("was trained on corpus"), "\(refused.output)")
  }

  @Test(
    "a signal to one rank ends the reading of a corpus, and nothing is left behind",
    .needs(.mpirun))
  func signal() throws {
    // An hour's reading.
    let corpus = try zeros("endless", 1 << 43)
    var sent = ContinuousClock.now
    let run = try train(corpus, ranks: 2, when: "to know its content") { process in
      usleep(500_000)
      sent = .now
      if let rank = ranks(of: process).last { kill(rank, SIGUSR1) }
    }
    #expect(run.status == 1, "\(run.output)")
    // A second for the ranks, and what mpirun takes to end them.
    #expect(ContinuousClock.now - sent < .seconds(6))
    let message = "stopped by a signal while corpus \(corpus) was read"
    #expect(run.output.contains(message), "\(run.output)")
    #expect(!FileManager.default.fileExists(atPath: tiny.output("run")))
  }

  @Test("any number of ranks finds one digest, with one file and with copies", arguments: 1...4)
  func ranks(count: Int) throws {
    let folder = tiny.folder
    let content = (0..<(40 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 7 ^ ($0 >> 13)) }
    for name in ["a", "b"] { try folder.write(name, content) }
    let expected = try ByteCorpus(path: folder.path("a")).digest()
    let digests = try ThreadedCommunicator.run(ranks: count) { communicator in
      let shared = SharedDigest(
        communicator: communicator, progress: Progress(rank: 1), memory: DigestMemory(folder: nil))
      // Every second rank has a copy of its own, as on another machine.
      let name = communicator.rank % 2 == 0 ? "a" : "b"
      let corpora = try ["a", name].map { try ByteCorpus(path: folder.path($0)) }
      return try corpora.map { try shared.digest(of: $0) }
    }
    #expect(digests.count == count)
    #expect(digests.allSatisfy { $0 == [expected, expected] })
    // One byte of one copy.
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: folder.path("b")))
    try handle.write(contentsOf: [99])
    try handle.close()
    let others = try ThreadedCommunicator.run(ranks: count) { communicator in
      let shared = SharedDigest(
        communicator: communicator, progress: Progress(rank: 1), memory: DigestMemory(folder: nil))
      let name = communicator.rank % 2 == 0 ? "a" : "b"
      return try shared.digest(of: ByteCorpus(path: folder.path(name)))
    }
    #expect(others.enumerated().allSatisfy { ($1 == expected) == ($0 % 2 == 0) })
  }

  @Test("a checkpoint that tells of a large corpus as older programs did is still compared with it")
  func olderProgram() throws {
    let path = try tiny.folder.write(
      "large", (0..<(20 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 7 ^ ($0 >> 13)) })
    let config = try RunConfig.load(file: tiny.config, overrides: ["data.corpus=\(path)"])
    let data = try RunData(
      config: config, communicator: SoloCommunicator(), progress: Progress(rank: 1))
    var work = WholeDigestWork(try ByteCorpus(path: path))
    for _ in 0..<work.stepCount { #expect(try work.step()) }
    let old = work.digest()
    let digest = try data.digest()
    #expect(old != digest)
    #expect(try data.matches(old, digest: digest))
    #expect(try data.matches(digest, digest: digest))
    let others = [
      CorpusDigest(bytes: old.bytes, xxh64: old.xxh64 ^ 1),
      CorpusDigest(bytes: 7, xxh64: old.xxh64),
      CorpusDigest(parts: [old, old]),
    ]
    for other in others { #expect(try !data.matches(other, digest: digest)) }
  }
}
