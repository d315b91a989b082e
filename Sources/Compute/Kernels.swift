// Checked Swift face of CKernels: shapes are compared here, the C loops trust their arguments.
import CKernels

/// Leaf loops over views and matrices.
///
/// Names and formulas: `CKernels.h`.
public enum Kernels {
  /// The instruction set in use: `portable`, `avx2`, `avx512`, `avx512-bf16` or `amx`.
  ///
  /// The best one of the processor, or what the environment variable `REFORMER_INSTRUCTIONS` names. The bits
  /// of a run do not depend on it.
  public static var instructionSet: String { String(cString: ck_level_name(ck_active_level())) }

  /// The best instruction set of the processor.
  public static var bestInstructionSet: String { String(cString: ck_level_name(ck_best_level())) }

  /// Whether `REFORMER_INSTRUCTIONS` holds this process below the processor's best.
  public static var isInstructionSetForced: Bool { ck_level_is_forced() != 0 }

  /// What is wrong with `REFORMER_INSTRUCTIONS`, if anything.
  public static var environmentError: String? {
    guard let wanted = ck_refused_level() else { return nil }
    let legal = (0...ck_best_level()).map { String(cString: ck_level_name($0)) }
    return "REFORMER_INSTRUCTIONS=\(String(cString: wanted)): this processor has "
      + legal.joined(separator: ", ")
  }

  // MARK: Vectors

  /// x += y.
  public static func add(_ x: View<Float>, _ y: View<Float>) {
    precondition(x.count == y.count, "sum of \(x.count) and \(y.count) elements")
    ck_add(x.base, y.base, x.count)
  }

  /// x *= factor.
  public static func scale(_ x: View<Float>, by factor: Float) { ck_scale(x.base, x.count, factor) }

  /// Sum of squares, in double.
  public static func sumOfSquares(_ x: View<Float>) -> Double { ck_sum_squares(x.base, x.count) }

  /// sums[j] += sum over i of x[i, j].
  public static func addColumnSums(of x: Matrix, to sums: View<Float>) {
    precondition(sums.count == x.columns, "\(x.columns) columns into \(sums.count) sums")
    ck_column_sum(x.base, x.stride, x.rows, x.columns, sums.base)
  }

  /// out = factor * x + otherFactor * y; `out` may be one of them.
  public static func weightedSum(
    _ x: View<Float>, by factor: Float, _ y: View<Float>, by otherFactor: Float,
    into out: View<Float>
  ) {
    precondition(x.count == out.count && y.count == out.count, "shapes of a weighted sum")
    ck_weighted_sum(x.base, factor, y.base, otherFactor, out.base, out.count)
  }

  /// out = factor * x * y, number by number.
  public static func multiply(
    _ x: View<Float>, _ y: View<Float>, by factor: Float, into out: View<Float>
  ) {
    precondition(x.count == out.count && y.count == out.count, "shapes of a product by number")
    ck_multiply(x.base, y.base, factor, out.base, out.count)
  }

  /// sums[j] += x[j]^2.
  public static func addSquares(of x: View<Float>, to sums: View<Double>) {
    precondition(x.count == sums.count, "\(x.count) squares into \(sums.count) sums")
    ck_add_squares(x.base, sums.base, x.count)
  }

  /// Inner products of matching rows.
  public static func rowDots(_ a: Matrix, _ b: Matrix, into out: View<Float>) {
    precondition(
      a.rows == b.rows && a.columns == b.columns && out.count == a.rows, "shapes of row products")
    ck_row_dot(a.base, a.stride, b.base, b.stride, a.rows, a.columns, out.base)
  }

  // MARK: Residual streams

  /// out = x * step.
  public static func floats(of x: View<Int32>, step: Float, into out: View<Float>) {
    precondition(x.count == out.count, "\(x.count) integers into \(out.count) floats")
    ck_stream_to_float(x.base, out.base, x.count, step)
  }

  /// x += round(values / step), or -= with `subtract`.
  ///
  /// Returns the number of values out of range.
  public static func accumulate(
    _ values: View<Float>, into x: View<Int32>, inverseStep: Float, subtract: Bool
  ) -> Int {
    precondition(x.count == values.count, "\(values.count) floats into \(x.count) integers")
    return subtract
      ? ck_stream_subtract(x.base, values.base, x.count, inverseStep)
      : ck_stream_add(x.base, values.base, x.count, inverseStep)
  }

  // MARK: LayerNorm

  /// out = (x - mean) * rstd * gain + bias per row; `statistics` is `[2, rows]`: mean, then rstd.
  public static func layerNorm(
    _ x: Matrix, gain: View<Float>, bias: View<Float>, epsilon: Float, into out: Matrix,
    statistics: Matrix
  ) {
    precondition(
      x.rows == out.rows && x.columns == out.columns && gain.count == x.columns
        && bias.count == x.columns && statistics.rows == 2 && statistics.columns == x.rows,
      "shapes of LayerNorm")
    ck_layernorm_forward(
      x.base, x.stride, x.rows, x.columns, gain.base, bias.base, epsilon, out.base, out.stride,
      statistics.row(0).base, statistics.row(1).base)
  }

  /// Adds the gradient to `dx`, and those of gain and bias to theirs.
  public static func layerNormBackward(
    _ dy: Matrix, x: Matrix, gain: View<Float>, statistics: Matrix, into dx: Matrix,
    gainGradient: View<Float>, biasGradient: View<Float>
  ) {
    precondition(
      dy.rows == x.rows && dy.columns == x.columns && dx.rows == x.rows && dx.columns == x.columns
        && gain.count == x.columns && statistics.rows == 2 && statistics.columns == x.rows
        && gainGradient.count == x.columns && biasGradient.count == x.columns,
      "shapes of LayerNorm gradient")
    ck_layernorm_backward(
      dy.base, dy.stride, x.base, x.stride, x.rows, x.columns, gain.base, statistics.row(0).base,
      statistics.row(1).base, dx.base, dx.stride, gainGradient.base,
      biasGradient.base)
  }

  // MARK: Rows by index

  /// out[i] = source[index[i]] (times its `scale`); zeros where the index is past the last row.
  ///
  /// `scale`: a column `[source.rows]` whose elements are `scale.stride` apart.
  public static func gather(
    _ source: Matrix, rows index: View<Int32>, scale: Matrix? = nil, into out: Matrix
  ) {
    precondition(
      out.rows == index.count && out.columns == source.columns
        && (scale?.rows ?? source.rows) == source.rows,
      "shapes of gather")
    ck_gather_rows(
      source.base, source.stride, index.base, index.count, source.columns, Int32(source.rows),
      scale?.base, scale?.stride ?? 0, out.base, out.stride)
  }

  /// out += weights[i] * source[index[i]], one i after the other in one chain: the bits of `tileProduct` with
  /// `continuing`.
  public static func add(
    _ source: Matrix, rows index: View<Int32>, by weights: View<Float>, to out: View<Float>
  ) {
    precondition(
      weights.count == index.count && out.count == source.columns, "shapes of weighted rows")
    ck_add_weighted_rows(
      weights.base, source.base, source.stride, index.base, index.count, source.columns, out.base)
  }

  /// target[index[i]] += rows[i]; indices past the last row are skipped.
  public static func scatterAdd(_ rows: Matrix, to target: Matrix, rows index: View<Int32>) {
    precondition(
      rows.rows == index.count && rows.columns == target.columns, "shapes of scatter")
    ck_scatter_add_rows(
      target.base, target.stride, index.base, index.count, target.columns, Int32(target.rows),
      rows.dense.base)
  }

  // MARK: Loss

  /// `probabilities` become their logarithms, and `out` the sum of these by `weight` and of logits by `logitWeight`.
  public static func mix(
    probabilities: View<Float>, by weight: Float, logits: View<Float>, by logitWeight: Float,
    into out: View<Float>
  ) {
    precondition(
      probabilities.count == logits.count && out.count == logits.count, "shapes of a mixture")
    ck_mix_logits(probabilities.base, weight, logits.base, logitWeight, out.base, out.count)
  }

  /// Natural-log cross-entropy per row; with a scale, logits become that multiple of its gradient.
  public static func crossEntropy(
    _ logits: Matrix, targets: View<Int32>, gradientScale: Float?, into rowLoss: View<Float>
  ) {
    precondition(
      targets.count == logits.rows && rowLoss.count == logits.rows, "shapes of cross-entropy")
    ck_cross_entropy(
      logits.base, logits.stride, logits.rows, logits.columns, targets.base,
      gradientScale == nil ? 0 : 1, gradientScale ?? 0, rowLoss.base)
  }
}
