import Corpus
import TestSupport
import Testing

@Suite("Batch plan")
struct BatchPlanTests {
  // Awkward sizes: one window, no slack, almost a window of slack, primes, powers of two.
  private static let shapes: [(bytes: Range<Int>, length: Int)] = [
    (0..<2, 1), (5..<12, 6), (3..<15, 6), (0..<1025, 64), (0..<1088, 64), (100..<10_107, 97),
    (0..<257, 1),
  ]

  @Test("an epoch visits each of its windows once, end to end", arguments: shapes)
  func permutation(bytes: Range<Int>, length: Int) {
    let plan = BatchPlan(bytes: bytes, length: length, seed: 7)
    let count = (bytes.count - 1) / length
    #expect(plan.windowsPerEpoch == count)
    for epoch in 0..<4 {
      let samples = (epoch * count)..<((epoch + 1) * count)
      #expect(samples.allSatisfy { plan.epoch(sample: $0) == epoch })
      let windows = samples.map { plan.window(sample: $0) }
      #expect(windows.allSatisfy { $0.count == length + 1 })
      #expect(windows.allSatisfy { $0.lowerBound >= bytes.lowerBound })
      #expect(windows.allSatisfy { $0.upperBound <= bytes.upperBound })
      // Distinct starts one length apart: no byte is an input twice, none between is left out.
      let starts = windows.map(\.lowerBound).sorted()
      let first = starts[0]
      #expect(starts == (0..<count).map { first + $0 * length })
    }
  }

  @Test("a window depends on seed and sample only, in whatever order it is asked for")
  func purity() {
    let bytes = 0..<100_000
    let first = BatchPlan(bytes: bytes, length: 64, seed: 3)
    let second = BatchPlan(bytes: bytes, length: 64, seed: 3)
    let samples = Array(0..<5000)
    let forward = samples.map { first.window(sample: $0) }
    let backward = samples.reversed().map { second.window(sample: $0) }
    #expect(forward == backward.reversed())
  }

  @Test("seeds and epochs give different orders")
  func differentOrders() {
    let bytes = 0..<64_001
    let plan = BatchPlan(bytes: bytes, length: 64, seed: 3)
    let other = BatchPlan(bytes: bytes, length: 64, seed: 4)
    #expect(plan.windowsPerEpoch == 1000)
    // No slack, so starts are comparable. Two independent orders of 1000 agree in 1 place on average;
    // 10 or more happen with a chance of 1e-7.
    let order = (0..<1000).map { plan.window(sample: $0).lowerBound }
    let rivals = [
      (0..<1000).map { plan.window(sample: 1000 + $0).lowerBound },
      (0..<1000).map { other.window(sample: $0).lowerBound },
      (0..<1000).map { $0 * 64 },
    ]
    for rival in rivals {
      #expect(zip(order, rival).count { $0 == $1 } < 10)
    }
  }

  @Test("over many epochs every window comes first equally often")
  func uniformOrder() {
    let plan = BatchPlan(bytes: 0..<51, length: 10, seed: 11)
    var firsts = [Int](repeating: 0, count: 5)
    for epoch in 0..<5000 { firsts[plan.window(sample: epoch * 5).lowerBound / 10] += 1 }
    // 5000 draws with chance 1/5: mean 1000, standard deviation 28; six of them.
    for count in firsts { #expect(abs(count - 1000) < 170) }
  }

  @Test("epochs start at different offsets, up to all of the slack")
  func offsets() {
    let plan = BatchPlan(bytes: 0..<67, length: 60, seed: 5)
    let offsets = Set((0..<500).map { plan.window(sample: $0).lowerBound })
    // 7 offsets: the chance that one is missing in 500 epochs is below 1e-32.
    #expect(offsets == Set(0...6))
  }

  @Test("a long corpus is ordered without a table")
  func huge() {
    let plan = BatchPlan(bytes: 0..<(1 << 50), length: 1 << 16, seed: 1)
    let starts = Set((0..<1000).map { plan.window(sample: $0).lowerBound })
    #expect(starts.count == 1000)
    #expect(starts.contains { $0 > 1 << 49 })
  }

  @Test("bytes that no window of an epoch predicts are counted", arguments: shapes)
  func unscored(bytes: Range<Int>, length: Int) {
    let plan = BatchPlan(bytes: bytes, length: length, seed: 7)
    let predicted = Set((0..<plan.windowsPerEpoch).flatMap { plan.window(sample: $0).dropFirst() })
    #expect(plan.unscoredBytes == bytes.count - predicted.count)
  }

  @Test(
    "streams read the text in its order, side by side, and leave out other windows in each epoch",
    arguments: [(2007, 60, 4), (2000, 60, 4), (2000, 60, 33), (601, 60, 10), (601, 60, 1)])
  func streams(count: Int, length: Int, streams: Int) {
    let plan = BatchPlan(bytes: 5..<5 + count, length: length, seed: 3, streams: streams)
    let windows = (count - 1) / length
    let steps = windows / streams
    #expect(plan.windowsPerEpoch == steps * streams)
    #expect(plan.unscoredBytes == count - steps * streams * length)
    var firsts: Set<Int> = []
    for epoch in 0..<60 {
      let start = epoch * plan.windowsPerEpoch
      let starts = (0..<plan.windowsPerEpoch).map { plan.window(sample: start + $0).lowerBound }
      // All windows of the epoch stand end to end, those of a stream in turn.
      #expect(starts.sorted() == (0..<steps * streams).map { starts[0] + $0 * length })
      for (place, byte) in starts.enumerated() {
        let (step, stream) = place.quotientAndRemainder(dividingBy: streams)
        #expect(byte == starts[stream] + step * length)
        #expect(step == 0 || plan.isContinued(sample: start + place))
        #expect(plan.epoch(sample: start + place) == epoch)
      }
      firsts.insert(starts[0])
    }
    // 60 draws miss one of up to 47 places, and none where there is one.
    let places = ((count - 1) % length + 1) * (windows % streams + 1)
    #expect(firsts.count > 1 || places == 1)
    #expect(!plan.isContinued(sample: 0))
    #expect(!BatchPlan(bytes: 5..<5 + count, length: length, seed: 3).isContinued(sample: 1))
  }

  @Test("a stream begins anew at the edge of a stretch, and in a new epoch")
  func edges() throws {
    let folder = try TemporaryFolder()
    let paths = try ["a", "b"].map { try folder.write($0, [UInt8](repeating: 0, count: 1001)) }
    let corpus = try ByteCorpus(paths: paths, fractions: SplitFractions([1, 0, 0]))
    let plan = try BatchPlan(corpus: corpus, length: 100, seed: 1, streams: 2)
    #expect(plan.windowsPerEpoch == 20)
    let single = try BatchPlan(corpus: corpus, length: 100, seed: 1, streams: 1)
    let begins = (0..<40).filter { !single.isContinued(sample: $0) }
    #expect(begins == [0, 10, 20, 30])
    let expected = CorpusError.tooFewWindows(path: corpus.path, windows: 20, streams: 21)
    #expect(throws: expected) { try BatchPlan(corpus: corpus, length: 100, seed: 1, streams: 21) }
    #expect(expected.description.contains("has 20 windows, too few for 21 streams"))
  }

  @Test("a train split shorter than a window is refused with both numbers")
  func tooShort() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write("c", [UInt8](repeating: 0, count: 100))
    let corpus = try ByteCorpus(path: path)
    #expect(try BatchPlan(corpus: corpus, length: 89, seed: 1).window(sample: 0) == 0..<90)
    let expected = CorpusError.splitTooShort(path: path, split: .train, bytes: 90, needed: 91)
    #expect(throws: expected) { try BatchPlan(corpus: corpus, length: 90, seed: 1) }
    #expect(expected.description.contains("90 bytes"))
    #expect(expected.description.contains("needs 91"))
  }
}
