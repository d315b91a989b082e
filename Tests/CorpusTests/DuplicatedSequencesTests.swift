// Sequences 0w0w: what they are, that they follow from seed and number alone, and what of them is asked for.
import Corpus
import TestSupport
import Testing

@Suite("Sequences that repeat themselves")
struct DuplicatedSequencesTests {
  private static func corpus(_ length: Int, seed: UInt64 = 3) -> ByteCorpus {
    ByteCorpus(DuplicatedSequences(length: length, seed: seed))
  }

  /// Places of each split that lie far apart: its first sequences, and its last.
  private static func sequences(_ corpus: ByteCorpus, _ length: Int) -> [Range<Int>] {
    CorpusSplit.allCases.flatMap { split in
      let range = corpus.range(of: split)
      let starts =
        [0, 1, 2].map { range.lowerBound + $0 * length } + [range.upperBound - 1 - length]
      return starts.map { $0..<$0 + length }
    }
  }

  @Test(
    "each is 0w0w with w from 1 to 127, and the second w alone is asked for",
    arguments: [4, 6, 90, 1024])
  func definition(length: Int) throws {
    let corpus = Self.corpus(length)
    for place in Self.sequences(corpus, length) {
      let bytes = try corpus.bytes(in: place)
      let (first, second) = (Array(bytes[..<(length / 2)]), Array(bytes[(length / 2)...]))
      #expect(first == second && first[0] == 0)
      #expect(first.dropFirst().allSatisfy { (1...127).contains($0) })
      let scored = place.map(corpus.isScored)
      #expect(
        scored == (0..<length).map { $0 >= length / 2 + 1 },
        "the half, and the 0 that begins the other, say nothing")
    }
  }

  @Test("symbols are uniform, and those of different places, sequences and seeds independent")
  func uniform() throws {
    let corpus = Self.corpus(1024)
    let words = try (0..<250).map { try corpus.bytes(in: $0 * 1024 + 1..<$0 * 1024 + 512) }
    var counts = [Double](repeating: 0, count: 128)
    for symbol in words.joined() { counts[Int(symbol)] += 1 }
    let mean = Double(250 * 511) / 127
    let chiSquare = counts.dropFirst().reduce(0) { $0 + ($1 - mean) * ($1 - mean) / mean }
    // 126 degrees of freedom: mean 126, standard deviation 15.9; six of them either way.
    #expect(counts[0] == 0 && abs(chiSquare - 126) < 96)
    func equal(_ one: [UInt8], _ other: [UInt8]) -> Int { zip(one, other).count { $0 == $1 } }
    let other = try Self.corpus(1024, seed: 4).bytes(in: 1..<512)
    // 511 / 127 = 4 equal ones are expected, with a deviation of 2.
    #expect(equal(words[0], other) < 16)
    for number in 1..<250 { #expect(equal(words[0], words[number]) < 20) }
    for shift in 1..<20 { #expect(equal(Array(words[0].dropFirst(shift)), words[0]) < 20) }
  }

  @Test("a byte depends on seed, length and place alone, however it is asked for")
  func purity() throws {
    let (one, other) = (Self.corpus(90), Self.corpus(90))
    let start = one.range(of: .test).lowerBound - 200
    let bytes = try one.bytes(in: start..<start + 400)
    for place in (0..<400).reversed() {
      #expect(try other.bytes(in: start + place..<start + place + 1) == [bytes[place]])
    }
    #expect(try one.digest() == other.digest())
    #expect(try one.digest() != Self.corpus(90, seed: 4).digest())
    #expect(try one.digest() != Self.corpus(92).digest())
  }

  @Test("training windows are whole sequences, each once, and none is held out")
  func windows() throws {
    let corpus = Self.corpus(90)
    let plan = try BatchPlan(corpus: corpus, length: 90, seed: 11)
    let held = corpus.range(of: .validation).lowerBound
    var starts: Set<Int> = []
    for sample in 0..<3000 {
      let window = plan.window(sample: sample)
      #expect(window.count == 91 && window.lowerBound.isMultiple(of: 90))
      #expect(window.upperBound <= held + 1)
      starts.insert(window.lowerBound)
    }
    #expect(starts.count == 3000)
  }

  @Test(
    "evaluation takes whole sequences of its split, no more than are held out unless asked to",
    arguments: [(0, 1024), (1, 1), (90, 1), (91, 2), (900, 10), (1 << 20, 11651)])
  func evaluation(limit: Int, count: Int) throws {
    let corpus = Self.corpus(90)
    for split in CorpusSplit.allCases {
      let windows = try corpus.evaluationWindows(split, length: 90, limit: limit)
      #expect(windows.count == (split == .train ? count : min(count, 1024)))
      let first = corpus.range(of: split).lowerBound
      for (index, window) in windows.enumerated() {
        #expect(window.bytes == first + index * 90..<first + index * 90 + 91)
      }
    }
  }
}
