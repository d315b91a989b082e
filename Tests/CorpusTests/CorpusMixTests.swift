import Corpus
import TestSupport
import Testing

@Suite("Several corpora with weights")
struct CorpusMixTests {
  private let folder: TemporaryFolder
  private static let sizes = [5000, 900, 20_000]

  init() throws {
    folder = try TemporaryFolder()
    for (index, size) in Self.sizes.enumerated() {
      try folder.write("c\(index)", [UInt8](repeating: UInt8(index), count: size))
    }
  }

  private func mix(weights: [Double], block: Int = 32, seed: UInt64 = 3) throws -> CorpusMix {
    try CorpusMix(
      parts: weights.enumerated().map { index, weight in
        MixPart(
          name: "c\(index)", weight: weight,
          corpus: try ByteCorpus(path: folder.path("c\(index % Self.sizes.count)")))
      }, block: block, seed: seed)
  }

  /// The samples of so many windows of `length` in a run that has no others.
  private static func samples(_ count: Int, length: Int = 32) -> [Sample] {
    let plan = StepPlan(
      stages: [Stage(share: 1, length: length, windows: count)], block: 32, steps: 1)
    return plan.samples(step: 1)
  }

  @Test("one corpus has the data of its plan, whatever its weight")
  func alone() throws {
    let mix = try mix(weights: [0.2])
    let plan = try BatchPlan(corpus: mix.parts[0].corpus, length: 32, seed: 3)
    for (block, sample) in Self.samples(10_000).enumerated() {
      let window = mix.window(sample)
      #expect(window.part == 0 && window.bytes == plan.window(sample: block))
      #expect(window.epoch == plan.epoch(sample: block))
    }
  }

  @Test("shorter windows are the blocks cut in order, each sharing a byte with the next")
  func cut() throws {
    let mix = try mix(weights: [1, 2])
    let blocks = Self.samples(300).map { mix.window($0) }
    let windows = Self.samples(1200, length: 8).map { mix.window($0) }
    for (index, block) in blocks.enumerated() {
      let parts = windows[(4 * index)..<(4 * index + 4)]
      #expect(parts.allSatisfy { $0.part == block.part && $0.epoch == block.epoch })
      let first = block.bytes.lowerBound
      #expect(parts.map(\.bytes) == (0..<4).map { first + 8 * $0..<first + 8 * $0 + 9 })
    }
  }

  @Test("each corpus has its share of every 4,096 samples, in an order of its own each time")
  func shares() throws {
    let mix = try mix(weights: [1, 2, 5])
    let parts = (0..<(3 * 4096)).map { mix.place(block: $0).part }
    let blocks = (0..<3).map { Array(parts[($0 * 4096)..<(($0 + 1) * 4096)]) }
    for block in blocks {
      #expect((0..<3).map { part in block.count { $0 == part } } == [512, 1024, 2560])
      // 512 samples of a block: 64, 128, 320 expected; six standard deviations of the first are 45.
      for start in stride(from: 0, to: 4096, by: 512) {
        let first = block[start..<(start + 512)].count { $0 == 0 }
        #expect(abs(first - 64) < 45)
      }
    }
    // Equal by chance with (1/64 + 1/16 + 25/64) = 0.47; ten standard deviations are 320.
    #expect(zip(blocks[0], blocks[1]).count { $0 == $1 } < 2245)
  }

  @Test("the n-th sample of a corpus is the n-th of its plan: its epochs are complete")
  func epochs() throws {
    let mix = try mix(weights: [1, 0.5, 3])
    var counts = [0, 0, 0]
    for (block, sample) in Self.samples(9000).enumerated() {
      let (part, number) = mix.place(block: block)
      #expect(number == counts[part])
      counts[part] += 1
      let window = mix.window(sample)
      #expect(window.part == part && window.bytes == mix.plans[part].window(sample: number))
      #expect(try mix.bytes(sample) == [UInt8](repeating: UInt8(part), count: 33))
    }
    #expect(counts.allSatisfy { $0 > 500 })
  }

  @Test("a sample depends on the seed and its index only")
  func purity() throws {
    let (first, second, other) = (
      try mix(weights: [1, 1]), try mix(weights: [1, 1]), try mix(weights: [1, 1], seed: 4)
    )
    let samples = Self.samples(5000)
    let forward = samples.map { first.window($0).bytes }
    #expect(samples.reversed().map { second.window($0).bytes }.reversed() == forward)
    #expect(samples.map { other.window($0).bytes } != forward)
    // Two parts with one content would otherwise be visited in one order.
    let same = try mix(weights: [1, 1, 1, 1])
    #expect(same.plans[0].window(sample: 0) != same.plans[3].window(sample: 0))
  }

  @Test(
    "weights are relative, and none is too small or too large to count",
    arguments: [
      ([1, 1], [2048, 2048]), ([0.3, 0.3], [2048, 2048]), ([1e-300, 1], [1, 4095]),
      ([1e300, 1e300, 1e-300], [2047, 2048, 1]), ([1, 1, 1], [1366, 1365, 1365]),
    ])
  func quotas(weights: [Double], expected: [Int]) throws {
    let mix = try mix(weights: weights)
    var counts = [Int](repeating: 0, count: weights.count)
    for sample in 0..<4096 { counts[mix.place(block: sample).part] += 1 }
    #expect(counts == expected)
  }

  @Test("a corpus without one window is refused by path")
  func tooShort() {
    let expected = CorpusError.splitTooShort(
      path: folder.path("c1"), split: .train, bytes: 810, needed: 1001)
    #expect(throws: expected) { try mix(weights: [1, 1, 1], block: 1000) }
  }
}
