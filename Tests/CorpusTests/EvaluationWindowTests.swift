import Corpus
import TestSupport
import Testing

@Suite("Evaluation windows and made-up bytes")
struct EvaluationWindowTests {
  private static func corpus(_ folder: TemporaryFolder, count: Int) throws -> ByteCorpus {
    let content = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    return try ByteCorpus(path: folder.write("c\(count)", content))
  }

  @Test(
    "every byte of a split but its first is scored exactly once",
    arguments: CorpusSplit.allCases, [1, 7, 49, 50, 1000])
  func everyByteOnce(split: CorpusSplit, length: Int) throws {
    let folder = try TemporaryFolder()
    let corpus = try Self.corpus(folder, count: 1000)
    let bytes = corpus.range(of: split)
    let windows = try corpus.evaluationWindows(split, length: length)
    #expect(windows.flatMap { Array($0.bytes.dropFirst()) } == Array(bytes.dropFirst()))
    #expect(windows.dropLast().allSatisfy { $0.bytes.count == length + 1 })
    #expect(windows.allSatisfy { $0.bytes.count >= 2 && $0.bytes.count <= length + 1 })
    #expect(windows.allSatisfy { $0.reach == bytes.lowerBound })
    let scored = try windows.flatMap { try corpus.bytes(in: $0.bytes).dropFirst() }
    #expect(try scored == Array(corpus.bytes(in: bytes).dropFirst()))
  }

  @Test(
    "a limit scores that many bytes from the start of the split",
    arguments: [(1, 1), (16, 1), (17, 2), (48, 3), (49, 4), (5000, 4)])
  func limit(limit: Int, windowCount: Int) throws {
    let folder = try TemporaryFolder()
    let corpus = try Self.corpus(folder, count: 1000)
    let windows = try corpus.evaluationWindows(.test, length: 16, limit: limit)
    #expect(windows.count == windowCount)
    #expect(windows.map { $0.bytes.count - 1 }.reduce(0, +) == min(limit, 49))
    #expect(windows.first?.bytes.lowerBound == 950)
  }

  @Test("a split without a byte to score is refused with both numbers")
  func nothingToScore() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write("c", [UInt8](repeating: 0, count: 20))
    let corpus = try ByteCorpus(path: path)
    let expected = CorpusError.splitTooShort(path: path, split: .validation, bytes: 1, needed: 2)
    #expect(throws: expected) { try corpus.evaluationWindows(.validation, length: 4) }
  }

  @Test("made-up bytes depend on seed and index only, and a short window starts a longer one")
  func syntheticPurity() {
    let long = SyntheticTasks.uniformBytes(seed: 1, index: 5, count: 1000)
    #expect(long.count == 1000)
    for count in [0, 1, 7, 8, 9, 999] {
      let short = SyntheticTasks.uniformBytes(seed: 1, index: 5, count: count)
      #expect(short == Array(long.prefix(count)))
    }
    #expect(long != SyntheticTasks.uniformBytes(seed: 1, index: 6, count: 1000))
    #expect(long != SyntheticTasks.uniformBytes(seed: 2, index: 5, count: 1000))
  }

  @Test("made-up bytes are uniform")
  func syntheticUniform() {
    var counts = [Int](repeating: 0, count: 256)
    for byte in SyntheticTasks.uniformBytes(seed: 3, index: 0, count: 256_000) {
      counts[Int(byte)] += 1
    }
    let chiSquare = counts.map { Double(($0 - 1000) * ($0 - 1000)) / 1000 }.reduce(0, +)
    // 255 degrees of freedom: mean 255, standard deviation 22.6; six of them either way.
    #expect(abs(chiSquare - 255) < 136)
  }
}
