// What the model asks of an attention kind. A layer works on a group of heads whose queries, keys
// and values are already projected; norm, projections and the residual streams belong to
// `Reformer`.
import Compute

/// Activations of one head group over the whole sequence.
///
/// L positions, g heads, K features per head.
public struct HeadGroupActivations {
  /// One `[L, g * K]` per entry of `AttentionLayer.projections`.
  ///
  /// Head h has columns `h * K ..< (h + 1) * K`.
  public let projected: [Matrix]
  /// `[L, g * K]`, normalised.
  public let output: Matrix
  /// `[L, g]`: largest logit each position saw.
  public let maximum: Matrix
  /// `[L, g]`: sum of exp(logit - maximum).
  public let sum: Matrix
  /// `[L, g]`: factor from query to key where they share a projection.
  public let keyScale: Matrix
  /// `[g, R, padded L]`: positions in sorted order, R rounds; empty unless the layer sorts.
  public let order: View<Int32>

  /// Heads in the group.
  public var heads: Int { maximum.columns }
  /// Positions.
  public var length: Int { output.rows }

  /// Columns of one head.
  func head(_ index: Int, of matrix: Matrix) -> Matrix {
    let width = output.columns / heads
    return matrix.columns(index * width..<(index + 1) * width)
  }
}

/// Randomness of one attention layer in one pass.
public struct AttentionDraws {
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

  /// All parts at once.
  public init(
    address: RandomAddress, layer: Int, firstHead: Int, dropout: Double, givenRotations: [Float]?
  ) {
    self.address = address
    self.layer = layer
    self.firstHead = firstHead
    self.dropout = dropout
    self.givenRotations = givenRotations
  }

  func dropoutStream(head: Int) -> CounterRandom {
    address.stream(.attentionDropout, layer: layer, head: firstHead + head)
  }
}

/// One kind of attention over a head group.
public protocol AttentionLayer: Sendable {
  /// Names of the projections in the checkpoint, in the order of `HeadGroupActivations.projected`.
  var projections: [String] { get }

  /// Positions in sorted order that a pass over `length` positions keeps per head; 0 when it does
  /// not sort.
  func orderCount(length: Int) -> Int

  /// Floats that a pass lends beside the activations and gradients of a group: by the engine, and by each
  /// thread; for the memory plan.
  func scratchFloats(length: Int, heads: Int, headWidth: Int) -> (shared: Int, perThread: Int)

  /// Fills `order`, `keyScale`, `output`, `maximum` and `sum` from `projected`.
  func forward(_ group: HeadGroupActivations, draws: AttentionDraws, engine: Engine)

  /// Writes the gradients of `projected` into `gradients` (same shapes, contents undefined before)
  /// from the gradient of `output` and what `forward` left in `group`.
  func backward(
    _ group: HeadGroupActivations, outputGradient: Matrix, gradients: [Matrix],
    draws: AttentionDraws, engine: Engine)
}

extension AttentionLayer {
  /// Floats (or integers as large) of `activations`.
  public func activationFloats(length: Int, heads: Int, headWidth: Int) -> Int {
    length * heads * ((projections.count + 1) * headWidth + 3)
      + heads * orderCount(length: length)
  }

  /// Lends the activations of `heads` heads of `headWidth` features over `length` positions.
  public func activations(
    length: Int, heads: Int, headWidth: Int, from arena: ScratchArena
  ) -> HeadGroupActivations {
    HeadGroupActivations(
      projected: projections.map { _ in arena.matrix(length, heads * headWidth) },
      output: arena.matrix(length, heads * headWidth),
      maximum: arena.matrix(length, heads), sum: arena.matrix(length, heads),
      keyScale: arena.matrix(length, heads),
      order: arena.integers(heads * orderCount(length: length)))
  }
}
