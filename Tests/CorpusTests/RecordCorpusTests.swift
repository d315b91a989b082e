// Corpora of records, one a line: where they are cut, and that no window crosses the edge of a long one.
import Corpus
import TestSupport
import Testing

@Suite("Corpora of records")
struct RecordCorpusTests {
  /// Lines of so many bytes each, newline included, one file for each list; the last line of a file ends without one.
  private static func text(_ lines: [Int], salt: Int) -> [UInt8] {
    var text: [UInt8] = []
    for (index, count) in lines.enumerated() {
      text += (0..<count - 1).map { UInt8(65 + ($0 + index + salt) % 26) }
      text.append(0x0A)
    }
    text[text.count - 1] = 65
    return text
  }

  private func corpus(
    _ files: [[Int]], over length: Int, _ fractions: [Double] = [1, 0, 0]
  ) throws -> ByteCorpus {
    let folder = try TemporaryFolder()
    for (index, lines) in files.enumerated() {
      try folder.write("\(index)", Self.text(lines, salt: index))
    }
    defer { withExtendedLifetime(folder) {} }
    return try ByteCorpus(
      paths: [folder.path], fractions: SplitFractions(fractions), recordsOver: length)
  }

  @Test("a record longer than a window is a stretch of its own, shorter ones are packed")
  func stretches() throws {
    let corpus = try corpus([[100, 10, 20, 64, 65, 66, 5], [7, 300, 1, 1]], over: 64)
    #expect(
      corpus.stretches(of: .train, length: 64) == [
        // 10, 20 and 64 together; 65 and 66; 5 at the end of a file with 7 at the start of the next; 300; 1 and 1.
        0..<100, 100..<194, 194..<259, 259..<325, 325..<337, 337..<637, 637..<639,
      ])
  }

  @Test("splits are cut where the first record begins at the place that was asked for, or after it")
  func splits() throws {
    let lines = [[40, 60, 100, 100], [50, 50]]
    let corpus = try corpus(lines, over: 64, [0.5, 0.25, 0.25])
    // Of 400: at 200, where one begins, and at 300, where a file does.
    #expect(corpus.range(of: .train) == 0..<200)
    #expect(corpus.range(of: .validation) == 200..<300)
    #expect(corpus.range(of: .test) == 300..<400)
    let later = try self.corpus(lines, over: 64, [0.26, 0.5025, 0.2375])
    // Of 104 and 305 on.
    #expect(later.range(of: .train) == 0..<200)
    #expect(later.range(of: .validation) == 200..<350)
    #expect(later.range(of: .test) == 350..<400)
    let none = try self.corpus(lines, over: 64, [0.9, 0.05, 0.05])
    #expect(none.range(of: .train) == 0..<400 && none.range(of: .test).isEmpty)
  }

  @Test(
    "no window of any epoch crosses the edge of a long record, and evaluation scores all but first bytes"
  )
  func windows() throws {
    // More than is searched at once.
    var state = UInt64(5)
    var lines: [Int] = []
    while lines.reduce(0, +) < 3_000_000 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let draw = Int(state >> 33)
      lines.append(draw % 3 == 0 ? 2 + draw % 90 : 2 + draw % 90_000)
    }
    lines.append((1 << 20) - lines.reduce(0, +) % (1 << 20))
    lines.append(5000)
    let corpus = try corpus([lines], over: 4096)
    // By the lines alone: a long one, or what is between two.
    var (expected, place, isOpen) = ([Range<Int>](), 0, false)
    for count in lines {
      let line = place..<place + count
      if count <= 4096, isOpen {
        expected[expected.count - 1] = expected[expected.count - 1].lowerBound..<line.upperBound
      } else {
        expected.append(line)
      }
      isOpen = count <= 4096
      place += count
    }
    #expect(corpus.stretches(of: .train, length: 4096) == expected)
    let plan = try BatchPlan(corpus: corpus, length: 4096, seed: 2)
    let edges = Set(expected.map(\.lowerBound))
    for sample in 0..<2 * plan.windowsPerEpoch {
      let window = plan.window(sample: sample)
      #expect(!(window.lowerBound + 1..<window.upperBound).contains { edges.contains($0) })
    }
    let scored = try corpus.evaluationWindows(.train, length: 4096).map { $0.bytes.count - 1 }
    #expect(scored.reduce(0, +) == corpus.count - expected.count)
  }
}
