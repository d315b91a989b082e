// Leaf loops of attention: scales of keys, softmax over what a query sees, lists that are merged, hash buckets.
import CKernels

extension Kernels {
  /// scale[i] = 1 / (sqrt(mean(x[i]^2) + 1e-6) * sqrt(width)); `scale` is one column.
  public static func keyScale(_ x: Matrix, into scale: Matrix) {
    precondition(scale.rows == x.rows && scale.columns == 1, "shapes of key scale")
    ck_key_scale(x.base, x.stride, x.rows, x.columns, scale.base, scale.stride)
  }

  /// dx += gradient through x * scale(x); with `index`, row i of `dkey` belongs to row index[i] of the
  /// others, and indices past the last row are skipped.
  public static func keyScaleBackward(
    _ dkey: Matrix, x: Matrix, scale: Matrix, into dx: Matrix, rows index: View<Int32>? = nil
  ) {
    precondition(
      dkey.rows == index?.count ?? x.rows && dkey.columns == x.columns && dx.rows == x.rows
        && dx.columns == x.columns && scale.rows == x.rows && scale.columns == 1,
      "shapes of key scale gradient")
    ck_key_scale_backward(
      dkey.base, dkey.stride, x.base, x.stride, index?.base, dkey.rows, x.columns, Int32(x.rows),
      scale.base, scale.stride, dx.base, dx.stride)
  }

  /// Replaces scores by exp(logit - maximum) under the causal (and self) mask, which spares keys up to position `through`.
  public static func maskedSoftmax(
    _ scores: Matrix, queryPositions: View<Int32>, keyPositions: View<Int32>, through: Int = -1,
    masksSelf: Bool, maximum: View<Float>, sum: View<Float>
  ) {
    precondition(
      queryPositions.count == scores.rows && keyPositions.count == scores.columns
        && maximum.count == scores.rows && sum.count == scores.rows, "shapes of softmax")
    ck_masked_softmax(
      scores.dense.base, scores.rows, scores.columns, queryPositions.base, keyPositions.base,
      Int32(through), masksSelf ? 1 : 0, maximum.base, sum.base)
  }

  /// Replaces scores by probabilities and `dp` by the gradient of the logits.
  public static func maskedSoftmaxBackward(
    _ scores: Matrix, _ dp: Matrix, queryPositions: View<Int32>, keyPositions: View<Int32>,
    through: Int = -1, masksSelf: Bool, maximum: View<Float>, sum: View<Float>,
    outputDots: View<Float>
  ) {
    precondition(
      queryPositions.count == scores.rows && keyPositions.count == scores.columns
        && dp.rows == scores.rows && dp.columns == scores.columns && maximum.count == scores.rows
        && sum.count == scores.rows && outputDots.count == scores.rows,
      "shapes of softmax gradient")
    ck_masked_softmax_backward(
      scores.dense.base, dp.dense.base, scores.rows, scores.columns, queryPositions.base,
      keyPositions.base, Int32(through), masksSelf ? 1 : 0, maximum.base, sum.base,
      outputDots.base)
  }

  /// The same for rows that see runs of keys: row i the columns from `first[i]` to before `end[i]`; with `lastResort`
  /// the last of them is its own key, which counts only where there is no other.
  ///
  /// What lies outside a run becomes 0 and does not enter any bit of the row.
  public static func runSoftmax(
    _ scores: Matrix, first: View<Int32>, end: View<Int32>, lastResort: Bool, maximum: View<Float>,
    sum: View<Float>
  ) {
    precondition(
      first.count == scores.rows && end.count == scores.rows && maximum.count == scores.rows
        && sum.count == scores.rows, "shapes of softmax")
    ck_run_softmax(
      scores.dense.base, scores.rows, scores.columns, first.base, end.base, lastResort ? 1 : 0,
      maximum.base, sum.base)
  }

  /// Replaces scores by probabilities and `dp` by the gradient of the logits, for runs of keys.
  public static func runSoftmaxBackward(
    _ scores: Matrix, _ dp: Matrix, first: View<Int32>, end: View<Int32>, lastResort: Bool,
    maximum: View<Float>, sum: View<Float>, outputDots: View<Float>
  ) {
    precondition(
      first.count == scores.rows && end.count == scores.rows && dp.rows == scores.rows
        && dp.columns == scores.columns && maximum.count == scores.rows
        && sum.count == scores.rows && outputDots.count == scores.rows,
      "shapes of softmax gradient")
    ck_run_softmax_backward(
      scores.dense.base, dp.dense.base, scores.rows, scores.columns, first.base, end.base,
      lastResort ? 1 : 0, maximum.base, sum.base, outputDots.base)
  }

  /// Merges a partial softmax into the rows `index` of `out`; `maximum` and `sum` are columns
  /// beside it.
  public static func mergeRows(
    _ partial: Matrix, maximum partialMaximum: View<Float>, sum partialSum: View<Float>,
    into out: Matrix, maximum: Matrix, sum: Matrix, rows index: View<Int32>
  ) {
    precondition(
      partial.rows == index.count && partial.columns == out.columns
        && partialMaximum.count == partial.rows && partialSum.count == partial.rows
        && maximum.rows == out.rows && sum.rows == out.rows && maximum.stride == sum.stride,
      "shapes of merge")
    ck_merge_rows(
      out.base, out.stride, maximum.base, sum.base, maximum.stride, index.base, index.count,
      out.columns, Int32(out.rows), partial.dense.base, partialMaximum.base, partialSum.base)
  }

  /// x[i] /= sum[i]; `sum` is one column.
  public static func normalizeRows(_ x: Matrix, by sum: Matrix) {
    precondition(sum.rows == x.rows && sum.columns == 1, "shapes of row normalisation")
    ck_normalize_rows(x.base, x.stride, x.rows, x.columns, sum.base, sum.stride)
  }

  // MARK: Hashing

  /// Bucket of each row of `rotated` `[rows, sum(factors) / 2]`.
  public static func hashBuckets(_ rotated: Matrix, factors: [Int32], into buckets: View<Int32>) {
    precondition(
      buckets.count == rotated.rows && Int(factors.reduce(0, +)) == 2 * rotated.columns,
      "shapes of hash")
    ck_hash_buckets(
      rotated.base, rotated.stride, rotated.rows, factors, factors.count, buckets.base)
  }
}
