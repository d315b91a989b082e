// One reversible block: Y1 = X1 + F(X2), Y2 = X2 + G(Y1) (RevNet, Gomez et al. 2017; Reformer,
// section 3).
import Attention
import Compute

/// Attention and feed-forward of one layer around the two streams.
struct ReversibleBlock {
  let attention: AttentionSublayer
  let feedForward: FeedForward

  init(_ config: ReformerConfig, layout: ParameterLayout, layer: Int) {
    attention = AttentionSublayer(config, layout: layout, layer: layer)
    feedForward = FeedForward(config, layout: layout, layer: layer)
  }

  /// What `keep_activations` stores of a block, in memory of its own.
  struct Kept {
    let second: View<Int32>
    let first: View<Int32>
    let groups: [HeadGroupActivations]
    let feedForward: FeedForward.Activations
  }

  /// Lends memory for everything the backward pass would otherwise compute again.
  func keep(length: Int, width: Int, from arena: ScratchArena) -> Kept {
    Kept(
      second: arena.integers(length * width), first: arena.integers(length * width),
      groups: attention.groups.map { _ in attention.activations(length: length, from: arena) },
      feedForward: feedForward.activations(rows: length, from: arena))
  }

  /// (X1, X2) becomes (Y1, Y2) in place.
  ///
  /// `feedForwardNeeded` is called before the feed-forward layer reads its parameters.
  func forward(
    first: ResidualStream, second: ResidualStream, pass: Pass, kept: Kept?,
    feedForwardNeeded: () -> Void = {}
  ) throws(ReformerError) {
    kept?.second.copy(from: second.values)
    try attention.forward(source: second, target: first, pass: pass, kept: kept?.groups)
    kept?.first.copy(from: first.values)
    feedForwardNeeded()
    try feedForward.forward(source: first, target: second, pass: pass, kept: kept?.feedForward)
  }

  /// (Y1, Y2) becomes (X1, X2) in place, and their gradients `[L, D]` likewise.
  ///
  /// With `kept`, the streams are left alone. `feedForwardReady` is called when the gradients of
  /// its parameters are final.
  func backward(
    first: ResidualStream, second: ResidualStream, firstGradient: Matrix,
    secondGradient: Matrix, gradients: View<Float>, pass: Pass, kept: Kept?,
    feedForwardReady: () -> Void
  ) throws(ReformerError) {
    func stream(_ values: View<Int32>?, _ current: ResidualStream) -> ResidualStream {
      guard let values else { return current }
      return ResidualStream(
        values: values, width: current.width, fractionBits: current.fractionBits)
    }
    try feedForward.backward(
      source: stream(kept?.first, first), target: second, sourceGradient: firstGradient,
      targetGradient: secondGradient, gradients: gradients, pass: pass, kept: kept?.feedForward)
    feedForwardReady()
    try attention.backward(
      source: stream(kept?.second, second), target: first, sourceGradient: secondGradient,
      targetGradient: firstGradient, gradients: gradients, pass: pass, kept: kept?.groups)
  }
}
