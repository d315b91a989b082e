// `[attention.full]`, `[attention.local]` and `[attention.lsh]`: the sizes of each attention kind.
import Attention

/// `[attention.*]`; `keys` says what each property means.
package struct AttentionSection: Sendable, Equatable {
  package var fullSharedQueryKey = false
  package var local = LocalAttentionSizes(chunk: 64, chunksBefore: 1)
  package var lsh = LSHAttentionSizes(chunk: 64, chunksBefore: 1, hashes: 2, buckets: [])

  var sizes: AttentionSizes {
    AttentionSizes(local: local, lsh: lsh, fullSharedQueryKey: fullSharedQueryKey)
  }

  private static let size = Legal.from(1, to: RunConfig.largestSize)
  private static let chunksBefore = Legal.from(0, to: 1024)

  static let keys = [
    ConfigSection(
      name: "attention.full", text: "layers that see everything before",
      keys: [
        ConfigKey(
          "attention.full.shared_query_key", \.attention.fullSharedQueryKey, .any, .fixed,
          "One projection for queries and keys.")
      ]),
    ConfigSection(
      name: "attention.local", text: "layers that see the chunks just before",
      keys: [
        ConfigKey(
          "attention.local.chunk", \.attention.local.chunk, size, .fixed, "Positions of a chunk."),
        ConfigKey(
          "attention.local.chunks_before", \.attention.local.chunksBefore, chunksBefore, .fixed,
          "Chunks a position sees beside its own."),
      ]),
    ConfigSection(
      name: "attention.lsh", text: "layers that see positions with a like hash",
      keys: [
        ConfigKey(
          "attention.lsh.chunk", \.attention.lsh.chunk, size, .fixed,
          "Positions of a chunk of the sorted list."),
        ConfigKey(
          "attention.lsh.chunks_before", \.attention.lsh.chunksBefore, chunksBefore, .fixed,
          "Chunks a position sees beside its own."),
        ConfigKey(
          "attention.lsh.hashes", \.attention.lsh.hashes, .from(1, to: 1024), .fixed,
          "Hash rounds."),
        ConfigKey(
          "attention.lsh.buckets", \.attention.lsh.buckets, automatic: [], or: buckets, .fixed,
          "Buckets of a round, or their factors; auto: twice the chunks of a window."),
        ConfigKey(
          "attention.lsh.sight", \.attention.lsh.sight, .any, .fixed,
          "What a position sees of a round: its chunk of the sorted list and those before it, as in the paper, "
            + "which depends on later bytes; or the last chunk * chunks_before members of its bucket."
        ),
        ConfigKey(
          "attention.lsh.window", \.attention.lsh.window, .from(0, to: RunConfig.largestSize),
          .fixed,
          "With sight = \"bucket\": how many bytes just before its own a position sees beside the rounds."
        ),
      ]),
  ]

  private static let buckets = Legal<[Int]>(
    text: "an even whole number from 2 to \(RunConfig.largestSize), or a list of such factors "
      + "with a product up to it",
    contains: { factors in
      !factors.isEmpty && factors.allSatisfy { $0 >= 2 && $0 % 2 == 0 }
        && !RunConfig.product(factors, atLeast: RunConfig.largestSize + 1)
    }, examples: [[2], [2, 4], [RunConfig.largestSize]])
}
