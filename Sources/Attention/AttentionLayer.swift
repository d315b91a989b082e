// What the model, the plan and the tests ask of an attention kind. A layer works on a group of heads whose queries,
// keys and values are already projected; norm, projections and the residual streams belong to `Reformer`.
import Compute

/// Heads that go over the sequence together: what was projected for them, and where their output goes.
///
/// L positions, g heads, K features per head. Where rows of earlier windows are carried over, keys and values have those
/// first, and then the window's.
public struct HeadGroup: Sendable {
  /// Number of heads.
  public let heads: Int
  /// One `[L, g * K]` per entry of `AttentionLayer.projections`; `[carried + L, g * K]` for all but queries where rows are
  /// carried over.
  ///
  /// Head h has columns `h * K ..< (h + 1) * K`.
  public let projected: [Matrix]
  /// `[L, g * K]`, normalised.
  public let output: Matrix

  /// Wraps memory of these shapes.
  public init(heads: Int, projected: [Matrix], output: Matrix) {
    self.heads = heads
    self.projected = projected
    self.output = output
  }

  /// Positions.
  public var length: Int { output.rows }
  /// Features per head.
  public var headWidth: Int { output.columns / heads }
  /// What was projected of the window's own rows, `[L, g * K]` each.
  public var ofWindow: [Matrix] { ofWindow(projected) }

  /// The window's own rows of matrices like those of `projected`.
  public func ofWindow(_ matrices: [Matrix]) -> [Matrix] {
    matrices.map { $0.rows($0.rows - length..<$0.rows) }
  }

  /// Columns of one head.
  func head(_ index: Int, of matrix: Matrix) -> Matrix {
    matrix.columns(index * headWidth..<(index + 1) * headWidth)
  }

  /// One row of one head, `[1, K]`.
  func row(_ row: Int, head: Int, of matrix: Matrix) -> Matrix {
    self.head(head, of: matrix).rows(row..<row + 1)
  }
}

/// A kind's own parameters or their gradients, in the order of `AttentionLayer.parameters`.
public typealias OwnParameters = [View<Float>]

/// Where a pass stands: its randomness, and the parameters that belong to the kind itself.
public struct AttentionPass {
  /// Address of the pass.
  public let address: RandomAddress
  /// Index of the layer in the model.
  public let layer: Int
  /// Model-wide index of the group's first head.
  public let firstHead: Int
  /// Dropout rate on probabilities; 0 in evaluation.
  public let dropout: Double
  /// Rotations to use instead of drawn ones: `[heads, K, hashes, rotationWidth]`, all heads of the
  /// layer.
  public let givenRotations: [Float]?
  /// The kind's own parameters.
  public let parameters: OwnParameters
  /// Angles that queries and keys are turned by, where positions are rotary.
  public let rotary: RotaryPositions?
  /// Rows that keys and values have before those of the window, or instead of them.
  public let carried: Int
  /// Position of the first key: below 0 where rows of earlier windows are carried over.
  public let firstKey: Int
  /// What products read, where a kind leaves the choice.
  public let precision: Precision
  /// Where what hashes come to is counted, if it is.
  public let hashTally: HashTally?
  /// Threads and memory.
  public let engine: Engine

  /// All parts at once.
  public init(
    address: RandomAddress, layer: Int, firstHead: Int, dropout: Double, givenRotations: [Float]?,
    parameters: OwnParameters = [], rotary: RotaryPositions? = nil, carried: Int = 0,
    firstKey: Int? = nil, precision: Precision = .fp32, hashTally: HashTally? = nil, engine: Engine
  ) {
    self.address = address
    self.layer = layer
    self.firstHead = firstHead
    self.dropout = dropout
    self.givenRotations = givenRotations
    self.parameters = parameters
    self.rotary = rotary
    self.carried = carried
    self.firstKey = firstKey ?? -carried
    self.precision = precision
    self.hashTally = hashTally
    self.engine = engine
  }
}

/// What the queries of one head see: the definition of a kind, which its fast form is compared with.
public struct Sight: Sendable {
  /// A key in the sight of a query, as often as it is there.
  public struct Key: Sendable {
    /// Place in the sequence, below 0 for a row that was carried over; of a mixture of keys that of the last of them.
    public let position: Int
    /// Number of the random draw that may drop it.
    public let draw: Int
    /// Whether its logit is -1e5, so that it counts only where there is nothing else.
    public let isLastResort: Bool
    /// Where it is no position's key: which of `AttentionLayer.mixtures`.
    public var mixture: Int? = nil
  }

  /// `[L]`: the keys of each query.
  public let keys: [[Key]]
}

/// Natural logarithm of what a key in sight weighs for a query, `[K]` both, turned where positions are rotary; all keys of a
/// query may have a number more.
public typealias PairLogit = (_ query: ArraySlice<Double>, _ key: ArraySlice<Double>) -> Double

/// Floats that a pass lends beside the group and what is saved: by the engine, and by each thread.
public struct AttentionScratch: Sendable {
  /// By the engine.
  public let shared: Int
  /// By each thread.
  public let perThread: Int
}

/// Rows that a layer sees of the windows before: inputs of its own, which a pass leaves for the next.
public struct CarriedRows: Sendable, Equatable {
  /// Last inputs, at most so many.
  public var recent: Int
  /// Rows that stand for older ones, before those, at most so many.
  public var compressed: Int
  /// Inputs that one of those stands for.
  public var ratio: Int

  /// Such numbers; without any, nothing is seen.
  public init(recent: Int = 0, compressed: Int = 0, ratio: Int = 1) {
    (self.recent, self.compressed, self.ratio) = (recent, compressed, ratio)
  }

  /// Most rows.
  public var count: Int { recent + compressed }

  /// Rows there are after `seen` positions, those that stand for others first.
  public func counts(seen: Int) -> (compressed: Int, recent: Int) {
    (min(compressed, max(0, seen - recent) / ratio), min(recent, seen))
  }
}

/// One kind of attention with its sizes.
public protocol AttentionLayer: Sendable {
  /// What `forward` leaves for `backward`, and nothing that either could do without.
  associatedtype Saved: Sendable

  /// Its name in `model.layers`, which is that in `attn_layers` of Hugging Face's `config.json`.
  static var name: String { get }
  /// Small sizes that bring every rule of the kind into play; the contract tests run over them.
  static var examples: [Self] { get }

  /// Whether Hugging Face's Reformer has this kind with these sizes.
  var isInHuggingFace: Bool { get }
  /// What is wrong with its sizes, if anything, and what would be right.
  var problem: String? { get }
  /// Names of the projections in the checkpoint, in the order of `HeadGroup.projected`: queries first, values
  /// last; where there are two, keys are queries of unit length.
  var projections: [String] { get }
  /// Whether no output depends on any later position, not even in its last bit.
  var isStrictlyCausal: Bool { get }
  /// What it sees of earlier windows of a stream; of another sequence where it does not see its own.
  var carried: CarriedRows { get }
  /// Whether it sees rows of the window that its queries are of.
  var seesWindow: Bool { get }
  /// The same kind without the causal mask, for an encoder; nil where there is none.
  var unmasked: (any AttentionLayer)? { get }

  /// Parameters beside the projections, for `heads` heads of `headWidth` features; names are relative to the
  /// layer's attention.
  func parameters(heads: Int, headWidth: Int) -> [ParameterSpecification]

  /// Useful operations of queries times keys, and of hashing; `features` are those of all heads together.
  func operations(length: Int, features: Int) -> (scores: Double, hash: Double)

  /// Floats (or integers as large) of `save`.
  func savedFloats(length: Int, heads: Int) -> Int

  /// Floats that a pass lends beside that.
  func scratch(length: Int, heads: Int, headWidth: Int) -> AttentionScratch

  /// Lends memory for what `forward` saves of `heads` heads.
  func save(length: Int, heads: Int, from arena: ScratchArena) -> Saved

  /// Fills `saved` and the group's output from what was projected; rotary positions turn queries and keys in place.
  func forward(_ group: HeadGroup, saved: Saved, pass: AttentionPass)

  /// Writes the gradients of what was projected into `gradients` (same shapes, contents undefined before) from
  /// that of the output and what `forward` left; those of the kind's own parameters are added to `ownGradients`.
  func backward(
    _ group: HeadGroup, saved: Saved, outputGradient: Matrix, gradients: [Matrix],
    ownGradients: OwnParameters, pass: AttentionPass)

  /// Lends what head `head` keeps of a sequence of up to `length` positions, none of which has come yet; strictly
  /// causal kinds have it.
  func past(
    head: Int, length: Int, headWidth: Int, pass: AttentionPass, from arena: ScratchArena
  ) -> any HeadPast

  /// The definition: what each query of head `head` sees in a pass that left `saved`.
  func sight(length: Int, head: Int, saved: Saved) -> Sight

  /// The definition: keys and values `[n, K]` that stand for several, from those of all positions, turned where positions
  /// are rotary, and the kind's own parameters; `head` is model-wide.
  func mixtures(
    keys: [Double], values: [Double], head: Int, headWidth: Int, parameters: [[Double]]
  ) -> (keys: [Double], values: [Double])

  /// The definition: what a query's keys weigh before they are divided by their sum.
  func logits(head: Int, headWidth: Int, pass: AttentionPass) -> PairLogit

  /// The definition: a factor of that which follows from the distance of a key and the kind's own parameters; `head` is
  /// model-wide.
  func weight(distance: Int, head: Int, parameters: [[Double]]) -> Double
}

extension AttentionLayer {
  /// Whether queries and keys share one projection.
  public var sharesQueryKey: Bool { projections.count == 2 }

  /// None.
  public var carried: CarriedRows { CarriedRows() }
  /// It does.
  public var seesWindow: Bool { true }
  /// None.
  public var unmasked: (any AttentionLayer)? { nil }
  /// Most rows of earlier windows that it sees.
  public var carriedRows: Int { carried.count }

  /// Those of a softmax: q.k / sqrt(K), and with a shared projection keys are of unit length.
  public func logits(head: Int, headWidth: Int, pass: AttentionPass) -> PairLogit {
    let (sharesQueryKey, width) = (sharesQueryKey, Double(headWidth))
    return { query, key in
      let product = zip(query, key).reduce(0) { $0 + $1.0 * $1.1 }
      guard sharesQueryKey else { return product / width.squareRoot() }
      let square = key.reduce(0) { $0 + $1 * $1 }
      return product / (square + 1e-6 * width).squareRoot()
    }
  }

  /// 1: distance does not matter.
  public func weight(distance: Int, head: Int, parameters: [[Double]]) -> Double { 1 }

  /// None.
  public func mixtures(
    keys: [Double], values: [Double], head: Int, headWidth: Int, parameters: [[Double]]
  ) -> (keys: [Double], values: [Double]) { ([], []) }

  /// None.
  public func parameters(heads: Int, headWidth: Int) -> [ParameterSpecification] { [] }
}
