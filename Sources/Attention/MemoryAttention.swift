// Attention with a memory of the windows before (Dai et al. 2019, "Transformer-XL: attentive language models beyond a
// fixed-length context", section 3.2): the last rows of a window are there for the next one of its text. Older ones may
// be compressed (Rae et al. 2020, "Compressive transformers for long-range sequence modelling").
import Compute

/// Causal attention to the last `rows` positions, those of earlier windows of the stream included, and to rows that stand for
/// older ones.
///
/// What is carried over are inputs of the layer, constants for the gradient; keys and values are projected from them
/// anew. Whoever runs a pass has them (`AttentionPass.carried`, `HeadGroup`); without them the stream begins with the
/// window. A position sees exactly so many rows wherever windows begin, as with the paper's `same_length`, so the cost
/// grows with the length of the window and a stream is the same function of its bytes in windows of any length.
public struct MemoryAttention: PatternLayer, Equatable {
  /// Positions before its own that one sees.
  public var rows: Int
  /// Rows, each of which stands for `ratio` positions older than those before the window, that all positions see.
  public var compressed: Int
  /// Positions that one of those stands for.
  public var ratio: Int
  /// Whether windows are parts of streams, so that their last rows are carried over.
  public var isCarried: Bool

  /// A layer with these sizes.
  public init(rows: Int = 512, compressed: Int = 0, ratio: Int = 4, isCarried: Bool = false) {
    self.rows = rows
    self.compressed = compressed
    self.ratio = ratio
    self.isCarried = isCarried
  }

  /// `memory`.
  public static let name = "memory"
  /// Memories shorter than a window, within a tile and beyond a span, with compressed rows and without; and none.
  public static let examples = [
    MemoryAttention(rows: 7, isCarried: true),
    MemoryAttention(rows: 40, compressed: 30, isCarried: true),
    MemoryAttention(rows: 700, compressed: 3, isCarried: true), MemoryAttention(rows: 20),
  ]

  /// At least a row, and groups of several that become one.
  public var problem: String? {
    let sizes = 1...1 << 27
    return sizes.contains(rows) && (0...sizes.upperBound).contains(compressed)
      && (2...1024).contains(ratio) && (compressed == 0 || rows % ratio == 0)
      ? nil
      : "rows \(rows), compressed \(compressed), ratio \(ratio); legal: 1 or more, 0 or more, 2 to 1024 and a divisor of "
        + "rows"
  }

  /// All that is seen, in streams.
  public var carried: CarriedRows {
    isCarried ? CarriedRows(recent: rows, compressed: compressed, ratio: ratio) : CarriedRows()
  }

  /// Of the keys that each query sees once the memory is full.
  public func operations(length: Int, features: Int) -> (scores: Double, hash: Double) {
    // At a window that begins a stream, the first queries see fewer.
    let first = Double(isCarried ? 0 : min(rows, length))
    let pairs = Double(length) * Double(rows + 1) - first * (Double(rows) - (first - 1) / 2)
    let others = Double(length) * Double(carried.compressed)
    return (2 * (pairs + others) * Double(features), 0)
  }

  func choiceCount(length: Int) -> Int { 1 }
  func carried(_ choice: View<Int32>) -> Int { Int(choice[0]) }

  /// How many rows are carried over.
  func choose(_ choice: View<Int32>, length: Int, head: Int, pass: AttentionPass) {
    choice[0] = Int32(pass.carried)
  }

  func sizes(length: Int) -> [SightList.Size] {
    let own = SightList.Size(queries: length, keys: carried.recent + length)
    guard carried.compressed > 0 else { return [own] }
    return [own, SightList.Size(queries: length, keys: carried.compressed)]
  }

  /// Carried rows and those of the window, each of which sees itself and the last ones; compressed rows, seen by all.
  func lists(_ choice: View<Int32>, length: Int, from arena: ScratchArena) -> [SightList] {
    var lists = sizes(length: length).map { SightList.Writer($0, from: arena) }
    let carried = carried(choice)
    // There are compressed rows only where all of the others are there.
    let older = max(0, carried - rows)
    for row in older..<carried { lists[0].key(row) }
    for position in 0..<length {
      let place = carried - older + position
      lists[0].key(carried + position)
      lists[0].query(position, sees: max(0, place - rows)..<place + 1)
    }
    if older > 0 {
      for row in 0..<older { lists[1].key(row) }
      for position in 0..<length { lists[1].query(position, sees: 0..<older) }
    }
    return lists.map { list in
      var list = list
      list.endStrand()
      return list.list
    }
  }
}
