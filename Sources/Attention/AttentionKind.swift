// The kinds of attention a layer may have, and the sizes each kind needs.

/// What a layer attends with.
///
/// A further kind is one more case here and one more file.
public enum AttentionKind: String, Codable, Sendable, CaseIterable {
  /// Every earlier position.
  case full
  /// The own chunk and the chunks just before it.
  case local
  /// Positions hashed to the same bucket (Reformer, section 2).
  case lsh
}

/// Sizes of local attention.
public struct LocalAttentionSizes: Codable, Sendable, Equatable {
  /// Positions per chunk.
  public var chunk: Int
  /// Earlier chunks each chunk sees.
  public var chunksBefore: Int

  /// All sizes at once.
  public init(chunk: Int, chunksBefore: Int) {
    self.chunk = chunk
    self.chunksBefore = chunksBefore
  }
}

/// Sizes of LSH attention.
public struct LSHAttentionSizes: Codable, Sendable, Equatable {
  /// Positions per chunk of the sorted list.
  public var chunk: Int
  /// Earlier chunks of the sorted list each chunk sees (circular).
  public var chunksBefore: Int
  /// Hash rounds.
  public var hashes: Int
  /// Bucket count as factors, each even; a single entry is the plain count.
  public var buckets: [Int]

  /// All sizes at once.
  public init(chunk: Int, chunksBefore: Int, hashes: Int, buckets: [Int]) {
    self.chunk = chunk
    self.chunksBefore = chunksBefore
    self.hashes = hashes
    self.buckets = buckets
  }

  /// Number of buckets per round.
  public var bucketCount: Int { buckets.reduce(1, *) }
  /// Columns of one round's rotation matrix.
  public var rotationWidth: Int { buckets.reduce(0, +) / 2 }

  /// Bucket factors for a length, as Hugging Face chooses them: a power of two near
  /// 2 * length / chunk, split in two near its root when it exceeds
  /// 2 * max(sqrt(longestLength / chunk), chunk) (research/reformer-landscape.md, section 2.3).
  public static func automaticBuckets(
    length: Int, longestLength: Int, chunk: Int
  ) -> [Int] {
    let wanted = max(1, 2 * (length / chunk))
    let power = max(1, Int.bitWidth - 1 - wanted.leadingZeroBitCount)
    let count = 1 << power
    let limit = 2 * max(Int(Double(longestLength / chunk).squareRoot()), chunk)
    guard count > limit else { return [count] }
    return [1 << (power / 2), 1 << (power - power / 2)]
  }
}
