// Text that goes on byte by byte, past the end of a model's context.
import Compute
import Reformer

/// A text, and what a model says of the byte after it.
public final class Generator {
  private let pass: IncrementalPass
  private let address: RandomAddress
  private var tokens: [Int32] = []

  /// A text that is still empty, to be continued by the model of `config`.
  ///
  /// `parameters` must stay as they are.
  public init(config: RunConfig, parameters: View<Float>, engine: Engine) throws(ReformerError) {
    pass = try IncrementalPass(
      config: config.reformer, parameters: parameters, sequences: 1, engine: engine)
    address = .unseen(config, window: 0)
  }

  /// Whether a byte costs one row; otherwise all that the model sees is computed again for each.
  public var isIncremental: Bool { pass.isStrict }

  /// Begins with `text`, of which the model sees the last `data.length` bytes; returns the logits `[256]` of the byte
  /// after it, lent until the next call.
  ///
  /// Throws for an empty text, and when a stream leaves its range.
  public func begin(_ text: some Collection<UInt8>) throws(ReformerError) -> View<Float> {
    tokens = text.suffix(pass.config.length).map(token)
    return try readAgain()
  }

  /// Adds a byte to the text; returns the logits `[256]` of the next one, lent until the next call.
  ///
  /// Where the context is full, its last half becomes the start of a new one. Throws when a stream leaves its range.
  public func add(_ byte: UInt8) throws(ReformerError) -> View<Float> {
    tokens.append(token(byte))
    guard tokens.count <= pass.config.length else {
      tokens.removeFirst(tokens.count - max(1, pass.config.length / 2))
      return try readAgain()
    }
    guard isIncremental else { return try readAgain() }
    return bytes(try pass.step([token(byte)]).row(0))
  }

  private func readAgain() throws(ReformerError) -> View<Float> {
    pass.begin([address])
    return bytes(try pass.read(tokens))
  }

  private func token(_ byte: UInt8) -> Int32 { Int32(byte) + Int32(pass.config.byteOffset) }

  /// The logits of bytes among those of all tokens.
  private func bytes(_ logits: View<Float>) -> View<Float> {
    logits[pass.config.byteOffset..<pass.config.byteOffset + 256]
  }
}
