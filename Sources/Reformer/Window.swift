// One window on its way from the corpus to the loss.
import Compute

/// What a model reads, and what it must predict from it: with a source, of its target.
///
/// L positions, S of the source.
public struct Window: Sendable {
  private let tokens: Buffer<Int32>
  /// Whether it was trained on before, so that counts have seen what follows each position.
  public let isRepeated: Bool
  /// Whether it goes on where the window before it in its stream has ended.
  public let isContinued: Bool
  /// Positions, L.
  public let length: Int
  /// Positions of the source, S; 0 where there is none.
  public let sourceLength: Int
  /// Positions whose prediction is scored.
  public let scoredCount: Int

  /// Token ids `[S + L]`, those of the source first.
  var inputs: View<Int32> { tokens.view[0..<sourceLength + length] }
  /// Token ids `[L]` to be predicted; negative ones are not scored.
  var targets: View<Int32> { tokens.view[sourceLength + length..<sourceLength + 2 * length] }

  /// The first n of n + 1 bytes, each to predict the byte after it; the id of a byte is its value plus
  /// `byteOffset`.
  ///
  /// Bytes whose place among `bytes` is one of which `isScored` says no are context only. Traps below two bytes.
  public init(
    bytes: some RandomAccessCollection<UInt8>, byteOffset: Int,
    isRepeated: Bool = false, isContinued: Bool = false,
    isScored: (_ place: Int) -> Bool = { _ in true }
  ) {
    precondition(bytes.count >= 2, "a window of \(bytes.count) bytes")
    let ids = bytes.map { Int32($0) + Int32(byteOffset) }
    let targets = ids.indices.dropFirst().map { isScored($0) ? ids[$0] : -1 }
    self.init(
      inputs: ids.dropLast(), targets: targets, isRepeated: isRepeated, isContinued: isContinued)
  }

  /// A pair: the end of the source is marked, and from the mark that its target begins and each byte of it the next one is
  /// predicted, the mark of its end last.
  ///
  /// The marks are the two tokens before that of byte 0; traps where there are none.
  public init(
    source: some Collection<UInt8>, target: some Collection<UInt8>, byteOffset: Int,
    isRepeated: Bool = false
  ) {
    precondition(byteOffset >= 2, "no marks before byte 0, which is token \(byteOffset)")
    let (begin, end) = (Int32(byteOffset - 2), Int32(byteOffset - 1))
    let ids = target.map { Int32($0) + Int32(byteOffset) }
    self.init(
      source: source.map { Int32($0) + Int32(byteOffset) } + [end], inputs: [begin] + ids,
      targets: ids + [end], isRepeated: isRepeated)
  }

  /// Any tokens, after those of `source`; traps when there are not as many targets as inputs.
  public init(
    source: [Int32] = [], inputs: some Collection<Int32>, targets: some Collection<Int32>,
    isRepeated: Bool = false, isContinued: Bool = false
  ) {
    self.isRepeated = isRepeated
    self.isContinued = isContinued
    precondition(inputs.count == targets.count, "\(inputs.count) inputs, \(targets.count) targets")
    length = inputs.count
    sourceLength = source.count
    scoredCount = targets.count { $0 >= 0 }
    tokens = Buffer(sourceLength + 2 * length)
    tokens.view.copy(from: source + Array(inputs) + Array(targets))
  }

  /// A window of `length` tokens that are set as they become known; nothing in it is scored.
  init(length: Int) {
    isRepeated = false
    isContinued = false
    self.length = length
    sourceLength = 0
    scoredCount = 0
    tokens = Buffer(2 * length)
    targets.fill(-1)
  }

  /// Throws when a model of these sizes cannot read it.
  func check(_ config: ReformerConfig) throws(ReformerError) {
    guard (1...config.length).contains(length) else {
      throw .window("\(length) positions; this model takes 1 to \(config.length)")
    }
    let most = config.sourceLength
    guard (min(1, most)...most).contains(sourceLength) else {
      throw .window("a source of \(sourceLength) positions; this model takes 1 to \(most), or none")
    }
    for (index, token) in tokens.view.array.enumerated()
    where Int(token) >= config.vocabulary || (token < 0 && index < inputs.count) {
      let place = index < sourceLength ? index : (index - sourceLength) % length
      throw .window("token \(token) at \(place); the vocabulary has \(config.vocabulary)")
    }
  }
}
