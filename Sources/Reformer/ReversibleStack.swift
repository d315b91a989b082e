// A stack of reversible sub-layers around two streams: each adds a function of one stream to the other, and takes it
// out again on the way back (RevNet, Gomez et al. 2017; Reformer, section 3). Beside it, to be compared with, what is
// usual: one stream, to which functions of itself are added.
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
    /// What it is: the name of its attention, or `feed-forward`.
    let name: String
    let sublayer: any ReversibleSublayer
    let target: Int
  }

  let steps: [Step]
  /// Whether there is but one stream, of which both are copies.
  var isPlain = false
  /// Sub-layers of the model that come before these.
  var before = 0
  /// Sub-layers of the model.
  let total: Int

  /// Runs sub-layer `index` on the way forward.
  func run(_ index: Int, _ streams: [ResidualStream], pass: Pass) throws(ReformerError) {
    let step = steps[index]
    try step.sublayer.forward(
      source: streams[1 - step.target], target: streams[step.target], pass: pass)
    if isPlain { copy(from: step.target, streams, pass: pass) }
  }

  /// Makes the other stream what stream `index` is.
  func copy(from index: Int, _ streams: [ResidualStream], pass: Pass) {
    pass.eachTile { rows, scratch in
      streams[1 - index].values(rows).copy(from: streams[index].values(rows))
      scratch.lap(.streams)
    }
  }

  /// (X1, X2) becomes (Y1, Y2) in place.
  func forward(
    _ streams: [ResidualStream], pass: Pass, observer: any PassObserver
  ) throws(ReformerError) {
    for (index, step) in steps.enumerated() {
      if observer.shouldStop { throw .stopped }
      let (source, group) = (streams[1 - step.target], step.sublayer.group)
      observer.needs(group: group)
      pass.kept?.source(group: group, source).values.copy(from: source.values)
      try run(index, streams, pass: pass)
      observer.progress(Double(before + index + 1) / Double(4 * total))
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
      if isPlain {
        // Of the stream that both are: it goes on as it is, and through the sub-layer.
        let (all, other) = (streamGradients[step.target], streamGradients[1 - step.target])
        pass.eachTile { rows, scratch in
          Kernels.add(all.rows(rows).dense, other.rows(rows).dense)
          other.rows(rows).fill(0)
          scratch.lap(.streams)
        }
      }
      try step.sublayer.backward(
        source: pass.kept?.source(group: group, source) ?? source, target: streams[step.target],
        sourceGradient: streamGradients[1 - step.target],
        targetGradient: streamGradients[step.target], gradients: gradients, pass: pass)
      observer.ready(group: group)
      // On the way back a sub-layer is computed once more and differentiated: three times the work.
      observer.progress(1 - 0.75 * Double(before + index) / Double(total))
    }
  }
}
