// LayerNorm in front of every sub-layer and of the output matrix. The mean and deviation of a row cost less
// to compute again than to keep, so nothing is saved between forward and backward.
import Compute

/// Gain and bias of one LayerNorm, `[width]` each.
struct LayerNorm {
  let gain: Slot
  let bias: Slot
  let epsilon: Float

  /// Adds its tensors to the last group of `layout`.
  init(_ name: String, width: Int, layout: inout ParameterLayout, epsilon: Double) {
    gain = layout.add(name + ".weight", [width], .vector, .constant(1))
    bias = layout.add(name + ".bias", [width], .vector, .constant(0))
    self.epsilon = Float(epsilon)
  }

  var width: Int { gain.count }
  var slots: [Slot] { [gain, bias] }

  /// Rows before and after the norm.
  struct Rows {
    /// `[rows, width]`: before.
    fileprivate let x: Matrix
    /// `[rows, width]`: after.
    let normalized: Matrix
    /// `[2, rows]`.
    fileprivate let statistics: Matrix
  }

  /// The norm of `rows` of streams side by side, lent by `scratch`.
  func forward(
    _ rows: Range<Int>, of streams: ResidualStream..., pass: Pass, scratch: ScratchArena
  ) -> Rows {
    let x = scratch.matrix(rows.count, width)
    for (index, stream) in streams.enumerated() {
      stream.read(rows, into: x.columns(index * stream.width..<(index + 1) * stream.width))
    }
    return forward(x, pass: pass, scratch: scratch)
  }

  /// The norm of rows `x` `[rows, width]`, lent by `scratch`.
  func forward(_ x: Matrix, pass: Pass, scratch: ScratchArena) -> Rows {
    let normalized = scratch.matrix(x.rows, width)
    let statistics = scratch.matrix(2, x.rows)
    Kernels.layerNorm(
      x, gain: pass.parameters[gain.range], bias: pass.parameters[bias.range], epsilon: epsilon,
      into: normalized, statistics: statistics)
    scratch.lap(.norm)
    return Rows(x: x, normalized: normalized, statistics: statistics)
  }

  /// Adds to `dx` the gradient by that of the norm, `dy`, and to the tile's sums those of gain and bias.
  func backward(_ dy: Matrix, of rows: Rows, into dx: Matrix, tile: RowTile, pass: Pass) {
    backward(
      dy, of: rows, into: dx, gain: tile.partial(gain), bias: tile.partial(bias), pass: pass)
  }

  /// The same, but gradients of gain and bias `[width]` are added to any memory.
  func backward(
    _ dy: Matrix, of rows: Rows, into dx: Matrix, gain gainGradient: View<Float>,
    bias biasGradient: View<Float>, pass: Pass
  ) {
    Kernels.layerNormBackward(
      dy, x: rows.x, gain: pass.parameters[gain.range], statistics: rows.statistics, into: dx,
      gainGradient: gainGradient, biasGradient: biasGradient)
  }
}
