// A stack of reversible sub-layers around two streams: each adds a function of one stream to the other, and takes it
// out again on the way back (RevNet, Gomez et al. 2017; Reformer, section 3).
import Compute

/// A function of one stream that is added to the other.
protocol ReversibleSublayer: Sendable {
  /// Index of its parameter group.
  var group: Int { get }

  /// In how many parts it keeps activations; see `Pass.memory`.
  var keptParts: Int { get }

  /// target += f(source).
  func forward(source: ResidualStream, target: ResidualStream, pass: Pass) throws(ReformerError)

  /// target -= f(source), and the gradients of f: `targetGradient` flows in, `sourceGradient` `[L, D]` is added
  /// to, and `gradients` are set.
  ///
  /// Where the pass keeps activations, the target is left alone.
  func backward(
    source: ResidualStream, target: ResidualStream, sourceGradient: Matrix, targetGradient: Matrix,
    gradients: View<Float>, pass: Pass) throws(ReformerError)
}

/// Sub-layers in the order of the way forward.
struct ReversibleStack {
  /// A sub-layer and the stream it writes to, 0 or 1; it reads the other one.
  struct Step {
    let sublayer: any ReversibleSublayer
    let target: Int
  }

  let steps: [Step]

  /// (X1, X2) becomes (Y1, Y2) in place.
  func forward(
    _ streams: [ResidualStream], pass: Pass, observer: any PassObserver
  ) throws(ReformerError) {
    for (index, step) in steps.enumerated() {
      if observer.shouldStop { throw .stopped }
      let (source, group) = (streams[1 - step.target], step.sublayer.group)
      observer.needs(group: group)
      pass.kept?.source(group: group, source).values.copy(from: source.values)
      try step.sublayer.forward(source: source, target: streams[step.target], pass: pass)
      observer.progress(Double(index + 1) / Double(4 * steps.count))
    }
  }

  /// (Y1, Y2) becomes (X1, X2) in place, and their gradients `[L, D]` likewise; kept streams stay as they are.
  func backward(
    _ streams: [ResidualStream], streamGradients: [Matrix], gradients: View<Float>, pass: Pass,
    observer: any PassObserver
  ) throws(ReformerError) {
    for (index, step) in steps.enumerated().reversed() {
      if observer.shouldStop { throw .stopped }
      let (source, group) = (streams[1 - step.target], step.sublayer.group)
      try step.sublayer.backward(
        source: pass.kept?.source(group: group, source) ?? source, target: streams[step.target],
        sourceGradient: streamGradients[1 - step.target],
        targetGradient: streamGradients[step.target], gradients: gradients, pass: pass)
      observer.ready(group: group)
      // On the way back a sub-layer is computed once more and differentiated: three times the work.
      observer.progress(1 - 0.75 * Double(index) / Double(steps.count))
    }
  }
}
