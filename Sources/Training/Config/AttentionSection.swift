// `[attention.*]`: the sizes of each attention kind.
import Attention

/// `[attention.*]`; `keys` says what each property means.
package struct AttentionSection: Sendable, Equatable {
  package var fullSharedQueryKey = false
  package var local = LocalAttention(chunk: 64, chunksBefore: 1)
  package var lsh = LSHAttention(chunk: 64, chunksBefore: 1, hashes: 2, buckets: [])
  package var sliding = SlidingAttention()
  package var span = SpanAttention()
  package var strided = StridedAttention()
  package var fixed = FixedAttention()
  package var bigBird = BigBirdAttention()
  package var blocks = BlocksAttention()
  package var linear = LinearAttention(features: 128)
  package var compressed = CompressedAttention(block: 64, rows: 4)
  package var memory = MemoryAttention()

  var sizes: AttentionSizes {
    var sizes = AttentionSizes(local: local, lsh: lsh, fullSharedQueryKey: fullSharedQueryKey)
    sizes.sliding = sliding
    sizes.span = span
    sizes.strided = strided
    sizes.fixed = fixed
    sizes.bigBird = bigBird
    sizes.blocks = blocks
    sizes.linear = linear
    sizes.compressed = compressed
    sizes.memory = memory
    return sizes
  }

  private static let size = Legal.from(1, to: ConfigLimits.size)
  private static let chunksBefore = Legal.from(0, to: 1024)

  private typealias Key = SectionKey<AttentionSection>

  static let keys = [
    SectionKeys(
      name: "attention.full", text: "layers that see everything before",
      keys: [
        Key(
          "shared_query_key", \.fullSharedQueryKey, .any, .fixed,
          "One projection for queries and keys.")
      ]),
    SectionKeys(
      name: "attention.local", text: "layers that see the chunks just before",
      keys: [
        Key(
          "chunk", \.local.chunk, size, .fixed, "Positions of a chunk."),
        Key(
          "chunks_before", \.local.chunksBefore, chunksBefore, .fixed,
          "Chunks a position sees beside its own."),
      ]),
    SectionKeys(
      name: "attention.lsh", text: "layers that see positions with a like hash",
      keys: [
        Key(
          "chunk", \.lsh.chunk, size, .fixed,
          "Positions of a chunk of the sorted list."),
        Key(
          "chunks_before", \.lsh.chunksBefore, chunksBefore, .fixed,
          "Chunks a position sees beside its own."),
        Key(
          "hashes", \.lsh.hashes, .from(1, to: 1024), .fixed,
          "Hash rounds."),
        Key(
          "buckets", \.lsh.buckets, automatic: [], or: buckets, .fixed,
          "Buckets of a round, or their factors; auto: twice the chunks of a window."),
        Key(
          "sight", \.lsh.sight, .any, .fixed,
          "What a position sees of a round: its chunk of the sorted list and those before it, as in the paper, "
            + "which depends on later bytes; or the last chunk * chunks_before members of its bucket."
        ),
        Key(
          "window", \.lsh.window, .from(0, to: ConfigLimits.size), .fixed,
          "With sight = \"bucket\": how many bytes just before its own a position sees beside the rounds."
        ),
      ]),
    SectionKeys(
      name: "attention.linear", text: "layers that see everything before, by random features",
      keys: [
        Key(
          "features", \.linear.features, .from(1, to: 4096), .fixed,
          "Random features of a head."),
        Key(
          "redraw", \.linear.redraw, .from(0, to: ConfigLimits.size), .fixed,
          "Steps after which they are drawn anew; 0: never."),
      ]),
    SectionKeys(
      name: "attention.compressed",
      text: "layers that see their own block, and learnt mixtures of each block before",
      keys: [
        Key(
          "block", \.compressed.block, .from(1, to: 1 << 16), .fixed, "Positions of a block."),
        Key(
          "rows", \.compressed.rows, .from(1, to: 1 << 16), .fixed,
          "Mixtures that stand for a block, at most as many as it has positions."),
      ]),
    SectionKeys(
      name: "attention.memory",
      text: "layers that see the last positions, those of earlier windows of a stream included",
      keys: [
        Key(
          "rows", \.memory.rows, size, .fixed,
          "Positions before its own that one sees. With data.order = \"streams\" as many last inputs of the layer are "
            + "carried over from window to window; otherwise a window sees nothing before it."),
        Key(
          "compressed", \.memory.compressed, .from(0, to: ConfigLimits.size), .fixed,
          "Rows carried over beside those, each of which stands for several older ones and is seen by all positions."
        ),
        Key(
          "ratio", \.memory.ratio, .from(2, to: 1024), .fixed,
          "Older rows that one of those stands for; with compressed, a divisor of rows and of data.length."
        ),
      ]),
  ]

  private static let buckets = Legal<[Int]>(
    text: "an even whole number from 2 to \(ConfigLimits.size), or a list of such factors "
      + "with a product up to it",
    contains: { factors in
      !factors.isEmpty && factors.allSatisfy { $0 >= 2 && $0 % 2 == 0 }
        && !factors.productReaches(ConfigLimits.size + 1)
    }, examples: [[2], [2, 4], [ConfigLimits.size]])
}
