// The order in which a corpus is visited: a pure function of the seed and of the window's number. Rank count, threads
// and interruptions do not enter, so they cannot change the data. What is a window here is a block of the training
// order (`CorpusMix`).

/// The order in which training windows are visited.
///
/// An epoch lays windows end to end over each stretch of bytes, W = (bytes - 1) / length of them, from
/// an offset of its own, and visits all windows of all stretches once, in a pseudo-random order of its own.
/// A window has length + 1 bytes: `length` inputs and, one further, as many targets; so neighbours share
/// one byte and no byte is an input twice. No window crosses the edge of a stretch. Of images the offset is a whole number of
/// them, so that windows begin where images do.
///
/// Where windows are pairs, those of a step may be of like lengths (`LengthGroups`); the last of an epoch, fewer than a step
/// has, are left out, other ones in each epoch.
///
/// With S streams they are visited in the order of the text instead: sample i is of stream i mod S, and the streams read
/// runs of as many windows each, side by side. The W mod S windows before the first and after the last run are left
/// out, other ones in each epoch.
public struct BatchPlan: Sendable {
  /// Inputs per window, L.
  public let length: Int
  /// Windows that an epoch visits.
  public let windowsPerEpoch: Int
  /// Stretches of the split too short for a window, whose bytes are not trained on, and the sum of these.
  public let unusedStretches: Int
  /// See `unusedStretches`.
  public let unusedBytes: Int
  /// Bytes of the split that no window of an epoch predicts: those, the first of each stretch, or of each image, and what
  /// is left over of it.
  public let unscoredBytes: Int
  /// `unscoredBytes` for each byte that is predicted.
  public var unscoredShare: Double { Double(unscoredBytes) / Double(scoredBytes) }
  private let scoredBytes: Int
  /// Bytes of an image; otherwise 1.
  private let unit: Int
  private let stretches: [Range<Int>]
  /// Windows in all stretches before each.
  private let windowsBefore: [Int]
  /// Windows in all stretches.
  private let windowCount: Int
  /// Streams that are read side by side; nil where windows come in random order.
  private let streams: Int?
  /// Nil where windows of all lengths come together.
  private let groups: LengthGroups?
  private let seed: UInt64

  /// Plans windows of `length` inputs over the train split of `corpus`, in random order or as so many streams; with `grouping`
  /// so many pairs of like lengths come together.
  ///
  /// Throws `CorpusError.splitTooShort` when not even one window of `length + 1` bytes fits, and
  /// `CorpusError.tooFewWindows` when not each stream has one.
  public init(
    corpus: ByteCorpus, length: Int, seed: UInt64, streams: Int? = nil, grouping: Int? = nil
  ) throws(CorpusError) {
    let stretches = corpus.stretches(of: .train, length: length)
    guard stretches.contains(where: { $0.count > length }) else {
      throw .splitTooShort(
        path: corpus.path, split: .train, bytes: stretches.map(\.count).max() ?? 0,
        needed: length + 1)
    }
    let windows = Self.windows(of: stretches, length: length)
    if let streams, windows < streams {
      throw .tooFewWindows(path: corpus.path, windows: windows, streams: streams)
    }
    let groups = corpus.pairs.flatMap { pairs in
      grouping.map { LengthGroups(of: pairs, size: $0) }
    }
    self.init(
      stretches: stretches, length: length, unit: corpus.image, seed: seed, streams: streams,
      groups: groups)
  }

  /// Plans windows of `length` inputs over `bytes`, which hold at least one window, or one for each stream; traps
  /// otherwise.
  public init(bytes: Range<Int>, length: Int, seed: UInt64, streams: Int? = nil) {
    self.init(
      stretches: [bytes], length: length, unit: 1, seed: seed, streams: streams, groups: nil)
  }

  private static func windows(of stretches: [Range<Int>], length: Int) -> Int {
    stretches.reduce(0) { $0 + max(0, $1.count - 1) / length }
  }

  private init(
    stretches: [Range<Int>], length: Int, unit: Int, seed: UInt64, streams: Int?,
    groups: LengthGroups?
  ) {
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
    precondition(
      (1...windows).contains(streams ?? 1), "\(windows) windows of \(streams ?? 1) streams")
    windowCount = windows
    self.streams = streams
    self.groups = groups
    windowsPerEpoch = groups?.visited(of: windows) ?? (windows - windows % (streams ?? 1))
    let firsts = unit == 1 ? 0 : length / unit
    scoredBytes = windowsPerEpoch * (length - firsts)
    unscoredBytes = stretches.reduce(0) { $0 + $1.count } - scoredBytes
    self.unit = unit
    self.seed = seed
  }

  /// The bytes of the sample with this global index (0-based): `length + 1` of them.
  public func window(sample: Int) -> Range<Int> {
    let epoch = self.epoch(sample: sample)
    let epochKey = splitMix64(key: seed, index: UInt64(epoch))
    let number = number(of: sample % windowsPerEpoch, epochKey: epochKey)
    let index = stretch(ofWindow: number)
    let bytes = stretches[index]
    let slack = (bytes.count - 1) % length
    // The offsets' addresses are ones that no round of the order uses.
    let address = UInt64.max - UInt64(index)
    let offset = Int(splitMix64(key: epochKey, index: address) % UInt64(slack / unit + 1)) * unit
    let start = bytes.lowerBound + offset + (number - windowsBefore[index]) * length
    return start..<(start + length + 1)
  }

  /// Whether a sample goes on where that of its stream in the step before ended; without streams none does.
  public func isContinued(sample: Int) -> Bool {
    guard let streams, sample >= streams else { return false }
    return window(sample: sample - streams).upperBound == window(sample: sample).lowerBound + 1
  }

  /// The window, among those of all stretches, that comes at `place` of an epoch.
  private func number(of place: Int, epochKey: UInt64) -> Int {
    // As the offsets of stretches, after them.
    let address = UInt64.max - UInt64(stretches.count)
    guard let streams else {
      let order = RandomOrder(count: windowCount, key: epochKey)
      return groups?.pair(at: place, of: windowsPerEpoch, in: order) { pool in
        splitMix64(key: epochKey, index: address - UInt64(pool))
      } ?? order[place]
    }
    let (step, stream) = place.quotientAndRemainder(dividingBy: streams)
    let left = UInt64(windowCount - windowsPerEpoch)
    let first = Int(splitMix64(key: epochKey, index: address) % (left + 1))
    return first + stream * (windowsPerEpoch / streams) + step
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
