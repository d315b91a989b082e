// Attention without a causal mask: what layers of an encoder see, whose sequence is there as a whole.
import Compute

/// Attention of each position to those around it, before and after.
///
/// What `full` and `local` layers become in an encoder: all positions, or the own chunk and some on either side.
public struct SurroundingAttention: PatternLayer, Equatable {
  /// Positions per chunk; 0: all are one chunk.
  public var chunk: Int
  /// Chunks that are seen on either side of the own one.
  public var beside: Int

  /// A layer with these sizes.
  public init(chunk: Int = 0, beside: Int = 0) {
    self.chunk = chunk
    self.beside = beside
  }

  /// What it is; in `model.encoder_layers` it has the name of the kind that it is without the mask.
  public static let name = "surrounding"
  /// All positions; chunks within a tile and beyond a span, with neighbours and without.
  public static let examples = [(0, 0), (5, 2), (16, 0), (300, 1)].map {
    SurroundingAttention(chunk: $0.0, beside: $0.1)
  }

  /// Sizes that are none.
  public var problem: String? {
    (0...1 << 27).contains(chunk) && (0...1024).contains(beside)
      ? nil : "chunk \(chunk), chunks beside \(beside); legal: 0 or more, 0 to 1024"
  }

  /// Later positions are seen.
  public var isStrictlyCausal: Bool { false }

  /// The positions that one sees.
  private func seen(_ position: Int, length: Int) -> Range<Int> {
    guard chunk > 0 else { return 0..<length }
    let own = position / chunk
    return max(0, own - beside) * chunk..<min(length, (own + beside + 1) * chunk)
  }

  /// Of the keys that each query sees.
  public func operations(length: Int, features: Int) -> (scores: Double, hash: Double) {
    let pairs =
      chunk == 0
      ? Double(length) * Double(length)
      : (0..<length).reduce(0) { $0 + Double(seen($1, length: length).count) }
    return (2 * pairs * Double(features), 0)
  }

  func sizes(length: Int) -> [SightList.Size] { [SightList.Size(queries: length, keys: length)] }

  /// The sequence, each position with those around it.
  func lists(_ choice: View<Int32>, length: Int, from arena: ScratchArena) -> [SightList] {
    var list = SightList.Writer(sizes(length: length)[0], from: arena)
    for position in 0..<length {
      list.key(position)
      list.query(position, sees: seen(position, length: length))
    }
    list.endStrand()
    return [list.list]
  }
}

extension FullAttention {
  /// All positions; with a shared projection there is no such kind.
  public var unmasked: (any AttentionLayer)? { sharesQueryKey ? nil : SurroundingAttention() }
}

extension LocalAttention {
  /// As many chunks after the own one as before it.
  public var unmasked: (any AttentionLayer)? {
    SurroundingAttention(chunk: chunk, beside: chunksBefore)
  }
}
