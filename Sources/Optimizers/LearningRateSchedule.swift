// The learning rate as a pure function of the step: nothing to save, nothing to restore.
import Compute

/// How the learning rate goes on after warm-up.
public enum ScheduleKind: String, Codable, Sendable, CaseIterable {
  /// Stays at the peak.
  case constant
  /// Falls with the inverse square root of the step, from the peak at the end of warm-up.
  case rsqrt
  /// Falls along half a cosine to a tenth of the peak at the last step.
  case cosine
}

/// Linear warm-up, then one of the kinds.
public struct LearningRateSchedule: Sendable, Equatable {
  /// What the cosine ends at, as a fraction of the peak.
  public static let cosineFloor = 0.1

  /// Shape after warm-up.
  public let kind: ScheduleKind
  /// Highest rate, reached at the end of warm-up.
  public let peak: Double
  /// Steps of linear growth; 0 starts at the peak.
  public let warmupSteps: Int
  /// Last step of the run; only the cosine looks at it.
  public let steps: Int

  /// All values at once; checked by whoever reads the config.
  public init(kind: ScheduleKind, peak: Double, warmupSteps: Int, steps: Int) {
    self.kind = kind
    self.peak = peak
    self.warmupSteps = warmupSteps
    self.steps = steps
  }

  /// Rate of optimizer step `step`, the first being 1.
  ///
  /// Warm-up: `peak * step / warmupSteps`. Then constant: `peak`; rsqrt: `peak *
  /// sqrt(max(warmupSteps, 1) / step)`; cosine from `peak` down to `cosineFloor * peak`, where it
  /// stays should training go on.
  public func rate(step: Int) -> Double {
    precondition(step >= 1, "steps count from 1, got \(step)")
    if step < warmupSteps { return peak * Double(step) / Double(warmupSteps) }
    switch kind {
    case .constant:
      return peak
    case .rsqrt:
      return peak * (Double(max(warmupSteps, 1)) / Double(step)).squareRoot()
    case .cosine:
      guard step < steps else { return peak * Self.cosineFloor }
      let progress = Double(step - warmupSteps) / Double(steps - warmupSteps)
      let wave = DoubleFunctions.cosine(Double.pi * progress)
      return peak * (Self.cosineFloor + (1 - Self.cosineFloor) * 0.5 * (1 + wave))
    }
  }
}
