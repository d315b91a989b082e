// Several corpora trained on together: which of them a sample comes from, and which window of it.

/// One corpus of a mix.
public struct MixPart: Sendable {
  /// For messages and metrics.
  public let name: String
  /// Its share of the samples, relative to the other parts' weights.
  public let weight: Double
  /// Its bytes.
  public let corpus: ByteCorpus

  /// All at once; `weight` is above 0.
  public init(name: String, weight: Double, corpus: ByteCorpus) {
    precondition(weight > 0 && weight.isFinite, "weight \(weight) of \(name)")
    self.name = name
    self.weight = weight
    self.corpus = corpus
  }
}

/// Corpora, each with its own split and epochs, and the order in which their windows are visited.
///
/// Samples come in blocks of 4,096. In each block every part has the same number of samples, given by its weight
/// (to 1/4096, and at least one), at places that are pseudo-random and other ones in each block. The n-th
/// sample of a part is the n-th of its own plan, so a part's epochs are complete whatever its weight. All of
/// this is a function of seed and sample index; one part alone gives the data of its plan, window for
/// window.
public struct CorpusMix: Sendable {
  /// The corpora.
  public let parts: [MixPart]
  /// The order of each part's windows.
  public let plans: [BatchPlan]
  /// Samples of each part in a block, and of all before it.
  private let quotas: [Int]
  private let quotasBefore: [Int]
  private let seed: UInt64

  private static let block = 4096
  /// The most parts a mix can have.
  public static let mostParts = 256
  // Separates the keys of parts, and of the order of parts, from those of epochs, which count from 0.
  private static let partAddress = UInt64(1) << 62
  private static let blockAddress = UInt64(1) << 63

  /// Mixes `parts`, 1 to `mostParts` of them, in windows of `length` inputs.
  ///
  /// Throws `CorpusError.splitTooShort` where a part has not even one window to train on.
  public init(parts: [MixPart], length: Int, seed: UInt64) throws(CorpusError) {
    precondition((1...Self.mostParts).contains(parts.count), "a mix of \(parts.count) corpora")
    self.parts = parts
    self.seed = seed
    var plans: [BatchPlan] = []
    for (index, part) in parts.enumerated() {
      let key = splitMix64(key: seed, index: Self.partAddress + UInt64(index))
      plans.append(
        try BatchPlan(corpus: part.corpus, length: length, seed: index == 0 ? seed : key))
    }
    self.plans = plans
    quotas = Self.quotas(weights: parts.map(\.weight))
    quotasBefore = quotas.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
  }

  /// Bytes of all parts.
  public var count: Int { parts.reduce(0) { $0 + $1.corpus.count } }

  /// The part that the sample with this global index (0-based) comes from, and its number among
  /// that part's samples.
  public func place(sample: Int) -> (part: Int, number: Int) {
    precondition(sample >= 0, "sample \(sample)")
    guard parts.count > 1 else { return (0, sample) }
    let (block, position) = (sample / Self.block, sample % Self.block)
    let order = RandomOrder(
      count: Self.block, key: splitMix64(key: seed, index: Self.blockAddress + UInt64(block)))
    let place = order[position]
    let part = quotasBefore.lastIndex { $0 <= place } ?? 0
    let places = quotasBefore[part]..<quotasBefore[part + 1]
    // Counting is quick beside what is done with a window: microseconds.
    let earlier = (0..<position).count { places.contains(order[$0]) }
    return (part, block * quotas[part] + earlier)
  }

  /// Where the bytes of the sample with this global index are: in this part, at these places.
  public func window(sample: Int) -> (part: Int, bytes: Range<Int>) {
    let place = place(sample: sample)
    return (place.part, plans[place.part].window(sample: place.number))
  }

  /// The bytes of the sample with this global index: `length + 1` of them.
  ///
  /// Throws `CorpusError.unreadable`.
  public func bytes(sample: Int) throws(CorpusError) -> [UInt8] {
    let (part, range) = window(sample: sample)
    return try parts[part].corpus.bytes(in: range)
  }

  /// Samples of a block for each weight: one each, and of the rest each its share, rounded down; what then
  /// is left goes to the largest remainders, earlier parts first.
  static func quotas(weights: [Double]) -> [Int] {
    // Scaled first, so that a sum of huge weights is finite; and nothing is lost to tiny ones.
    let largest = weights.max() ?? 1
    let shares = weights.map { $0 / largest }
    let total = shares.reduce(0, +)
    let exact = shares.map { $0 / total * Double(block) }
    var quotas = exact.map { max(1, Int($0)) }
    let order = weights.indices.sorted { first, second in
      let one = exact[first] - Double(quotas[first])
      let other = exact[second] - Double(quotas[second])
      return one == other ? first < second : one > other
    }
    var left = block - quotas.reduce(0, +)
    var next = 0
    while left > 0 {
      quotas[order[next % order.count]] += 1
      (left, next) = (left - 1, next + 1)
    }
    // Parts that were raised to one sample may have made it too many: the largest parts give them.
    while left < 0, let place = quotas.indices.max(by: { quotas[$0] < quotas[$1] }) {
      quotas[place] -= 1
      left += 1
    }
    return quotas
  }
}
