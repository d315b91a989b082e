// Corpora of images, one after the other: where they are cut, where windows begin, and what is scored.
import Corpus
import TestSupport
import Testing

@Suite("Corpora of images")
struct ImageCorpusTests {
  private static let image = 12

  /// Files of so many images each.
  private func corpus(
    _ images: [Int], _ fractions: [Double] = [0.5, 0.25, 0.25]
  ) throws -> ByteCorpus {
    let folder = try TemporaryFolder()
    for (index, count) in images.enumerated() {
      try folder.write("\(index)", (0..<count * Self.image).map { UInt8($0 / Self.image) })
    }
    defer { withExtendedLifetime(folder) {} }
    return try ByteCorpus(
      paths: [folder.path], fractions: SplitFractions(fractions, unit: Self.image),
      image: Self.image)
  }

  @Test("splits are cut between images, and shares of them to the nearest")
  func splits() throws {
    let corpus = try corpus([41])
    #expect(corpus.range(of: .train) == 0..<21 * 12)
    #expect(corpus.range(of: .validation) == 21 * 12..<31 * 12)
    #expect(corpus.range(of: .test) == 31 * 12..<41 * 12)
    // 1,455 and 1,631 of 1,751, as millionths.
    let photos = try SplitFractions([0.830954, 0.100514, 0.068532], unit: 12_288)
    #expect(photos.range(of: .validation, count: 1751 * 12_288) == 1455 * 12_288..<1631 * 12_288)
  }

  @Test("windows begin where images do, and each epoch has whole ones", arguments: [1, 2, 3])
  func windows(images: Int) throws {
    let corpus = try corpus([41, 7, 12], [0.9, 0.05, 0.05])
    let length = images * Self.image
    let plan = try BatchPlan(corpus: corpus, length: length, seed: 3)
    var starts: Set<Int> = []
    for sample in 0..<6 * plan.windowsPerEpoch {
      let window = plan.window(sample: sample)
      #expect(window.lowerBound % Self.image == 0 && window.count == length + 1)
      starts.insert(window.lowerBound)
    }
    // With slack, epochs begin at different images.
    #expect(images == 1 || starts.count > plan.windowsPerEpoch)
    let split = corpus.range(of: .train).count
    let scored = plan.windowsPerEpoch * (length - images)
    #expect(plan.unscoredBytes == split - scored)
    #expect(plan.unscoredShare == Double(split - scored) / Double(scored))
  }

  @Test("the first number of an image has nothing before it")
  func scored() throws {
    let corpus = try corpus([10])
    #expect((0..<36).filter { !corpus.isScored($0) } == [0, 12, 24])
    #expect(corpus.scoredCount(in: 1..<37) == 33)
  }

  @Test("a file with a part of an image is refused by name")
  func part() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write("pixels", [UInt8](repeating: 1, count: 25))
    let error = #expect(throws: CorpusError.self) { try ByteCorpus(paths: [path], image: 12) }
    #expect(error == .partOfImage(path: path, bytes: 25, image: 12))
    #expect(
      "\(error.map(\.description) ?? "")".contains("25 bytes, no whole number of images of 12"))
  }
}
