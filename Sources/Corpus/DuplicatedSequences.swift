// Sequences whose second half repeats the first: the task on which the Reformer paper shows what hash rounds are worth
// (Kitaev et al. 2020, section 5). Their bytes are computed, not read.

/// The bytes of sequences 0w0w, one after the other; w is a word of length / 2 - 1 symbols, uniformly distributed.
///
/// A symbol is a byte from 1 to `symbols`, and a function of the seed, the number of its sequence and its place in
/// the word. The bytes of the second w are those that are asked for: no others can be known from what is before them.
public struct DuplicatedSequences: Sendable, Equatable {
  /// Different symbols.
  public static let symbols = 127
  /// Sequences of the validation split, and of the test split.
  public static let heldOut = 1024
  /// Those of the training split: more than a run sees.
  private static let trained = 1 << 32
  // Separates the keys of words from those of the data order, which count epochs from 0 and parts from 2^62.
  private static let wordAddress = UInt64(1) << 61

  /// Bytes of a sequence, even.
  public let length: Int
  private let key: UInt64

  /// The sequences of `seed`; `length` is even and at least 4.
  public init(length: Int, seed: UInt64) {
    precondition(length >= 4 && length.isMultiple(of: 2), "sequences of \(length) bytes")
    self.length = length
    key = splitMix64(key: seed, index: Self.wordAddress)
  }

  /// For messages.
  var name: String { "sequences 0w0w of \(length) bytes" }

  /// Bytes of all sequences, and the 0 that would begin a further one.
  var count: Int { (Self.trained + 2 * Self.heldOut) * length + 1 }

  /// The bytes of `split`: whole sequences, and the 0 that begins the next one, as the last target of a window.
  func range(of split: CorpusSplit) -> Range<Int> {
    let (first, count) =
      switch split {
      case .train: (0, Self.trained)
      case .validation: (Self.trained, Self.heldOut)
      case .test: (Self.trained + Self.heldOut, Self.heldOut)
      }
    return first * length..<(first + count) * length + 1
  }

  /// The byte at `place`, from 0.
  func byte(at place: Int) -> UInt8 {
    let (number, offset) = place.quotientAndRemainder(dividingBy: length)
    let symbol = offset % (length / 2)
    guard symbol > 0 else { return 0 }
    let word = splitMix64(key: key, index: UInt64(number))
    let draw = splitMix64(key: word, index: UInt64(symbol))
    return UInt8(1 + draw.multipliedFullWidth(by: UInt64(Self.symbols)).high)
  }

  /// Whether the byte at `place` is one of a second w.
  func isScored(_ place: Int) -> Bool { place % length > length / 2 }

  /// `bytes` rounded up to whole sequences; of all, 0, no more than are held out.
  func whole(_ bytes: Int) -> Int {
    guard bytes > 0 else { return Self.heldOut * length }
    return (bytes / length + (bytes.isMultiple(of: length) ? 0 : 1)) * length
  }

  /// Their identity: what they follow from.
  package var digest: CorpusDigest {
    var hash = XXHash64()
    Array("0w0w \(length) \(key)".utf8).withUnsafeBytes { hash.update($0) }
    return CorpusDigest(bytes: count, xxh64: hash.finish())
  }
}
