// LSH attention (Reformer, section 2, with the semantics of Hugging Face's LSHSelfAttention 4.44):
// queries and keys share one projection, keys have unit length times 1/sqrt(K), each round sorts
// positions by bucket, and chunks of the sorted list attend to themselves and the chunks before.
import Compute

/// Causal attention among positions that hash alike.
public struct LSHAttention: AttentionLayer {
  /// Chunk, look-back, rounds and buckets.
  public let sizes: LSHAttentionSizes
  private let short: FullAttention

  /// A layer with these sizes.
  public init(_ sizes: LSHAttentionSizes) {
    self.sizes = sizes
    short = FullAttention(sharesQueryKey: true)
  }

  /// Queries and keys share one projection.
  public var projections: [String] { ["query_key", "value"] }

  /// All hash rounds one after the other, each padded to whole chunks.
  public func orderCount(length: Int) -> Int {
    length <= sizes.chunk ? 0 : sizes.hashes * chunks(length).paddedLength
  }

  /// While it sorts, the buckets; later what the chunks need.
  public func scratchFloats(
    length: Int, heads: Int, headWidth: Int
  ) -> (shared: Int, perThread: Int) {
    guard length > sizes.chunk else {
      return short.scratchFloats(length: length, heads: heads, headWidth: headWidth)
    }
    let columns = sizes.hashes * sizes.rotationWidth
    let sorting = heads * (sizes.hashes * length + StripMatrix.floats(headWidth, columns))
    let chunks = chunks(length).scratchFloats(heads: heads, headWidth: headWidth)
    return (
      max(sorting, chunks.shared),
      max(chunks.perThread, max(Tiling.tileRows, headWidth) * columns, sizes.bucketCount + 1)
    )
  }

  private func chunks(_ length: Int) -> ChunkAttention {
    ChunkAttention(
      chunk: sizes.chunk, before: sizes.chunksBefore, rounds: sizes.hashes, length: length,
      masksSelf: true, isCircular: true)
  }

  /// Hashes, sorts, and attends within chunks of the sorted lists.
  public func forward(_ group: HeadGroupActivations, draws: AttentionDraws, engine: Engine) {
    // Dense fallback: one chunk sees everything, so hashing would change nothing.
    guard group.length > sizes.chunk else {
      return short.forward(group, draws: draws, engine: engine)
    }
    sort(group, draws: draws, engine: engine)
    chunks(group.length).forward(heads(group, draws), dropout: draws.dropout, engine: engine)
  }

  /// Gradients of the projections, from the order that `forward` left.
  public func backward(
    _ group: HeadGroupActivations, outputGradient: Matrix, gradients: [Matrix],
    draws: AttentionDraws, engine: Engine
  ) {
    guard group.length > sizes.chunk else {
      return short.backward(
        group, outputGradient: outputGradient, gradients: gradients, draws: draws, engine: engine)
    }
    let length = group.length
    let pieces = Tiling.ranges(length, by: Tiling.blockRows)
    engine.pool.run(pieces.count) { task, scratch in
      for gradient in gradients { gradient.rows(pieces[task]).fill(0) }
      scratch.lap(.scatter)
    }
    let headGradients = (0..<group.heads).map { head in
      ChunkAttention.HeadGradient(
        output: group.head(head, of: outputGradient), queries: group.head(head, of: gradients[0]),
        keys: nil, values: group.head(head, of: gradients[1]))
    }
    chunks(length).backward(
      heads(group, draws), headGradients, dropout: draws.dropout, engine: engine)
  }

  private func heads(
    _ group: HeadGroupActivations, _ draws: AttentionDraws
  ) -> [ChunkAttention.Head] {
    let count = orderCount(length: group.length)
    return (0..<group.heads).map { head in
      let queryKey = group.head(head, of: group.projected[0])
      return ChunkAttention.Head(
        queries: queryKey, keys: queryKey, values: group.head(head, of: group.projected[1]),
        keyScale: group.keyScale.columns(head..<head + 1),
        order: group.order[head * count..<(head + 1) * count],
        output: group.head(head, of: group.output), maximum: group.maximum.columns(head..<head + 1),
        sum: group.sum.columns(head..<head + 1), dropoutStream: draws.dropoutStream(head: head))
    }
  }

  /// Fills `keyScale` and `order`.
  private func sort(_ group: HeadGroupActivations, draws: AttentionDraws, engine: Engine) {
    let length = group.length
    let padded = chunks(length).paddedLength
    let width = group.output.columns / group.heads
    let columns = sizes.hashes * sizes.rotationWidth
    let factors = sizes.buckets.map(Int32.init)
    let tiles = Tiling.ranges(length, by: Tiling.tileRows)
    engine.scratch.frame {
      let rotations = (0..<group.heads).map { _ in engine.scratch.strips(width, columns) }
      let buckets = engine.scratch.integers(group.heads * sizes.hashes * length)
      engine.pool.run(group.heads) { head, scratch in
        let rows = scratch.matrix(width, columns)
        fillRotations(rows, head: head, draws: draws)
        rotations[head].copy(from: rows)
        scratch.lap(.hash)
      }
      engine.pool.run(group.heads * tiles.count) { task, scratch in
        let (head, tile) = task.quotientAndRemainder(dividingBy: tiles.count)
        let rows = tiles[tile]
        let queryKey = group.head(head, of: group.projected[0]).rows(rows)
        Kernels.keyScale(queryKey, into: group.keyScale.columns(head..<head + 1).rows(rows))
        let rotated = scratch.matrix(rows.count, columns)
        tileProduct(queryKey.left, rotations[head], into: rotated.result)
        for round in 0..<sizes.hashes {
          let start = (head * sizes.hashes + round) * length
          Kernels.hashBuckets(
            rotated.columns(round * sizes.rotationWidth..<(round + 1) * sizes.rotationWidth),
            factors: factors, into: buckets[start + rows.lowerBound..<start + rows.upperBound])
        }
        scratch.lap(.hash)
      }
      engine.pool.run(group.heads * sizes.hashes) { list, scratch in
        let order = group.order[list * padded..<(list + 1) * padded]
        Kernels.countingSort(
          buckets[list * length..<(list + 1) * length], bucketCount: sizes.bucketCount,
          counts: scratch.integers(sizes.bucketCount + 1), into: order[0..<length])
        for index in length..<padded { order[index] = Int32(index) }
        scratch.lap(.sort)
      }
    }
  }

  /// `[K, hashes * rotationWidth]` of one head: standard normal, or as given.
  private func fillRotations(_ rotations: Matrix, head: Int, draws: AttentionDraws) {
    if let given = draws.givenRotations {
      let count = rotations.rows * rotations.columns
      let start = (draws.firstHead + head) * count
      precondition(start + count <= given.count, "\(given.count) rotation entries are too few")
      rotations.dense.copy(from: Array(given[start..<start + count]))
    } else {
      draws.address.stream(.hashRotation, layer: draws.layer, head: draws.firstHead + head)
        .normal(into: rotations.dense)
    }
  }
}
