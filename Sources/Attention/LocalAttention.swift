// Local attention: the sequence in order, cut in chunks. Separate queries and keys; a position may
// attend to itself. Semantics of Hugging Face's LocalSelfAttention, except that a look-back past
// the start sees nothing.
import Compute

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

/// Causal attention to the own chunk and the chunks just before it.
public struct LocalAttention: AttentionLayer {
  /// Chunk and look-back.
  public let sizes: LocalAttentionSizes
  private let short = FullAttention(sharesQueryKey: false)

  /// A layer with these sizes.
  public init(_ sizes: LocalAttentionSizes) { self.sizes = sizes }

  /// `local`.
  public static let name = "local"
  /// As `LocalSelfAttention`.
  public var isInHuggingFace: Bool { true }
  /// Chunks with and without padding to strips, with none, one and several before.
  public static let examples = [(16, 1), (5, 3), (32, 0)].map {
    LocalAttention(LocalAttentionSizes(chunk: $0.0, chunksBefore: $0.1))
  }

  /// Chunks of at least a position.
  public var problem: String? {
    let (chunk, before) = (sizes.chunk, sizes.chunksBefore)
    return (1...1 << 27).contains(chunk) && (0...1024).contains(before)
      ? nil : "chunk \(chunk), chunks before \(before); legal: 1 or more, 0 to 1024"
  }

  /// Queries, keys and values are projected apart.
  public var projections: [String] { ["query", "key", "value"] }
  /// A position sees earlier ones in an order that nothing later enters.
  public var isStrictlyCausal: Bool { true }

  /// Of the keys in a window, whether masked or not.
  public func operations(length: Int, features: Int) -> (scores: Double, hash: Double) {
    let window = min(sizes.chunk * (sizes.chunksBefore + 1), length)
    return (2 * Double(length) * Double(window) * Double(features), 0)
  }

  /// Maximum and sum of each row.
  public func savedFloats(length: Int, heads: Int) -> Int {
    short.savedFloats(length: length, heads: heads)
  }

  /// What the chunks need.
  public func scratch(length: Int, heads: Int, headWidth: Int) -> AttentionScratch {
    guard length > sizes.chunk else {
      return short.scratch(length: length, heads: heads, headWidth: headWidth)
    }
    return chunks(length).scratch(heads: heads, headWidth: headWidth)
  }

  /// Lends maximum and sum of each row.
  public func save(length: Int, heads: Int, from arena: ScratchArena) -> SoftmaxRows {
    short.save(length: length, heads: heads, from: arena)
  }

  private func chunks(_ length: Int) -> ChunkAttention {
    ChunkAttention(
      chunk: sizes.chunk, before: sizes.chunksBefore, rounds: 1, length: length, masksSelf: false,
      isCircular: false)
  }

  /// Attention of each chunk to itself and the chunks before.
  public func forward(_ group: HeadGroup, saved: SoftmaxRows, pass: AttentionPass) {
    // One chunk holds everything: the same mathematics without padding.
    guard group.length > sizes.chunk else {
      return short.forward(group, saved: saved, pass: pass)
    }
    saved.keyScale.row(0).fill(1 / Float(group.headWidth).squareRoot())
    chunks(group.length).forward(group, rows: saved, pass: pass) { _ in .sequence }
  }

  /// Gradients of the projections.
  public func backward(
    _ group: HeadGroup, saved: SoftmaxRows, outputGradient: Matrix, gradients: [Matrix],
    ownGradients: OwnParameters, pass: AttentionPass
  ) {
    guard group.length > sizes.chunk else {
      return short.backward(
        group, saved: saved, outputGradient: outputGradient, gradients: gradients,
        ownGradients: ownGradients, pass: pass)
    }
    chunks(group.length).backward(
      group, rows: saved, outputGradient: outputGradient, gradients: gradients, pass: pass
    ) { _ in .sequence }
    let factor = saved.keyScale.row(0)[0]
    let pieces = Tiling.ranges(group.length, by: Tiling.blockRows)
    pass.engine.pool.run(pieces.count) { task, scratch in
      Kernels.scale(gradients[1].rows(pieces[task]).dense, by: factor)
      scratch.lap(.scatter)
    }
  }

  /// The chunk of a query and those before it, up to the query.
  public func sight(length: Int, head: Int, saved: SoftmaxRows) -> Sight {
    guard length > sizes.chunk else { return short.sight(length: length, head: head, saved: saved) }
    return chunks(length).sight(.sequence)
  }
}
