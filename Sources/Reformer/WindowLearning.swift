// What a window teaches the mixture: after each token, the shares that contexts leave to shorter ones, and the weights of
// counts and network, move to where they would have said it better (compressors weigh their models so, Mahoney 2005; for
// whole networks see Krause et al. 2018, "Dynamic evaluation of neural sequence models"). Steps are those of AdaGrad (Duchi
// et al. 2011). A prediction follows from earlier tokens of its window alone, so whoever decodes can do the same.
import Compute

/// Shares and weights as they stand after some tokens of one window; they begin where training has brought them.
struct WindowLearning {
  /// Like `NGramMixture.Shares`.
  let lowered: View<Float>
  let weights: View<Float>
  // Sums of squared gradients and of a number to begin with: the larger that is, the less a few tokens say. Like the pace,
  // chosen by measurement (docs/results/learning.md, "What a window teaches").
  private let loweredSquares: View<Float>
  private let weightSquares: View<Float>
  private let pace: NGramSizes.WindowPace

  private static let most = Float(DoubleFunctions.exp(NGramMixture.mostOdds))

  /// Before the first token, in memory lent by `arena`.
  init(_ shares: NGramMixture.Shares, pace: NGramSizes.WindowPace, from arena: ScratchArena) {
    self.pace = pace
    lowered = arena.floats(shares.lowered.count)
    weights = arena.floats(shares.weights.count)
    loweredSquares = arena.floats(lowered.count)
    weightSquares = arena.floats(weights.count)
    lowered.copy(from: shares.lowered)
    weights.copy(from: shares.weights)
    loweredSquares.fill(30)
    weightSquares.fill(10)
  }

  /// Moves an escape by the gradient of the loss in nats.
  func moveEscape(_ cell: Int, by gradient: Float) {
    let step = pace.escapes * Self.scaled(gradient, loweredSquares, cell)
    let moved = lowered[cell] * Float(DoubleFunctions.exp(Double(step)))
    lowered[cell] = max(1 / Self.most, min(Self.most, moved))
  }

  /// Moves a weight likewise.
  func moveWeight(_ place: Int, by gradient: Float) {
    weights[place] -= pace.weights * Self.scaled(gradient, weightSquares, place)
  }

  private static func scaled(_ gradient: Float, _ squares: View<Float>, _ place: Int) -> Float {
    squares[place] += gradient * gradient
    return gradient / squares[place].squareRoot()
  }
}
