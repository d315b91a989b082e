// Local attention: the sequence in order, cut in chunks. Separate queries and keys; a position may
// attend to itself. Semantics of Hugging Face's LocalSelfAttention, except that a look-back past
// the start sees nothing.
import Compute

/// Causal attention to the own chunk and the chunks just before it.
public struct LocalAttention: AttentionLayer, Equatable {
  /// Positions per chunk.
  public var chunk: Int
  /// Earlier chunks each chunk sees.
  public var chunksBefore: Int

  /// A layer with these sizes.
  public init(chunk: Int, chunksBefore: Int) {
    self.chunk = chunk
    self.chunksBefore = chunksBefore
  }

  /// `local`.
  public static let name = "local"
  /// As `LocalSelfAttention`.
  public var isInHuggingFace: Bool { true }
  /// Chunks with and without padding to strips, with none, one and several before.
  public static let examples = [(16, 1), (5, 3), (32, 0)].map {
    LocalAttention(chunk: $0.0, chunksBefore: $0.1)
  }

  /// Chunks of at least a position.
  public var problem: String? {
    (1...1 << 27).contains(chunk) && (0...1024).contains(chunksBefore)
      ? nil : "chunk \(chunk), chunks before \(chunksBefore); legal: 1 or more, 0 to 1024"
  }

  /// Queries, keys and values are projected apart.
  public var projections: [String] { ["query", "key", "value"] }
  /// A position sees earlier ones in an order that nothing later enters.
  public var isStrictlyCausal: Bool { true }

  private func chunks(_ length: Int) -> ChunkAttention {
    ChunkAttention(
      chunk: chunk, before: chunksBefore, rounds: 1, length: length, sharesQueryKey: false)
  }

  /// Of the keys in a window, whether masked or not.
  public func operations(length: Int, features: Int) -> (scores: Double, hash: Double) {
    let window = min(chunk * (chunksBefore + 1), length)
    return (2 * Double(length) * Double(window) * Double(features), 0)
  }

  /// What the chunks need.
  public func scratch(length: Int, heads: Int, headWidth: Int) -> AttentionScratch {
    chunks(length).scratch(heads: heads, headWidth: headWidth)
  }

  /// Attention of each chunk to itself and the chunks before.
  public func forward(_ group: HeadGroup, saved: [SoftmaxRows], pass: AttentionPass) {
    pass.turn(group)
    chunks(group.length).forward(
      group, rows: saved, pass: pass, orders: saved.map { _ in .sequence })
  }

  /// Gradients of the projections.
  public func backward(
    _ group: HeadGroup, saved: [SoftmaxRows], outputGradient: Matrix, gradients: [Matrix],
    ownGradients: OwnParameters, pass: AttentionPass
  ) {
    chunks(group.length).backward(
      group, rows: saved, outputGradient: outputGradient, gradients: gradients, pass: pass,
      orders: saved.map { _ in .sequence })
    pass.turnBack(gradients)
  }

  /// The chunk of a query and those before it, up to the query.
  public func sight(length: Int, head: Int, saved: [SoftmaxRows]) -> Sight {
    chunks(length).sight(.sequence)
  }
}
