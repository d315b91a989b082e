// What an evaluation may leave out of a model, to see what it is worth.
import Attention
import Reformer

/// Attention that adds nothing in an evaluation.
public struct Ablation: Sendable, Equatable {
  /// What was asked for, for reports.
  public let names: [String]
  /// The layers, from 0.
  public let layers: Set<Int>

  /// The layers that `names` mean in a model whose attention is `kinds`, first layer to last.
  ///
  /// A name is a kind, for all layers of it, or `layer:N`, from 0. Throws where it is none of these, or where the
  /// model has no such layer: a figure that nothing was left out of would deceive.
  public init(_ names: [String], of kinds: [AttentionKind]) throws(UserError) {
    self.names = names
    var layers: Set<Int> = []
    for name in names {
      let meant = kinds.indices.filter { name == kinds[$0].rawValue || name == "layer:\($0)" }
      guard !meant.isEmpty else {
        let own = AttentionKind.allCases.filter(kinds.contains).map(\.rawValue)
        throw UserError(
          "--without \(name); this model has \(own.joined(separator: ", ")), "
            + "layer:0 to layer:\(kinds.count - 1)")
      }
      layers.formUnion(meant)
    }
    self.layers = layers
  }
}
