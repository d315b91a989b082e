// Passes that go on where others ended: what sub-layers keep of a sequence, what is made of the parameters once for all
// passes, and how the products of few rows are shared out.
import Attention
import Compute

/// What the model keeps of the tokens of one sequence that have come.
final class SequencePast {
  /// Of its hash rotations.
  let address: RandomAddress
  /// The tokens of its source, where it has one.
  var source: [Int32] = []
  /// Its tokens, as far as they are known.
  let window: Window
  private let arena = ScratchArena()
  private var layers: [Int: [any HeadPast]] = [:]
  private var lastRows: [Int: View<Int32>] = [:]
  private var counts: CountsPast?
  private var counted = 0

  /// A sequence of up to `length` positions, none of which has come yet.
  init(address: RandomAddress, length: Int) {
    self.address = address
    window = Window(length: length)
  }

  /// The heads of a layer from `firstHead` on; `make`: lends them at first.
  func heads(
    layer: Int, firstHead: Int, make: (ScratchArena) -> [any HeadPast]
  ) -> [any HeadPast] {
    let key = layer << 32 | firstHead
    if let known = layers[key] { return known }
    let made = make(arena)
    layers[key] = made
    return made
  }

  /// The first `features` that a norm with this `gain` read of the stream's last row, to be written by whoever computes
  /// the next; zeros at first.
  func lastRow(_ gain: Slot, features: Int) -> View<Int32> {
    if let known = lastRows[gain.offset] { return known }
    let made = arena.integers(features)
    made.fill(0)
    lastRows[gain.offset] = made
    return made
  }

  /// What counts need to predict the token after `position`; `make`: lends it at first.
  func counts(upTo position: Int, make: (ScratchArena) -> CountsPast) -> CountsPast {
    let counts = counts ?? make(arena)
    self.counts = counts
    counts.common.add(counted..<position + 1)
    counted = position + 1
    return counts
  }
}

/// What counts and their mixture keep of the tokens of one sequence.
final class CountsPast {
  let common: NGramMixture.Common
  /// Of the position that was predicted last, whose token was not known then.
  private let evidence: NGramEvidence
  private let logits: Matrix
  private var predicted: Int?

  /// No token has come, in memory lent by `arena`.
  init(_ common: NGramMixture.Common, _ mixture: NGramMixture, from arena: ScratchArena) {
    self.common = common
    evidence = mixture.evidence(rows: 1, from: arena)
    logits = arena.matrix(1, evidence.shortest.columns)
  }

  /// The network's `logits` `[V]` of the token after `position` become those of the mixture; what was predicted before is
  /// known now, and is learnt from.
  func next(
    _ position: Int, logits own: View<Float>, _ mixture: NGramMixture, scratch: ScratchArena
  ) {
    if let predicted { mix(predicted, known: position + 1, mixture, scratch) }
    let rows = position..<position + 1
    mixture.gather(rows, into: evidence, first: 0, common: common)
    logits.dense.copy(from: own)
    let result = scratch.matrix(1, own.count)
    result.dense.copy(from: own)
    mixture.mix(
      result, rows: rows, evidence: evidence, first: 0, common: common, known: position + 1,
      scratch: scratch)
    own.copy(from: result.dense)
    predicted = position
  }

  private func mix(
    _ position: Int, known: Int, _ mixture: NGramMixture, _ scratch: ScratchArena
  ) {
    mixture.mix(
      logits, rows: position..<position + 1, evidence: evidence, first: 0, common: common,
      known: known, scratch: scratch)
  }
}

/// Which sequences a pass begins or goes on with.
enum Continuation {
  /// Its rows are the first ones of a sequence.
  case start(SequencePast)
  /// Its rows are one of each sequence, all at the same position.
  case step([SequencePast], position: Int)
}

/// Weights laid out for products, and what else follows from parameters alone.
final class PreparedParameters {
  private let arena = ScratchArena()
  /// By where the matrix is: `Packed` of the element that the model multiplies by.
  private var weights: [UnsafeMutablePointer<Float>: Packed<Float>] = [:]
  private var shares: NGramMixture.Shares?

  /// The transpose of `matrix`, a part of the parameters.
  func pack<Element>(
    _ matrix: Matrix, as: Element.Type, engine: Engine
  ) -> Packed<Element> {
    if let known = weights[matrix.base] { return known.bound(to: Element.self) }
    let packed = engine.pack(matrix, transposed: true, as: Element.self, from: arena)
    weights[matrix.base] = packed.bound(to: Float.self)
    return packed
  }

  /// What all positions need of the counts.
  func shares(_ mixture: NGramMixture, _ parameters: View<Float>) -> NGramMixture.Shares {
    if let shares { return shares }
    let made = mixture.shares(parameters, from: arena)
    shares = made
    return made
  }
}

extension Pass {
  /// Whether its rows are one of each sequence.
  var isNarrow: Bool { if case .step = continuation { true } else { false } }

  /// Rows of a tile of such a pass: as many as one reading of the weights serves well.
  static var narrowTileRows: Int { 8 }

  /// Whether its rows are too few to give each thread a tile.
  var sharesProducts: Bool {
    isNarrow && rows.count < Self.narrowTileRows * engine.pool.threadCount
  }

  /// Weights as the right side of a product, in memory lent until the enclosing frame of the engine's scratch ends at
  /// least; see `Engine.pack`.
  func pack<Element: ProductElement>(
    _ weights: Matrix, transposed: Bool, as: Element.Type = Float.self
  ) -> Packed<Element> {
    guard let prepared, transposed else {
      return engine.pack(weights, transposed: transposed, as: Element.self)
    }
    return prepared.pack(weights, as: Element.self, engine: engine)
  }

  /// Products of a tile's rows: on its thread, or by all threads where rows are few.
  func multiply<Element>(_ left: LeftOperand<Element>, _ products: [ColumnProduct<Element>]) {
    if sharesProducts {
      engine.pool.run(products, left: left)
    } else {
      for product in products { product.run(left) }
    }
  }
}
