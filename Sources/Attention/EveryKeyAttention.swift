// Attention of all queries to all of some other keys: what a decoder sees of its encoder's output, and what a compressed
// memory is compared with itself by (Rae et al. 2020, "Compressive transformers for long-range sequence modelling",
// section 3.2). Not causal, and no kind of layer.
import Compute

/// Attention to all keys of a group, which are none of its own rows: as many as the pass carries over.
public struct EveryKeyAttention: PatternLayer {
  /// Most keys.
  private let keys: Int

  /// Attention to up to `keys` keys.
  public init(keys: Int) { self.keys = keys }

  /// What it is.
  public static let name = "every key"
  /// None: no layer is of this kind.
  public static var examples: [EveryKeyAttention] { [] }
  /// None.
  public var problem: String? { nil }
  /// It does not.
  public var seesWindow: Bool { false }
  /// All keys.
  public var carried: CarriedRows { CarriedRows(recent: keys) }

  /// Of each query with each key.
  public func operations(length: Int, features: Int) -> (scores: Double, hash: Double) {
    (2 * Double(length) * Double(keys) * Double(features), 0)
  }

  func choiceCount(length: Int) -> Int { 1 }

  /// How many keys there are.
  func choose(_ choice: View<Int32>, length: Int, head: Int, pass: AttentionPass) {
    choice[0] = Int32(pass.carried)
  }

  /// All keys, which rows bring before the first query, however many positions that is to have.
  public func past(
    head: Int, length: Int, headWidth: Int, pass: AttentionPass, from arena: ScratchArena
  ) -> any HeadPast {
    listedPast(
      head: head, length: max(length, pass.carried), headWidth: headWidth, pass: pass, from: arena)
  }

  func sizes(length: Int) -> [SightList.Size] { [SightList.Size(queries: length, keys: keys)] }

  /// All keys for each query.
  func lists(_ choice: View<Int32>, length: Int, from arena: ScratchArena) -> [SightList] {
    var list = SightList.Writer(sizes(length: length)[0], from: arena)
    for key in 0..<Int(choice[0]) { list.key(key) }
    for position in 0..<length { list.query(position, sees: 0..<Int(choice[0])) }
    list.endStrand()
    return [list.list]
  }
}
