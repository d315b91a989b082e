// Weights laid out for products of tiles: once per layer and pass, used by all tiles.

extension Engine {
  /// Weights `[outputs, inputs]` as the right side of dx = dy W, or transposed as that of y = x W^T, in memory lent
  /// until the enclosing frame ends; all threads pack.
  public func pack(_ weights: Matrix, transposed: Bool) -> StripMatrix {
    let packed =
      transposed
      ? scratch.strips(weights.columns, weights.rows)
      : scratch.strips(weights.rows, weights.columns)
    let panels = Tiling.ranges(weights.rows, by: 128)
    pool.run(panels.count) { index, scratch in
      let panel = panels[index]
      if transposed {
        packed.columns(panel).copy(transposing: weights.rows(panel))
      } else {
        packed.rows(panel).copy(from: weights.rows(panel))
      }
      scratch.lap(.layout)
    }
    return packed
  }
}
