// The learning rate as a pure function of the step: nothing to save, nothing to restore.
import Compute

/// How the learning rate goes on after warm-up.
public enum ScheduleKind: String, Codable, Sendable, CaseIterable {
  /// Stays at the peak.
  case constant
  /// Falls with the inverse square root of the step, from the peak at the end of warm-up.
  case rsqrt
  /// Falls along half a cosine to the final rate at the last step.
  case cosine
  /// Falls along a line to the final rate at the last step.
  case linear
}

/// Linear warm-up, then one of the kinds.
public struct LearningRateSchedule: Sendable {
  /// Shape after warm-up.
  public let kind: ScheduleKind
  /// Highest rate, reached at the end of warm-up.
  public let peak: Double
  /// Steps of linear growth; 0 starts at the peak.
  public let warmupSteps: Int
  /// Last step of the run.
  public let steps: Int
  /// What cosine and line end at, as a share of the peak.
  public let finalRate: Double
  /// Last share of the run over which cosine and line fall; before that the rate is held.
  public let decayShare: Double
  private let trained: @Sendable (Int) -> Double

  /// All values at once; checked by whoever reads the config.
  ///
  /// `trained`: how much so many steps train on, in any unit; by this the run's shares are measured.
  public init(
    kind: ScheduleKind, peak: Double, warmupSteps: Int, steps: Int, finalRate: Double = 0.1,
    decayShare: Double = 1, trained: @escaping @Sendable (Int) -> Double = { Double($0) }
  ) {
    self.kind = kind
    self.peak = peak
    self.warmupSteps = warmupSteps
    self.steps = steps
    self.finalRate = finalRate
    self.decayShare = decayShare
    self.trained = trained
  }

  /// Rate of optimizer step `step`, the first being 1.
  ///
  /// Warm-up: `peak * step / warmupSteps`. Then constant: `peak`; rsqrt: `peak *
  /// sqrt(max(warmupSteps, 1) / step)`; cosine and linear: held at `peak` up to the last `decayShare` of the
  /// run, then down to `finalRate * peak`, where it stays should training go on.
  public func rate(step: Int) -> Double {
    precondition(step >= 1, "steps count from 1, got \(step)")
    if step < warmupSteps { return peak * Double(step) / Double(warmupSteps) }
    switch kind {
    case .constant:
      return peak
    case .rsqrt:
      return peak * (Double(max(warmupSteps, 1)) / Double(step)).squareRoot()
    case .cosine:
      let wave = DoubleFunctions.cosine(Double.pi * decay(step))
      return peak * (finalRate + (1 - finalRate) * 0.5 * (1 + wave))
    case .linear:
      return peak * (finalRate + (1 - finalRate) * (1 - decay(step)))
    }
  }

  /// How far the fall is at `step`, from 0 to 1.
  private func decay(_ step: Int) -> Double {
    let (now, end) = (trained(step), trained(steps))
    let start = max(trained(warmupSteps), (1 - decayShare) * end)
    if now >= end { return 1 }
    return now <= start ? 0 : (now - start) / (end - start)
  }
}
