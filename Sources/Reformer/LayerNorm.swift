// LayerNorm in front of every sub-layer and of the output matrix. The mean and deviation of a row cost less
// to compute again than to keep, so nothing is saved between forward and backward.
import Compute

/// Gain and bias of one LayerNorm, `[width]` each.
struct LayerNorm {
  let gain: Slot
  let bias: Slot
  let epsilon: Float

  /// Its tensors.
  static func parameters(_ name: String, width: Int) -> [ParameterSpecification] {
    [
      ParameterSpecification(name + ".weight", [width], .vector, .constant(1)),
      ParameterSpecification(name + ".bias", [width], .vector, .constant(0)),
    ]
  }

  init(_ name: String, layout: ParameterLayout, epsilon: Double) {
    gain = layout[name + ".weight"]
    bias = layout[name + ".bias"]
    self.epsilon = Float(epsilon)
  }

  var width: Int { gain.count }
  var slots: [Slot] { [gain, bias] }

  /// `out = norm(x)` per row; `statistics` `[2, rows]` is what `backward` needs again.
  func forward(_ x: Matrix, into out: Matrix, statistics: Matrix, parameters: View<Float>) {
    Kernels.layerNorm(
      x, gain: parameters[gain.range], bias: parameters[bias.range], epsilon: epsilon, into: out,
      statistics: statistics)
  }

  /// Adds to `dx`, and to the tile's sums the gradients of gain and bias.
  func backward(
    _ dy: Matrix, x: Matrix, statistics: Matrix, into dx: Matrix, tile: RowTile,
    parameters: View<Float>
  ) {
    Kernels.layerNormBackward(
      dy, x: x, gain: parameters[gain.range], statistics: statistics, into: dx,
      gainGradient: tile.partial(gain), biasGradient: tile.partial(bias))
  }
}
