// Made-up data, for measuring speed and memory without a corpus.

/// Bytes computed from nothing but a seed.
public enum SyntheticTasks {
  /// The window of sample `index`: `count` uniformly distributed bytes.
  ///
  /// A pure function of (seed, index); a longer window starts with the bytes of a shorter one.
  public static func uniformBytes(seed: UInt64, index: Int, count: Int) -> [UInt8] {
    precondition(index >= 0 && count >= 0, "\(count) bytes of sample \(index)")
    let key = splitMix64(key: seed, index: UInt64(index))
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count)
    for word in 0..<((count + 7) / 8) {
      let number = splitMix64(key: key, index: UInt64(word))
      for byte in 0..<min(8, count - word * 8) {
        bytes.append(UInt8(truncatingIfNeeded: number >> UInt64(8 * byte)))
      }
    }
    return bytes
  }
}
