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

/// Corpora, each with its own split and epochs, and the order in which their blocks are visited: the training order,
/// which the steps of a run cut into windows (`StepPlan`).
///
/// Blocks come in rounds of 4,096. In each round every part has the same number of blocks, given by its weight
/// (to 1/4096, and at least one), at places that are pseudo-random and other ones in each round. The n-th
/// block of a part is the n-th window of its own plan, so a part's epochs are complete whatever its weight. All of
/// this is a function of seed and block index; one part alone gives the data of its plan, window for
/// window.
public struct CorpusMix: Sendable {
  /// The corpora.
  public let parts: [MixPart]
  /// The order of each part's windows.
  public let plans: [BatchPlan]
  /// Blocks of each part in a round, and of all before it.
  private let quotas: [Int]
  private let quotasBefore: [Int]
  private let block: Int
  private let seed: UInt64

  private static let round = 4096
  /// The most parts a mix can have.
  public static let mostParts = 256
  // Separates the keys of parts, and of the order of parts, from those of epochs, which count from 0.
  private static let partAddress = UInt64(1) << 62
  private static let roundAddress = UInt64(1) << 63

  /// Mixes `parts`, 1 to `mostParts` of them, in blocks of `block` inputs; one alone may be read as so many streams, and
  /// `grouping` pairs of like lengths may come together.
  ///
  /// Throws `CorpusError.splitTooShort` where a part has not even one block to train on, and `CorpusError.tooFewWindows`
  /// where not each stream has one.
  public init(
    parts: [MixPart], block: Int, seed: UInt64, streams: Int? = nil, grouping: Int? = nil
  ) throws(CorpusError) {
    precondition(
      (1...(streams == nil ? Self.mostParts : 1)).contains(parts.count),
      "a mix of \(parts.count) corpora")
    self.parts = parts
    self.block = block
    self.seed = seed
    var plans: [BatchPlan] = []
    for (index, part) in parts.enumerated() {
      let key = splitMix64(key: seed, index: Self.partAddress + UInt64(index))
      plans.append(
        try BatchPlan(
          corpus: part.corpus, length: block, seed: index == 0 ? seed : key, streams: streams,
          grouping: grouping))
    }
    self.plans = plans
    quotas = Self.quotas(weights: parts.map(\.weight))
    quotasBefore = quotas.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
  }

  /// Bytes of all parts.
  public var count: Int { parts.reduce(0) { $0 + $1.corpus.count } }

  /// The part that the block with this index (0-based) comes from, and its number among that part's
  /// blocks.
  public func place(block: Int) -> (part: Int, number: Int) {
    precondition(block >= 0, "block \(block)")
    guard parts.count > 1 else { return (0, block) }
    let (round, position) = (block / Self.round, block % Self.round)
    let order = RandomOrder(
      count: Self.round, key: splitMix64(key: seed, index: Self.roundAddress + UInt64(round)))
    let place = order[position]
    let part = quotasBefore.lastIndex { $0 <= place } ?? 0
    let places = quotasBefore[part]..<quotasBefore[part + 1]
    // Counting is quick beside what is done with a window: microseconds.
    let earlier = (0..<position).count { places.contains(order[$0]) }
    return (part, round * quotas[part] + earlier)
  }

  /// Where the bytes of a sample are, `length + 1` of them: in this part, at these places; and how many times all
  /// blocks of the part were visited before.
  ///
  /// Traps where the sample goes over the end of its block.
  public func window(_ sample: Sample) -> (part: Int, bytes: Range<Int>, epoch: Int) {
    let (index, offset) = sample.position.quotientAndRemainder(dividingBy: block)
    precondition(offset + sample.length <= block, "\(sample) in blocks of \(block)")
    let place = place(block: index)
    let plan = plans[place.part]
    let start = plan.window(sample: place.number).lowerBound + offset
    return (
      place.part, start..<start + sample.length + 1, plan.epoch(sample: place.number)
    )
  }

  /// Whether a sample goes on where that of its stream in the step before ended.
  public func isContinued(_ sample: Sample) -> Bool {
    let place = place(block: sample.position / block)
    return plans[place.part].isContinued(sample: place.number)
  }

  /// The bytes of a sample: `length + 1` of them.
  ///
  /// Throws `CorpusError.unreadable`.
  public func bytes(_ sample: Sample) throws(CorpusError) -> [UInt8] {
    let window = window(sample)
    return try parts[window.part].corpus.bytes(in: window.bytes)
  }

  /// Blocks of a round for each weight: one each, and of the rest each its share, rounded down; what then
  /// is left goes to the largest remainders, earlier parts first.
  static func quotas(weights: [Double]) -> [Int] {
    // Scaled first, so that a sum of huge weights is finite; and nothing is lost to tiny ones.
    let largest = weights.max() ?? 1
    let shares = weights.map { $0 / largest }
    let total = shares.reduce(0, +)
    let exact = shares.map { $0 / total * Double(Self.round) }
    var quotas = exact.map { max(1, Int($0)) }
    let order = weights.indices.sorted { first, second in
      let one = exact[first] - Double(quotas[first])
      let other = exact[second] - Double(quotas[second])
      return one == other ? first < second : one > other
    }
    var left = Self.round - quotas.reduce(0, +)
    var next = 0
    while left > 0 {
      quotas[order[next % order.count]] += 1
      (left, next) = (left - 1, next + 1)
    }
    // Parts that were raised to one block may have made it too many: the largest parts give them.
    while left < 0, let place = quotas.indices.max(by: { quotas[$0] < quotas[$1] }) {
      quotas[place] -= 1
      left += 1
    }
    return quotas
  }
}
