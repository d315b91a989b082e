import Corpus
import Foundation
import Glibc
import TestSupport
import Testing

@Suite("Byte corpus")
struct ByteCorpusTests {
  @Test("a file gives back its bytes")
  func bytes() throws {
    let folder = try TemporaryFolder()
    let content = (0..<200_003).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ ($0 >> 8)) }
    let corpus = try ByteCorpus(path: folder.write("c", content))
    #expect(corpus.count == content.count)
    #expect(try corpus.bytes(in: 0..<content.count) == content)
    #expect(try corpus.bytes(in: 65_530..<131_080) == Array(content[65_530..<131_080]))
    #expect(try corpus.bytes(in: 7..<7).isEmpty)
  }

  @Test("reading all of a corpus leaves little of it resident")
  func residentBytes() throws {
    let folder = try TemporaryFolder()
    let size = 32 << 20
    let corpus = try ByteCorpus(path: folder.write("c", [UInt8](repeating: 1, count: size)))
    _ = try corpus.digest()
    let before = try Self.residentFileBytes()
    for start in stride(from: 0, to: size, by: 4096) {
      _ = try corpus.bytes(in: start..<(start + 4096))
    }
    // Far below the corpus, far above what tests running beside this one map (under 3 MB).
    #expect(try Self.residentFileBytes() - before < size / 4)
  }

  // Pages of mapped files that this process has in memory (RssShmem when they are in a tmpfs).
  private static func residentFileBytes() throws -> Int {
    let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
    let sizes = status.split(separator: "\n").compactMap { line -> Int? in
      guard line.hasPrefix("RssFile:") || line.hasPrefix("RssShmem:") else { return nil }
      return Int(line.filter(\.isNumber))
    }
    return try #require(sizes.count == 2 ? sizes.reduce(0, +) * 1024 : nil)
  }

  @Test("the standard cut of 100,000,000 bytes is that of enwik8")
  func enwik8Boundaries() throws {
    let cut = try SplitFractions([0.9, 0.05, 0.05])
    #expect(cut == .standard)
    #expect(cut.range(of: .train, count: 100_000_000) == 0..<90_000_000)
    #expect(cut.range(of: .validation, count: 100_000_000) == 90_000_000..<95_000_000)
    #expect(cut.range(of: .test, count: 100_000_000) == 95_000_000..<100_000_000)
  }

  private static let cuts: [[Double]] = [
    [0.9, 0.05, 0.05], [1, 0, 0], [0, 0, 1], [1.0 / 3, 1.0 / 3, 1.0 / 3], [0.7, 0.2, 0.1],
  ]

  @Test(
    "splits follow each other without gap or overlap",
    arguments: [1, 2, 19, 20, 999_999, 1_000_001, 6_089_746, Int.max], cuts)
  func partition(count: Int, fractions: [Double]) throws {
    let cut = try SplitFractions(fractions)
    let ranges = CorpusSplit.allCases.map { cut.range(of: $0, count: count) }
    #expect(ranges[0].lowerBound == 0)
    #expect(ranges[0].upperBound == ranges[1].lowerBound)
    #expect(ranges[1].upperBound == ranges[2].lowerBound)
    #expect(ranges[2].upperBound == count)
    for (range, fraction) in zip(ranges, fractions) {
      // A split has two cuts, each off by half a millionth and, rounded down, by up to a byte.
      let bound = 1e-6 * Double(count) + 2
      #expect(abs(Double(range.count) - fraction * Double(count)) <= bound)
    }
  }

  private static let illegalCuts: [[Double]] = [
    [], [1], [0.5, 0.5], [0.9, 0.05, 0.06], [0.9, 0.05, 0.04], [1.1, -0.1, 0], [.nan, 0.5, 0.5],
    [0.25, 0.25, 0.25, 0.25],
  ]

  @Test("shares that are not three parts of a whole are refused", arguments: illegalCuts)
  func illegalFractions(fractions: [Double]) {
    // Compared by case: a list with NaN does not equal itself.
    #expect {
      try SplitFractions(fractions)
    } throws: { error in
      guard case CorpusError.illegalFractions = error else { return false }
      return "\(error)".contains("data.split") && "\(error)".contains("sum to 1")
    }
  }

  @Test("a missing file names its path and the script that fetches corpora")
  func missing() throws {
    let folder = try TemporaryFolder()
    let path = folder.path("nowhere")
    let error = #expect(throws: CorpusError.missing(path: path)) { try ByteCorpus(path: path) }
    #expect(error?.description.contains(path) == true)
    #expect(error?.description.contains("launch/corpus.sh") == true)
  }

  @Test("empty files and folders, a device and a path through a file are refused as what they are")
  func unusable() throws {
    let folder = try TemporaryFolder()
    let empty = try folder.write("empty", [])
    #expect(throws: CorpusError.empty(path: empty)) { try ByteCorpus(path: empty) }
    #expect(throws: CorpusError.emptyFolder(path: folder.path)) {
      try ByteCorpus(path: folder.path)
    }
    #expect(throws: CorpusError.notAFile(path: "/dev/null")) { try ByteCorpus(path: "/dev/null") }
    let through = empty + "/corpus"
    let reason = String(cString: strerror(ENOTDIR))
    #expect(throws: CorpusError.unreadable(path: through, reason: reason)) {
      try ByteCorpus(path: through)
    }
  }

  // Root may read everything, so there is nothing to refuse.
  @Test("a file without read permission is refused", .enabled(if: geteuid() != 0))
  func forbidden() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write("secret", [1, 2, 3])
    chmod(path, 0)
    let reason = String(cString: strerror(EACCES))
    #expect(throws: CorpusError.unreadable(path: path, reason: reason)) {
      try ByteCorpus(path: path)
    }
  }

  @Test("every error is one line")
  func oneLine() {
    let errors: [CorpusError] = [
      .missing(path: "p"), .notFetched(name: "n", path: "p"), .illegalName("corpus:/"),
      .emptyFolder(path: "p"), .twice(path: "p"), .notAFile(path: "p"), .empty(path: "p"),
      .unreadable(path: "p", reason: "r"), .illegalFractions([2, -1, 0]),
      .splitTooShort(path: "p", split: .test, bytes: 1, needed: 2),
    ]
    for error in errors { #expect(!error.description.contains("\n")) }
  }

  @Test(
    "the digest is the published XXH64",
    arguments: [
      // From the reference implementation's xxhsum 0.8.1, sizes around its 4, 8 and 32 byte steps.
      ("a", "d24ec4f1a98c6e5b"),
      ("abc", "44bc2cf5ad770999"),
      ("0123456789abcde", "4bb51a30968e6a4d"),
      ("0123456789abcdef0123456789abcdef", "642a94958e71e6c5"),
      ("0123456789abcdef0123456789abcdef0123456789abcdef012", "a478e982a7d26ab2"),
    ])
  func digestVectors(text: String, hash: String) throws {
    let folder = try TemporaryFolder()
    let corpus = try ByteCorpus(path: folder.write("c", text: text))
    #expect(try corpus.digest().description == "\(text.utf8.count)-\(hash)")
  }

  @Test("the digest of a file read in several pieces sees every byte")
  func digestPieces() throws {
    let folder = try TemporaryFolder()
    var content = [UInt8](repeating: 65, count: 2_500_000)
    let digest = try ByteCorpus(path: folder.write("a", content)).digest()
    #expect(digest.description == "2500000-a5db99713f815b0d")
    for position in [0, 1 << 20, 2_499_999] {
      content[position] ^= 1
      #expect(try ByteCorpus(path: folder.write("b", content)).digest() != digest)
      content[position] ^= 1
    }
    #expect(try ByteCorpus(path: folder.write("b", content)).digest() == digest)
  }

  @Test("a file that shrank is reported instead of hashed")
  func shrunk() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write("c", [UInt8](repeating: 1, count: 5000))
    let corpus = try ByteCorpus(path: path)
    #expect(truncate(path, 1000) == 0)
    let reason = "it shrank from 5000 to 1000 bytes"
    #expect(throws: CorpusError.unreadable(path: path, reason: reason)) { try corpus.digest() }
  }
}
