// Tokens of one window. A step's batch is several of these, one per sample.

/// What the model reads and what it must predict, for one window of n + 1 bytes.
public struct Batch: Sendable, Equatable {
  /// Token ids of the first n bytes, [n].
  public let inputs: [Int32]
  /// Token ids of the last n bytes, [n]: `targets[i]` follows `inputs[i]`.
  public let targets: [Int32]

  /// Turns at least two bytes into tokens; the id of a byte is its value plus `byteOffset`.
  public init(bytes: [UInt8], byteOffset: Int) {
    precondition(bytes.count >= 2, "a window of \(bytes.count) bytes")
    let offset = Int32(byteOffset)
    inputs = bytes.dropLast().map { Int32($0) + offset }
    targets = bytes.dropFirst().map { Int32($0) + offset }
  }

  /// Tokens of a window of `corpus`.
  public init(corpus: ByteCorpus, window: Range<Int>, byteOffset: Int) {
    self.init(bytes: corpus.bytes(in: window), byteOffset: byteOffset)
  }
}
