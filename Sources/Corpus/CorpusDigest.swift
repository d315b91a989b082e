// A cheap identity of a corpus: its size and a hash of its bytes. It guards against mistakes, not
// against forgery.

/// Size and hash of a corpus.
///
/// A file of at most one piece (16 MiB) is hashed whole. Longer ones, and several files, are hashed in pieces,
/// none of which crosses the edge of a file, so that ranks can share the work: the hash is then that of,
/// for each file, its size and the hashes of its pieces, all as 8 bytes, the least first. Programs
/// up to commit 23e1935 hashed every file whole, and their checkpoints are still compared so.
public struct CorpusDigest: Sendable, Hashable, Codable, CustomStringConvertible {
  /// Number of bytes.
  public let bytes: Int
  /// XXH64, seed 0.
  public let xxh64: UInt64
  /// The size of the pieces that were hashed; nil where the bytes were hashed whole.
  public let pieceBytes: Int?
  /// The corpora of a mix, in order; nil for a single one.
  public let parts: [CorpusDigest]?

  /// The largest piece.
  package static let largestPiece = 1 << 24

  private enum CodingKeys: String, CodingKey {
    case bytes, xxh64, parts
    case pieceBytes = "piece_bytes"
  }

  /// No bytes at all.
  package static let nothing = CorpusDigest(bytes: 0, xxh64: XXHash64().finish())

  /// Wraps a known size and hash of bytes hashed whole.
  public init(bytes: Int, xxh64: UInt64) {
    self.init(bytes: bytes, xxh64: xxh64, pieceBytes: nil)
  }

  init(bytes: Int, xxh64: UInt64, pieceBytes: Int?) {
    self.bytes = bytes
    self.xxh64 = xxh64
    self.pieceBytes = pieceBytes
    parts = nil
  }

  /// The identity of a mix of corpora; of a single one, its own.
  package init(parts: [CorpusDigest]) {
    precondition(!parts.isEmpty, "a mix of nothing")
    guard parts.count > 1 else {
      self = parts[0]
      return
    }
    bytes = parts.reduce(0) { $0 + $1.bytes }
    let text = parts.map(\.description).joined(separator: " ")
    var hash = XXHash64()
    Array(text.utf8).withUnsafeBytes { hash.update($0) }
    xxh64 = hash.finish()
    pieceBytes = nil
    self.parts = parts
  }

  /// Whether comparing with `other` says something: both were hashed in the same way.
  package func isComparable(with other: CorpusDigest) -> Bool {
    let (own, others) = (parts ?? [self], other.parts ?? [other])
    return own.count != others.count
      || zip(own, others).allSatisfy { $0.pieceBytes == $1.pieceBytes || $0.bytes != $1.bytes }
  }

  /// For logs and checkpoints, as in `100000000-9f3c...` with 16 hexadecimal digits.
  public var description: String {
    let digits = String(xxh64, radix: 16)
    return "\(bytes)-" + String(repeating: "0", count: 16 - digits.count) + digits
      + (pieceBytes.map { "-\($0)" } ?? "")
      + (parts.map { "-of-\($0.count)" } ?? "")
  }
}
