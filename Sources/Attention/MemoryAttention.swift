// Attention with a memory of the windows before (Dai et al. 2019, "Transformer-XL: attentive language models beyond a
// fixed-length context", section 3.2): the last rows of a window are there for the next one of its text.
import Compute

/// Causal attention to the last `rows` positions, those of earlier windows of the stream included.
///
/// What is carried over are inputs of the layer, constants for the gradient; keys and values are projected from them
/// anew. Whoever runs a pass has them (`AttentionPass.carried`, `HeadGroup`); without them the stream begins with the
/// window. A position sees exactly so many rows wherever windows begin, as with the paper's `same_length`, so the cost
/// grows with the length of the window and a stream is the same function of its bytes in windows of any length.
public struct MemoryAttention: PatternLayer, Equatable {
  /// Positions before its own that one sees.
  public var rows: Int
  /// Whether windows are parts of streams, so that their last rows are carried over.
  public var isCarried: Bool

  /// A layer with these sizes.
  public init(rows: Int = 512, isCarried: Bool = false) {
    self.rows = rows
    self.isCarried = isCarried
  }

  /// `memory`.
  public static let name = "memory"
  /// Memories shorter than a window, within a tile and beyond a span; and none.
  public static let examples = [(7, true), (40, true), (700, true), (20, false)].map {
    MemoryAttention(rows: $0.0, isCarried: $0.1)
  }

  /// At least a row.
  public var problem: String? {
    (1...1 << 27).contains(rows) ? nil : "rows \(rows); legal: 1 or more"
  }

  /// All that is seen, in streams.
  public var carriedRows: Int { isCarried ? rows : 0 }

  /// Of the keys that each query sees once the memory is full.
  public func operations(length: Int, features: Int) -> (scores: Double, hash: Double) {
    // At a window that begins a stream, the first queries see fewer.
    let first = Double(isCarried ? 0 : min(rows, length))
    let pairs = Double(length) * Double(rows + 1) - first * (Double(rows) - (first - 1) / 2)
    return (2 * pairs * Double(features), 0)
  }

  func choiceCount(length: Int) -> Int { 1 }
  func carried(_ choice: View<Int32>) -> Int { Int(choice[0]) }

  /// How many rows are carried over.
  func choose(_ choice: View<Int32>, length: Int, head: Int, pass: AttentionPass) {
    choice[0] = Int32(pass.carried)
  }

  func sizes(length: Int) -> [SightList.Size] {
    [SightList.Size(queries: length, keys: carriedRows + length)]
  }

  /// Carried rows and those of the window, each of which sees itself and the last ones.
  func lists(_ choice: View<Int32>, length: Int, from arena: ScratchArena) -> [SightList] {
    var list = SightList.Writer(sizes(length: length)[0], from: arena)
    let carried = carried(choice)
    for place in 0..<carried { list.key(place) }
    for position in 0..<length {
      let own = carried + position
      list.key(own)
      list.query(position, sees: max(0, own - rows)..<own + 1)
    }
    list.endStrand()
    return [list.list]
  }
}
