import Corpus
import TestSupport
import Testing

@Suite("Pairs of lines")
struct LinePairsTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func corpus(
    _ text: String, source: Int = 20, target: Int = 10, skips: Bool = false,
    fractions: [Double] = [0.5, 0.25, 0.25]
  ) throws -> ByteCorpus {
    try ByteCorpus(
      paths: [folder.write("pairs.tsv", text: text)], fractions: SplitFractions(fractions),
      pairs: PairLimits(source: source, target: target, skipsWrongLines: skips))
  }

  private func pairs(_ corpus: ByteCorpus, _ windows: [EvaluationWindow]) throws -> [String] {
    try windows.map { window in
      let pair = try #require(try corpus.pair(at: window.bytes.lowerBound))
      return String(decoding: pair.source + [0x3D] + pair.target, as: UTF8.self)
    }
  }

  @Test("splits are of whole pairs, each is a window, and an epoch visits each once")
  func splits() throws {
    let lines = (0..<8).map { "source \($0)\ttarget\($0)" }
    // The last line may have no end.
    for text in [lines.joined(separator: "\n"), lines.joined(separator: "\n") + "\n"] {
      let corpus = try corpus(text)
      let expected = (0..<8).map { "source \($0)=target\($0)" }
      var found: [String] = []
      for split in CorpusSplit.allCases {
        let windows = try corpus.evaluationWindows(split, length: 10)
        found += try pairs(corpus, windows)
        #expect(windows.count == (split == .train ? 4 : 2))
        #expect(windows.allSatisfy { corpus.scoredCount(in: $0.bytes.dropFirst()) == 8 })
      }
      #expect(found == expected)
      let plan = try BatchPlan(corpus: corpus, length: 10, seed: 3)
      #expect(plan.windowsPerEpoch == 4)
      for epoch in 0..<3 {
        let visited = try (0..<4).map { number in
          let place = plan.window(sample: 4 * epoch + number).lowerBound
          return String(decoding: try #require(try corpus.pair(at: place)).source, as: UTF8.self)
        }
        #expect(Set(visited) == Set((0..<4).map { "source \($0)" }))
      }
    }
  }

  @Test(
    "pairs of a step are of like lengths, and an epoch visits each once but for less than a step",
    arguments: [(1, 5), (7, 8), (40, 4), (333, 3)])
  func groups(count: Int, size: Int) throws {
    var bytes = (0..<count).map { 2 + $0 * 37 % 50 }
    // All but two are trained on.
    let lines = (bytes + [1, 1]).enumerated().map { number, count in
      String(repeating: "s", count: count) + "\t\(number)\n"
    }
    // Cuts are rounded down.
    let share = Double(count) / Double(count + 2) + 1e-5
    let corpus = try corpus(
      lines.joined(), source: 60, fractions: [share, (1 - share) / 2, (1 - share) / 2])
    try #require(corpus.range(of: .train).count == count * 10 + 1)
    let plan = try BatchPlan(corpus: corpus, length: 10, seed: 3, grouping: size)
    let visited = count < size ? count : count - count % size
    #expect(plan.windowsPerEpoch == visited)
    bytes = bytes.enumerated().map { $1 + "\($0)".utf8.count }
    var orders = Set<[Int]>()
    for epoch in 0..<3 {
      let order = (0..<visited).map { plan.window(sample: epoch * visited + $0).lowerBound / 10 }
      #expect(Set(order).count == visited)
      orders.insert(order)
      // Steps of a pool do not overlap: each ends where another, or none, begins.
      for pool in stride(from: 0, to: visited, by: 16 * size) where count >= size {
        let steps = stride(from: pool, to: min(pool + 16 * size, visited), by: size).map {
          order[$0..<$0 + size].map { bytes[$0] }.sorted()
        }
        let sorted = steps.sorted { ($0[0], $0[size - 1]) < ($1[0], $1[size - 1]) }.joined()
        #expect(Array(sorted) == sorted.sorted())
      }
    }
    #expect(count < 4 || orders.count == 3, "each epoch has an order of its own")
  }

  @Test("a limit scores whole pairs until it is reached")
  func limit() throws {
    let corpus = try corpus((0..<8).map { "s\ttarget\($0)\n" }.joined())
    for (limit, count) in [(0, 4), (1, 1), (8, 1), (9, 2), (100, 4)] {
      #expect(try corpus.evaluationWindows(.train, length: 10, limit: limit).count == count)
    }
  }

  @Test("lines longer than what is read at once are found whole")
  func long() throws {
    let source = String(repeating: "x", count: 1_500_000)
    let corpus = try corpus(
      "a\tb\n\(source)\tc\nd\te\nf\tg\n", source: 2_000_000)
    #expect(
      try pairs(corpus, corpus.evaluationWindows(.train, length: 10)) == ["a=b", source + "=c"])
  }

  @Test(
    "a line that is no pair is named, or left out",
    arguments: [
      ("no tab", "no tab between source and target"), ("", "no tab between source and target"),
      ("a\tb\tc", "2 tabs where one is expected"), ("\tb", "the source is empty"),
      ("a\t", "the target is empty"),
      (String(repeating: "a", count: 20) + "\tb", "a source of 20 bytes; data.source_length = 20"),
      ("a\t" + String(repeating: "b", count: 10), "a target of 10 bytes; data.length = 10"),
    ])
  func wrong(line: String, problem: String) throws {
    let good = ["a\tb", "c\td", "e\tf", "g\th"]
    let text = (good[..<2] + [line] + good[2...]).joined(separator: "\n") + "\n"
    #expect { try self.corpus(text) } throws: { error in
      "\(error)".contains("pairs.tsv, line 3: \(problem)")
    }
    let corpus = try self.corpus(text, skips: true)
    let found = try CorpusSplit.allCases.flatMap {
      try pairs(corpus, corpus.evaluationWindows($0, length: 10))
    }
    #expect(found == ["a=b", "c=d", "e=f", "g=h"])
    #expect(corpus.pairs?.wrongCount == 1)
    // One byte less on each side is none too many.
    let longest =
      String(repeating: "a", count: 19) + "\t" + String(repeating: "b", count: 9) + "\n"
    _ = try self.corpus(String(repeating: longest, count: 4))
  }
}
