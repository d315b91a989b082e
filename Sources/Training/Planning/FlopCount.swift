// Useful floating-point operations of a step, from the config alone. `plan` prints them, `benchmark` compares
// them with what was measured.
import Attention
import Compute
import Reformer

/// Useful operations of a training step on one window: multiply and add count as two.
///
/// Counted are matrix products: forward, the one recomputation of the reversible layers, and the two products
/// of each gradient. Norms, softmax, sorting and gathers are not, nor are products that flash attention
/// does once more.
public struct FlopCount: Sendable {
  /// Forward pass of one window through embedding, blocks and head.
  public let forward: Double
  /// A training step's operations in each phase that has any.
  public let phases: [Phase: Double]
  /// A whole training step of one window.
  public var step: Double { phases.values.reduce(0, +) }

  /// Counts for windows of `config.length`.
  public init(_ config: ReformerConfig) {
    let length = Double(config.length)
    let (width, features) = (Double(config.width), Double(config.heads * config.headWidth))
    let head = 2 * length * 2 * width * Double(config.vocabulary)
    let feedForward = 4 * length * width * Double(config.feedForwardWidth)
    var forward = head
    // Of what is computed forward, recomputed and differentiated by its input; a product's gradient by its
    // weight is one more.
    var phases: [Phase: Double] = [.loss: 2 * head, .weightGradients: head]
    for layer in config.layers {
      // The output's is one more.
      let count = Double(layer.projections.count + 1)
      // Carried rows have keys and values.
      let projections =
        2 * width * features * (length * count + 2 * Double(layer.carriedRows))
      // That of the rows that become fewer; the loss that it learns from is not counted.
      let compression =
        layer.carried.compressed > 0 ? 2 * length * width * width : 0
      // Probabilities times values are as many as queries times keys.
      let (scores, hash) = layer.operations(
        length: config.length, features: config.heads * config.headWidth)
      forward += projections + compression + feedForward + 2 * scores + hash
      // Hashing has no gradient but is recomputed; attention has two inputs to each product.
      for (phase, operations) in [
        (Phase.projections, 3 * (projections + compression)), (.feedForward, 3 * feedForward),
        (.weightGradients, projections + feedForward), (.scores, 4 * scores),
        (.values, 4 * scores), (.hash, 2 * hash),
      ] {
        phases[phase, default: 0] += operations
      }
    }
    self.forward = forward
    self.phases = phases
  }
}
