// Which bytes each sample of each step trains on: a pure function of the seed and the sample's global
// index. Rank count, threads and interruptions do not enter, so they cannot change the data.

/// The order in which training windows are visited.
///
/// An epoch lays W = (bytes - 1) / length windows end to end from an offset of its own and visits
/// each once, in a pseudo-random order of its own. A window has length + 1 bytes: `length` inputs
/// and, one further, as many targets; so neighbours share one byte and no byte is an input twice.
public struct BatchPlan: Sendable {
  /// The bytes windows are taken from.
  public let bytes: Range<Int>
  /// Inputs per window, L.
  public let length: Int
  /// Windows per epoch, W.
  public let windowsPerEpoch: Int
  private let seed: UInt64

  /// Plans windows of `length` inputs over the train split of `corpus`.
  ///
  /// Throws `CorpusError.splitTooShort` when not even one window of `length + 1` bytes fits.
  public init(corpus: ByteCorpus, length: Int, seed: UInt64) throws(CorpusError) {
    let bytes = corpus.range(of: .train)
    guard bytes.count > length else {
      throw .splitTooShort(
        path: corpus.path, split: .train, bytes: bytes.count, needed: length + 1)
    }
    self.init(bytes: bytes, length: length, seed: seed)
  }

  /// Plans windows of `length` inputs over `bytes`, which hold at least one window; traps otherwise.
  public init(bytes: Range<Int>, length: Int, seed: UInt64) {
    precondition(length > 0 && bytes.count > length, "windows of \(length) in \(bytes)")
    self.bytes = bytes
    self.length = length
    windowsPerEpoch = (bytes.count - 1) / length
    self.seed = seed
  }

  /// The bytes of the sample with this global index (0-based): `length + 1` of them.
  public func window(sample: Int) -> Range<Int> {
    let epoch = self.epoch(sample: sample)
    let epochKey = splitMix64(key: seed, index: UInt64(epoch))
    let order = RandomOrder(count: windowsPerEpoch, key: epochKey)
    let slack = bytes.count - 1 - windowsPerEpoch * length
    // The offset's address is one that no round of the order uses.
    let offset = Int(splitMix64(key: epochKey, index: .max) % UInt64(slack + 1))
    let start = bytes.lowerBound + offset + order[sample % windowsPerEpoch] * length
    return start..<(start + length + 1)
  }

  /// How many times the whole split was visited before this sample.
  public func epoch(sample: Int) -> Int {
    precondition(sample >= 0, "sample \(sample)")
    return sample / windowsPerEpoch
  }

  /// The global indices of the samples of `step` (0-based) that `rank` of `ranks` computes.
  ///
  /// The ranks' ranges are contiguous, in rank order, and together are the step's `globalBatch`
  /// samples; their sizes differ by one where `ranks` does not divide it.
  public static func samples(step: Int, globalBatch: Int, rank: Int = 0, ranks: Int = 1)
    -> Range<Int>
  {
    precondition(step >= 0 && globalBatch > 0, "step \(step), global batch \(globalBatch)")
    precondition(rank >= 0 && rank < ranks, "rank \(rank) of \(ranks)")
    let first = step * globalBatch
    return (first + rank * globalBatch / ranks)..<(first + (rank + 1) * globalBatch / ranks)
  }
}
