// A forward pass that goes on one sub-layer at a time, for instruments that look at the streams in between, or change
// them.
import Attention
import Compute

/// A pass without dropout over one window, in the model's own streams; one at a time per model.
public struct SteppedPass {
  let stack: ReversibleStack
  let residuals: [ResidualStream]
  let pass: Pass
  /// What each sub-layer is, in order; see `ReversibleStack.Step`.
  public let names: [String]

  /// The integers of the stream `[L, D]` that sub-layer `index` adds to.
  public func stream(of index: Int) -> View<Int32> {
    residuals[stack.steps[index].target].values
  }

  /// Runs sub-layer `index`.
  ///
  /// Throws when a stream leaves its range.
  public func run(_ index: Int) throws(ReformerError) {
    // It may have been changed since.
    if stack.isPlain, index > 0 {
      stack.copy(from: stack.steps[index - 1].target, residuals, pass: pass)
    }
    try stack.run(index, residuals, pass: pass)
  }
}
