// The list of attention kinds and the sizes a config gives them. A further kind is a file of its own, and here a
// case, the sizes it has and the line that puts them together.

/// Names of attention kinds in a config.
public enum AttentionKind: String, Sendable, CaseIterable {
  /// Every earlier position.
  case full
  /// The own chunk and the chunks just before it.
  case local
  /// Positions hashed to the same bucket (Reformer, section 2).
  case lsh
  /// A window of exactly so many positions, and global ones (Longformer).
  case sliding
  /// As many of the last positions as each head has learnt to look at (Adaptive Attention Span).
  case span
  /// The last positions and every so manieth before (Sparse Transformer).
  case strided
  /// The own block and the last positions of those before (Sparse Transformer).
  case fixed
  /// Blocks of a window, first blocks and random ones (BigBird).
  case bigbird
  /// A window of blocks, and earlier ones chosen by their landmarks (after MoBA and NSA).
  case blocks
  /// Every earlier position, by random features (Performer).
  case linear
  /// The own block, and a few learnt mixtures of each block before (after Linformer).
  case compressed
  /// The last positions, those of earlier windows of the stream included (Transformer-XL).
  case memory
}

/// The sizes of every kind.
public struct AttentionSizes: Sendable {
  /// Whether `full` layers share one projection for queries and keys, as LSH attention does.
  public var fullSharedQueryKey: Bool
  /// Of `local` layers.
  public var local: LocalAttention
  /// Of `lsh` layers.
  public var lsh: LSHAttention
  /// Of `sliding` layers.
  public var sliding = SlidingAttention()
  /// Of `span` layers.
  public var span = SpanAttention()
  /// Of `strided` layers.
  public var strided = StridedAttention()
  /// Of `fixed` layers.
  public var fixed = FixedAttention()
  /// Of `bigbird` layers.
  public var bigBird = BigBirdAttention()
  /// Of `blocks` layers.
  public var blocks = BlocksAttention()
  /// Of `linear` layers.
  public var linear = LinearAttention(features: 128)
  /// Of `compressed` layers.
  public var compressed = CompressedAttention(block: 64, rows: 4)
  /// Of `memory` layers.
  public var memory = MemoryAttention()

  /// All sizes at once.
  public init(local: LocalAttention, lsh: LSHAttention, fullSharedQueryKey: Bool = false) {
    self.local = local
    self.lsh = lsh
    self.fullSharedQueryKey = fullSharedQueryKey
  }

  /// A layer of `kind`.
  public func layer(_ kind: AttentionKind) -> any AttentionLayer {
    switch kind {
    case .full: FullAttention(sharesQueryKey: fullSharedQueryKey)
    case .local: local
    case .lsh: lsh
    case .sliding: sliding
    case .span: span
    case .strided: strided
    case .fixed: fixed
    case .bigbird: bigBird
    case .blocks: blocks
    case .linear: linear
    case .compressed: compressed
    case .memory: memory
    }
  }
}
