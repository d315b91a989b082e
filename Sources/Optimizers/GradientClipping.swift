// Clipping by the norm of the whole gradient.

/// What the gradient is multiplied by so that its norm stays below a limit.
public enum GradientClipping {
  /// The factor: 1 within the limit, else limit / norm.
  ///
  /// - `squaredNorm`: sum of squares over all parameters, finite; the caller has refused other
  ///   gradients. `limit`: largest norm; 0 switches clipping off.
  public static func scale(squaredNorm: Double, limit: Double) -> Double {
    precondition(squaredNorm.isFinite && squaredNorm >= 0, "gradient norm \(squaredNorm)")
    let norm = squaredNorm.squareRoot()
    return limit > 0 && norm > limit ? limit / norm : 1
  }
}
