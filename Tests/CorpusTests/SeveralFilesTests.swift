import Corpus
import Foundation
import Glibc
import TestSupport
import Testing

@Suite("A corpus of several files")
struct SeveralFilesTests {
  private static func file(_ count: Int, _ salt: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ salt) }
  }

  @Test("a folder is its files and those of its subfolders, by path, without hidden and empty ones")
  func folder() throws {
    let folder = try TemporaryFolder()
    for name in ["b", "b/.git", ".hidden", "empty"] {
      try FileManager.default.createDirectory(
        atPath: folder.path(name), withIntermediateDirectories: true)
    }
    // In bytes "B" < "a", "b-" < "b/" < "b0".
    let contents = ["a": "1", "B": "0", "b/z": "3", "b-": "2", "b0": "4", "no bytes": ""]
    for (name, text) in contents { try folder.write(name, text: text) }
    try folder.write(".swap", text: "x")
    try folder.write("b/.git/config", text: "x")
    try folder.write(".hidden/y", text: "x")
    for path in [folder.path, folder.path + "/"] {
      let corpus = try ByteCorpus(path: path)
      #expect(try corpus.bytes(in: 0..<corpus.count) == Array("01234".utf8))
      #expect(corpus.fileCount == 5)
    }
  }

  @Test("a list is its files and folders in the order given, bytes across their edges included")
  func list() throws {
    let folder = try TemporaryFolder()
    let contents = (0..<70).map { Self.file(100 + $0, $0) }
    // More files than stay open, read in an order that opens them again and again.
    let paths = try contents.indices.map { try folder.write("f\(69 - $0)", contents[$0]) }
    let corpus = try ByteCorpus(paths: paths)
    let all = contents.flatMap { $0 }
    #expect(corpus.count == all.count)
    for start in stride(from: 0, to: all.count - 350, by: 97) {
      let range = (start * 41 % (all.count - 350))..<(start * 41 % (all.count - 350) + 350)
      #expect(try corpus.bytes(in: range) == Array(all[range]))
    }
    #expect(try corpus.bytes(in: 0..<all.count) == all)
  }

  @Test("a file that is there twice, or is no file, is refused by name")
  func refused() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write("a", [1])
    let nothing = try folder.write("nothing", [])
    #expect(throws: CorpusError.twice(path: path)) { try ByteCorpus(paths: [folder.path, path]) }
    #expect(throws: CorpusError.twice(path: folder.path("./a"))) {
      try ByteCorpus(paths: [path, folder.path("./a")])
    }
    #expect(throws: CorpusError.empty(path: nothing)) { try ByteCorpus(paths: [path, nothing]) }
    #expect(symlink("nowhere", folder.path("z")) == 0)
    #expect(throws: CorpusError.missing(path: folder.path("z"))) {
      try ByteCorpus(path: folder.path)
    }
  }

  @Test("a corpus by name says which command fetches it")
  func names() {
    let error = #expect(throws: CorpusError.self) { try ByteCorpus(path: "corpus:no-such-corpus") }
    #expect(error == .notFetched(name: "no-such-corpus", path: "corpora/no-such-corpus"))
    #expect("\(error as Any)".contains("launch/corpus.sh no-such-corpus"))
    for name in ["corpus:", "corpus:../x", "corpus:A B"] {
      #expect(throws: CorpusError.illegalName(name)) { try ByteCorpus(path: name) }
    }
  }

  @Test("a file that is replaced while it is in use is not read on")
  func replaced() throws {
    let folder = try TemporaryFolder()
    let paths = try (0..<40).map { try folder.write("f\($0)", [7, 7, 7]) }
    let corpus = try ByteCorpus(paths: paths)
    #expect(try corpus.bytes(in: 0..<3) == [7, 7, 7])
    // Read 32 others, so that the first has to be opened again.
    for index in 1..<40 { _ = try corpus.bytes(in: (3 * index)..<(3 * index + 3)) }
    try FileManager.default.removeItem(atPath: paths[0])
    try folder.write("f0", [8, 8, 8])
    let expected = CorpusError.unreadable(path: paths[0], reason: "it changed since the start")
    #expect(throws: expected) { try corpus.bytes(in: 0..<3) }
  }

  /// Files of these sizes, and the edges between them.
  private static func corpus(
    _ sizes: [Int], in folder: TemporaryFolder, split: [Double] = [1, 0, 0]
  ) throws -> (ByteCorpus, edges: [Int]) {
    let paths = try sizes.enumerated().map { index, size in
      try folder.write("f\(index)", file(size, index))
    }
    let edges = sizes.reduce(into: [0]) { $0.append(($0.last ?? 0) + $1) }
    return (try ByteCorpus(paths: paths, fractions: SplitFractions(split)), edges)
  }

  @Test("no window crosses the edge of a file that holds one, and an epoch is complete")
  func windows() throws {
    let folder = try TemporaryFolder()
    let sizes = [101, 64, 65, 500, 66, 129, 1000]
    let (corpus, edges) = try Self.corpus(sizes, in: folder)
    let plan = try BatchPlan(corpus: corpus, length: 64, seed: 9)
    // The file of 64 bytes has none to predict the last of 64 from, and stands alone.
    #expect((plan.unusedStretches, plan.unusedBytes) == (1, 64))
    #expect(plan.windowsPerEpoch == sizes.map { ($0 - 1) / 64 }.reduce(0, +))
    for epoch in 0..<20 {
      let windows = (0..<plan.windowsPerEpoch).map {
        plan.window(sample: epoch * plan.windowsPerEpoch + $0)
      }
      for (index, size) in sizes.enumerated() {
        let inside = windows.filter {
          $0.lowerBound >= edges[index] && $0.upperBound <= edges[index + 1]
        }.sorted { $0.lowerBound < $1.lowerBound }
        #expect(inside.count == (size - 1) / 64)
        #expect(zip(inside, inside.dropFirst()).allSatisfy { $0.lowerBound + 64 == $1.lowerBound })
      }
    }
  }

  @Test("small files that follow each other are trained on as one")
  func smallFiles() throws {
    let folder = try TemporaryFolder()
    let (corpus, edges) = try Self.corpus([10, 200, 30, 30, 30, 30, 200, 5, 6, 90], in: folder)
    let stretches = corpus.stretches(of: .train, length: 64)
    #expect(
      stretches == [
        0..<10, 10..<210, 210..<330, 330..<530, 530..<541, 541..<631,
      ])
    #expect(edges.last == 631)
    let plan = try BatchPlan(corpus: corpus, length: 64, seed: 1)
    #expect(plan.windowsPerEpoch == 3 + 1 + 3 + 1)
    #expect((plan.unusedStretches, plan.unusedBytes) == (2, 21))
    // 10,000 files smaller than a window are a corpus like any other.
    let many = try TemporaryFolder()
    for index in 0..<1000 { try many.write("\(index)", Self.file(20, index)) }
    let small = try ByteCorpus(path: many.path)
    #expect(try BatchPlan(corpus: small, length: 64, seed: 1).windowsPerEpoch == 17_999 / 64)
  }

  @Test("splits cut files as they cut one, and every byte of a stretch but its first is scored")
  func evaluation() throws {
    let folder = try TemporaryFolder()
    let (corpus, _) = try Self.corpus([400, 300, 20, 20, 260], in: folder, split: [0.5, 0.2, 0.3])
    #expect(corpus.stretches(of: .train, length: 64) == [0..<400, 400..<500])
    #expect(corpus.stretches(of: .validation, length: 64) == [500..<700])
    #expect(corpus.stretches(of: .test, length: 64) == [700..<740, 740..<1000])
    let windows = try corpus.evaluationWindows(.test, length: 64, stride: 32)
    let targets = windows.flatMap { Array($0.bytes.dropFirst()) }
    #expect(targets == Array(701..<740) + Array(741..<1000))
    #expect(windows.allSatisfy { $0.reach == ($0.bytes.lowerBound < 740 ? 700 : 740) })
    let some = try corpus.evaluationWindows(.test, length: 64, limit: 50)
    #expect(some.map { $0.bytes.count - 1 } == [39, 11])
  }

  @Test("a file and the only file of a folder are the same data")
  func onlyFile() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write("a", Self.file(1000, 3))
    let (alone, inFolder) = (try ByteCorpus(path: path), try ByteCorpus(path: folder.path))
    #expect(try alone.digest() == inFolder.digest())
    let plans = try [alone, inFolder].map { try BatchPlan(corpus: $0, length: 16, seed: 5) }
    #expect((0..<200).allSatisfy { plans[0].window(sample: $0) == plans[1].window(sample: $0) })
  }
}
