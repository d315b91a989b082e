// A weight matrix laid out for both directions of a layer: packed once per layer and pass, used by all tiles.

/// The strips of a weight `[outputs, inputs]`.
public struct PackedWeights: Sendable {
  /// `[inputs, outputs]`: y = x W^T.
  public let forward: StripMatrix
  /// `[outputs, inputs]`: dx = dy W; nil where no gradient is wanted.
  public let backward: StripMatrix?

  /// Packs `weights` in memory lent by the engine, with all threads.
  public init(_ weights: Matrix, withBackward: Bool, engine: Engine) {
    let forward = engine.scratch.strips(weights.columns, weights.rows)
    let backward = withBackward ? engine.scratch.strips(weights.rows, weights.columns) : nil
    self.forward = forward
    self.backward = backward
    let panels = Tiling.ranges(weights.rows, by: 128)
    engine.pool.run(panels.count) { index, scratch in
      let panel = panels[index]
      forward.columns(panel).copy(transposing: weights.rows(panel))
      backward?.rows(panel).copy(from: weights.rows(panel))
      scratch.lap(.layout)
    }
  }
}
