// Linear attention (Performer, Choromanski et al. 2020, "Rethinking attention with performers"): FAVOR+ with positive
// orthogonal features. Instead of exp(q.k) a pair weighs phi(q).phi(k), whose mean over draws that is; so what a
// query sees of all earlier keys is one product with sums over them, and cost grows with the length alone.
//
// A head's sequence is cut in blocks. Within its block a query meets each key up to itself, by a lower triangle of
// products of features; what came before is in the sums. No number depends on a later key: features of a key stand on
// their own, without the maximum over the keys of a sequence that others take out of them.
import Compute

/// Causal attention by random features of queries and keys.
///
/// K features per head, M random ones.
public struct LinearAttention: AttentionLayer, Equatable {
  /// Random features of a head, M.
  public var features: Int
  /// Optimizer steps after which directions are drawn anew; 0 for never.
  public var redraw: Int
  /// Positions of a block, blocks of a run, and runs of a span: sums start at zero for each, so that no chain of
  /// additions is as long as the sequence.
  let block, runBlocks, spanRuns: Int

  /// A layer with these sizes.
  public init(features: Int, redraw: Int = 0) {
    self.init(features: features, redraw: redraw, block: 64, runBlocks: 16, spanRuns: 128)
  }

  private init(features: Int, redraw: Int, block: Int, runBlocks: Int, spanRuns: Int) {
    self.features = features
    self.redraw = redraw
    self.block = block
    self.runBlocks = runBlocks
    self.spanRuns = spanRuns
  }

  /// What a feature of a key is beside its exponential: where all keys are so long that these vanish, a query sees
  /// them alike.
  static let floor: Float = 1e-6
  /// The largest exponent of a key, so that sums over 2^20 positions stay finite.
  static let top: Float = 60

  /// `linear`.
  public static let name = "linear"
  /// A kind of its own.
  public var isInHuggingFace: Bool { false }
  /// Fewer directions than features of a head and several sets of them; blocks, runs and spans as they are, and so short
  /// that short sequences have several of each.
  public static let examples = [
    LinearAttention(features: 16),
    LinearAttention(features: 5, redraw: 2, block: 4, runBlocks: 2, spanRuns: 2),
    LinearAttention(features: 33, redraw: 0, block: 7, runBlocks: 3, spanRuns: 1),
  ]

  /// Directions of at least one.
  public var problem: String? {
    (1...4096).contains(features) && redraw >= 0
      ? nil : "\(features) features, redrawn after \(redraw) steps; legal: 1 to 4096, 0 or more"
  }

  /// Queries, keys and values are projected apart.
  public var projections: [String] { ["query", "key", "value"] }
  /// Sums of whole blocks before a query, and its own block up to it.
  public var isStrictlyCausal: Bool { true }

  /// Of features of queries and keys, of sums and of their products with queries, a row at a time: the triangles are a
  /// matter of how they are computed.
  public func operations(length: Int, features: Int) -> (scores: Double, hash: Double) {
    (4 * Double(length) * Double(features) * Double(self.features), 0)
  }

  /// Every position up to the query.
  public func sight(length: Int, head: Int, saved: [Matrix]) -> Sight {
    Sight(
      keys: (0..<length).map { query in
        (0...query).map { Sight.Key(position: $0, draw: $0, isLastResort: false) }
      })
  }

  /// phi(q).phi(k), with exp(w.q) for a feature of a query, and exp(w.k - |k|^2 / 2) and the floor for one of a
  /// key, of numbers divided by the fourth root of K.
  public func logits(head: Int, headWidth: Int, pass: AttentionPass) -> PairLogit {
    let directions = Buffer<Float>(features * headWidth)
    pass.engine.scratch.frame {
      let rows = Matrix(directions.view, rows: features, columns: headWidth)
      fillDirections(rows, head: head, pass: pass, scratch: pass.engine.scratch)
    }
    let rows = directions.view.array.map(Double.init)
    let root = Double(headWidth).squareRoot()
    return { query, key in
      var (products, halfSquare) = ([(query: Double, key: Double)](), 0.0)
      for number in key { halfSquare += number * number / (2 * root) }
      for start in stride(from: 0, to: rows.count, by: headWidth) {
        var product = (query: 0.0, key: 0.0)
        for feature in 0..<headWidth {
          product.query += rows[start + feature] * query[query.startIndex + feature]
          product.key += rows[start + feature] * key[key.startIndex + feature]
        }
        products.append(product)
      }
      let largest = products.reduce(-Double.infinity) { max($0, $1.query) }
      let weight = products.reduce(0) { sum, product in
        let exponent = min(product.key - halfSquare, Double(Self.top))
        return sum + DoubleFunctions.exp(product.query - largest)
          * (DoubleFunctions.exp(exponent) + Double(Self.floor))
      }
      return DoubleFunctions.log(weight) + largest
    }
  }

  /// The sum of weights of each row.
  public func savedFloats(length: Int, heads: Int) -> Int { heads * length }

  /// Lends `[L, 1]` for each head.
  public func save(length: Int, heads: Int, from arena: ScratchArena) -> [Matrix] {
    (0..<heads).map { _ in arena.matrix(length, 1) }
  }

  /// Positions that a task walks through, block by block.
  var run: Int { block * runBlocks }

  /// Directions, and on the way back the sums before and after each run; a thread has the sums of its run, and
  /// features and values of a block.
  public func scratch(length: Int, heads: Int, headWidth: Int) -> AttentionScratch {
    let sums = Packed<Float>.count(features, headWidth + 1)
    let others = (length + run - 1) / run - 1
    let directions = Packed<Float>.count(features, headWidth)
    let columns = Packed<Float>.count(features, block)
    let values =
      block * (headWidth + 1) + Packed<Float>.count(block, headWidth + 1)
      + Packed<Float>.count(headWidth + 1, block)
    let walk =
      2 * sums + 3 * columns + 2 * values + 2 * Packed<Float>.count(block, block)
      + max(Packed<Float>.count(headWidth, block), block * (headWidth + 1)) + 4 * block
    return AttentionScratch(
      shared: heads * (directions + 2 * others * sums),
      perThread: max(walk, features * headWidth + 3 * headWidth))
  }
}
