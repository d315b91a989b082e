// The order in which a corpus is visited: a pure function of the seed and of the window's number. Rank count, threads
// and interruptions do not enter, so they cannot change the data. What is a window here is a block of the training
// order (`CorpusMix`).

/// The order in which training windows are visited.
///
/// An epoch lays windows end to end over each stretch of bytes, W = (bytes - 1) / length of them, from
/// an offset of its own, and visits all windows of all stretches once, in a pseudo-random order of its own.
/// A window has length + 1 bytes: `length` inputs and, one further, as many targets; so neighbours share
/// one byte and no byte is an input twice. No window crosses the edge of a stretch.
public struct BatchPlan: Sendable {
  /// Inputs per window, L.
  public let length: Int
  /// Windows per epoch.
  public let windowsPerEpoch: Int
  /// Stretches of the split too short for a window, whose bytes are not trained on, and the sum of these.
  public let unusedStretches: Int
  /// See `unusedStretches`.
  public let unusedBytes: Int
  /// Bytes of the split that no window of an epoch predicts: those, the first of each stretch, and what is left over
  /// of it.
  public let unscoredBytes: Int
  /// `unscoredBytes` for each byte that is predicted.
  public var unscoredShare: Double { Double(unscoredBytes) / Double(windowsPerEpoch * length) }
  private let stretches: [Range<Int>]
  /// Windows in all stretches before each.
  private let windowsBefore: [Int]
  private let seed: UInt64

  /// Plans windows of `length` inputs over the train split of `corpus`.
  ///
  /// Throws `CorpusError.splitTooShort` when not even one window of `length + 1` bytes fits.
  public init(corpus: ByteCorpus, length: Int, seed: UInt64) throws(CorpusError) {
    let stretches = corpus.stretches(of: .train, length: length)
    guard stretches.contains(where: { $0.count > length }) else {
      throw .splitTooShort(
        path: corpus.path, split: .train, bytes: stretches.map(\.count).max() ?? 0,
        needed: length + 1)
    }
    self.init(stretches: stretches, length: length, seed: seed)
  }

  /// Plans windows of `length` inputs over `bytes`, which hold at least one window; traps otherwise.
  public init(bytes: Range<Int>, length: Int, seed: UInt64) {
    self.init(stretches: [bytes], length: length, seed: seed)
  }

  private init(stretches: [Range<Int>], length: Int, seed: UInt64) {
    let used = stretches.filter { $0.count > length }
    precondition(length > 0 && !used.isEmpty, "windows of \(length) in \(stretches)")
    self.stretches = used
    self.length = length
    unusedStretches = stretches.count - used.count
    unusedBytes = stretches.reduce(0) { $0 + $1.count } - used.reduce(0) { $0 + $1.count }
    var windows = 0
    var windowsBefore: [Int] = []
    for stretch in used {
      windowsBefore.append(windows)
      windows += (stretch.count - 1) / length
    }
    self.windowsBefore = windowsBefore
    windowsPerEpoch = windows
    unscoredBytes = stretches.reduce(0) { $0 + $1.count } - windows * length
    self.seed = seed
  }

  /// The bytes of the sample with this global index (0-based): `length + 1` of them.
  public func window(sample: Int) -> Range<Int> {
    let epoch = self.epoch(sample: sample)
    let epochKey = splitMix64(key: seed, index: UInt64(epoch))
    let order = RandomOrder(count: windowsPerEpoch, key: epochKey)
    let number = order[sample % windowsPerEpoch]
    let index = stretch(ofWindow: number)
    let bytes = stretches[index]
    let slack = (bytes.count - 1) % length
    // The offsets' addresses are ones that no round of the order uses.
    let address = UInt64.max - UInt64(index)
    let offset = Int(splitMix64(key: epochKey, index: address) % UInt64(slack + 1))
    let start = bytes.lowerBound + offset + (number - windowsBefore[index]) * length
    return start..<(start + length + 1)
  }

  private func stretch(ofWindow number: Int) -> Int {
    var (low, high) = (0, windowsBefore.count)
    while high - low > 1 {
      let middle = (low + high) / 2
      if windowsBefore[middle] <= number { low = middle } else { high = middle }
    }
    return low
  }

  /// How many times the whole split was visited before this sample.
  public func epoch(sample: Int) -> Int {
    precondition(sample >= 0, "sample \(sample)")
    return sample / windowsPerEpoch
  }
}
