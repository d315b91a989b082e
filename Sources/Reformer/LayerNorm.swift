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

  /// `out = norm(x)` per row; `statistics` `[2, rows]` is what `backward` needs again.
  func forward(_ x: Matrix, into out: Matrix, statistics: Matrix, parameters: View<Float>) {
    Kernels.layerNorm(
      x, gain: parameters[gain.range], bias: parameters[bias.range], epsilon: epsilon, into: out,
      statistics: statistics)
  }

  /// Adds to `dx`, and to `partial` `[2, width]` the gradients of gain and bias over these rows.
  func backward(
    _ dy: Matrix, x: Matrix, statistics: Matrix, into dx: Matrix, partial: Matrix,
    parameters: View<Float>
  ) {
    Kernels.layerNormBackward(
      dy, x: x, gain: parameters[gain.range], statistics: statistics, into: dx,
      parameterGradients: partial)
  }

  /// Adds the tiles' partial gradients `[2 * tiles, width]`, in tile order.
  func addPartials(_ partials: Matrix, to gradients: View<Float>) {
    for index in 0..<partials.rows / 2 {
      Kernels.add(gradients[gain.range], partials.row(2 * index))
      Kernels.add(gradients[bias.range], partials.row(2 * index + 1))
    }
  }
}
