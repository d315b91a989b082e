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

  /// Counts for windows of `config.length`, with an encoder for pairs of the longest source and target.
  public init(_ config: ReformerConfig) {
    let (width, features) = (Double(config.width), Double(config.heads * config.headWidth))
    let head = 2 * Double(config.length) * 2 * width * Double(config.vocabulary)
    var forward = head
    // Of what is computed forward, recomputed and differentiated by its input; a product's gradient by its
    // weight is one more.
    var phases: [Phase: Double] = [.loss: 2 * head, .weightGradients: head]
    for part in config.attentions {
      let (layer, length) = (part.layer, Double(part.length))
      // The output's is one more; other rows than the window's have keys and values.
      let count = Double(layer.seesWindow ? layer.projections.count + 1 : 2)
      let feedForward =
        layer.seesWindow ? 4 * length * width * Double(config.feedForwardWidth) : 0
      let projections =
        2 * width * features * (length * count + 2 * Double(layer.carriedRows))
      // That of the rows that become fewer; the loss that it learns from is not counted.
      let compression =
        layer.carried.compressed > 0 ? 2 * length * width * width : 0
      // Probabilities times values are as many as queries times keys.
      let (scores, hash) = layer.operations(
        length: part.length, features: config.heads * config.headWidth)
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
