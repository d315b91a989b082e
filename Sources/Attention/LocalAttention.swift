// Local attention: the sequence in order, cut in chunks. Separate queries and keys; a position may
// attend to itself. Semantics of Hugging Face's LocalSelfAttention, except that a look-back past
// the start sees nothing.
import Compute

/// Causal attention to the own chunk and the chunks just before it.
public struct LocalAttention: AttentionLayer {
  /// Chunk and look-back.
  public let sizes: LocalAttentionSizes
  private let short: FullAttention

  /// A layer with these sizes.
  public init(_ sizes: LocalAttentionSizes) {
    self.sizes = sizes
    short = FullAttention(sharesQueryKey: false)
  }

  /// Queries, keys and values are projected apart.
  public var projections: [String] { ["query", "key", "value"] }

  /// The sequence itself, padded to whole chunks, for each head.
  public func orderCount(length: Int) -> Int {
    length <= sizes.chunk ? 0 : chunks(length).paddedLength
  }

  /// What the chunks need.
  public func scratchFloats(
    length: Int, heads: Int, headWidth: Int
  ) -> (shared: Int, perThread: Int) {
    guard length > sizes.chunk else {
      return short.scratchFloats(length: length, heads: heads, headWidth: headWidth)
    }
    return chunks(length).scratchFloats(heads: heads, headWidth: headWidth)
  }

  private func chunks(_ length: Int) -> ChunkAttention {
    ChunkAttention(
      chunk: sizes.chunk, before: sizes.chunksBefore, rounds: 1, length: length, masksSelf: false,
      isCircular: false)
  }

  /// Attention of each chunk to itself and the chunks before.
  public func forward(_ group: HeadGroupActivations, draws: AttentionDraws, engine: Engine) {
    // One chunk holds everything: the same mathematics without padding.
    guard group.length > sizes.chunk else {
      return short.forward(group, draws: draws, engine: engine)
    }
    let chunks = chunks(group.length)
    for index in 0..<group.order.count {
      group.order[index] = Int32(index % chunks.paddedLength)
    }
    group.keyScale.fill(1 / Float(group.output.columns / group.heads).squareRoot())
    chunks.forward(heads(group, draws), dropout: draws.dropout, engine: engine)
  }

  /// Gradients of the projections.
  public func backward(
    _ group: HeadGroupActivations, outputGradient: Matrix, gradients: [Matrix],
    draws: AttentionDraws, engine: Engine
  ) {
    guard group.length > sizes.chunk else {
      return short.backward(
        group, outputGradient: outputGradient, gradients: gradients, draws: draws, engine: engine)
    }
    let pieces = Tiling.ranges(group.length, by: Tiling.blockRows)
    engine.pool.run(pieces.count) { task, scratch in
      for gradient in gradients { gradient.rows(pieces[task]).fill(0) }
      scratch.lap(.scatter)
    }
    let heads = heads(group, draws)
    let headGradients = (0..<group.heads).map { head in
      ChunkAttention.HeadGradient(
        output: group.head(head, of: outputGradient), queries: group.head(head, of: gradients[0]),
        keys: group.head(head, of: gradients[1]), values: group.head(head, of: gradients[2]))
    }
    chunks(group.length).backward(heads, headGradients, dropout: draws.dropout, engine: engine)
    let factor = group.keyScale.row(0)[0]
    engine.pool.run(pieces.count) { task, scratch in
      Kernels.scale(gradients[1].rows(pieces[task]).dense, by: factor)
      scratch.lap(.scatter)
    }
  }

  private func heads(
    _ group: HeadGroupActivations, _ draws: AttentionDraws
  ) -> [ChunkAttention.Head] {
    let padded = chunks(group.length).paddedLength
    return (0..<group.heads).map { head in
      ChunkAttention.Head(
        queries: group.head(head, of: group.projected[0]),
        keys: group.head(head, of: group.projected[1]),
        values: group.head(head, of: group.projected[2]),
        keyScale: group.keyScale.columns(head..<head + 1),
        order: group.order[head * padded..<(head + 1) * padded],
        output: group.head(head, of: group.output), maximum: group.maximum.columns(head..<head + 1),
        sum: group.sum.columns(head..<head + 1), dropoutStream: draws.dropoutStream(head: head))
    }
  }
}
