// What can go wrong in a model.

/// Why a model cannot be made, or a pass over a window failed.
public enum ReformerError: Error, CustomStringConvertible {
  /// A residual stream left its range, or a sub-layer gave a number that is not finite.
  case streamRange(place: String, count: Int, fractionBits: Int)
  /// The caller asked to give the pass up.
  case stopped
  /// Sizes that no model can have.
  case config(String)
  /// A window that this model cannot read.
  case window(String)

  /// What is wrong, without where.
  package var problem: String {
    switch self {
    case .config(let problem), .window(let problem): problem
    case .stopped, .streamRange: description
    }
  }

  /// One line: where, what, what to do.
  public var description: String {
    switch self {
    case .stopped: return "given up on request"
    case .config(let problem): return "model: \(problem)"
    case .window(let problem): return "window: \(problem)"
    case .streamRange(let place, let count, let bits):
      let range = 1 << (31 - bits)
      return
        "\(place): \(count) values of the residual stream are not finite or outside ±\(range); "
        + "training diverged (lower optimizer.learning_rate or set optimizer.clip), or "
        + "model.residual_fraction_bits = \(bits) leaves too little range"
    }
  }
}
