// A clock for the parts of a step, read by `benchmark`. Regions are timed on the orchestrating
// thread, so a phase's seconds are wall-clock seconds of the step and the phases add up to it.

/// The parts of a step that are timed.
public enum Phase: String, CaseIterable, Sendable {
  /// Token and position embedding, both directions.
  case embedding
  /// LayerNorm and query, key and value projections.
  case attentionProjection
  /// Rotations, buckets and sorting.
  case hash
  /// Scores, softmax and values of the chunks.
  case attention
  /// Gradient of `attention`.
  case attentionBackward
  /// Output projection into the stream, and its gradient.
  case attentionOutput
  /// Gradients of the projections.
  case projectionBackward
  /// Feed-forward on the way up.
  case feedForward
  /// Feed-forward recomputed and differentiated.
  case feedForwardBackward
  /// Final norm, logits, cross-entropy and their gradients.
  case loss
  /// Sum over ranks and gathering of parameters.
  case reduction
  /// Norm, clipping and update.
  case optimizer
}

/// Sums seconds per phase.
///
/// Used from one thread.
public final class PhaseTimer: @unchecked Sendable {
  private var totals = [Double](repeating: 0, count: Phase.allCases.count)

  /// Starts with all zeros.
  public init() {}

  /// Runs `body` and adds its time to `phase`.
  public func time<Result, Failure: Error>(
    _ phase: Phase, _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let start = ContinuousClock.now
    defer {
      let elapsed = ContinuousClock.now - start
      totals[Self.index(phase)] +=
        Double(elapsed.components.attoseconds) * 1e-18
        + Double(elapsed.components.seconds)
    }
    return try body()
  }

  /// Seconds per phase since the last `reset`.
  public var seconds: [(phase: Phase, seconds: Double)] {
    Phase.allCases.map { ($0, totals[Self.index($0)]) }
  }

  /// Sets all phases to zero.
  public func reset() {
    for index in totals.indices { totals[index] = 0 }
  }

  private static func index(_ phase: Phase) -> Int { phases[phase] ?? 0 }
  private static let phases = Dictionary(
    uniqueKeysWithValues: Phase.allCases.enumerated().map { ($1, $0) })
}
