// Recognises steps whose loss or gradient is far above that of the steps before: one bad batch can
// undo days of training. Its memory is part of the checkpoint, so that a resumed run judges alike.
import Compute
import Foundation

/// Mean and variance of a series that forget old values.
package struct RunningMoments: Codable, Equatable, Sendable {
  private(set) var count = 0
  private(set) var mean = 0.0
  private(set) var variance = 0.0

  // The plain average of the first values, then one that looks back about a hundred steps.
  private static let rate = 0.01

  mutating func add(_ value: Double) {
    count = count < 100 ? count + 1 : 100
    let weight = max(Self.rate, 1 / Double(count))
    let distance = value - mean
    mean += weight * distance
    variance = (1 - weight) * (variance + weight * distance * distance)
  }

  /// How many standard deviations `value` is above the mean.
  ///
  /// `floor`: the least deviation assumed; a series that hardly moves would make a spike of anything.
  func deviations(_ value: Double, floor: Double) -> Double {
    (value - mean) / max(variance.squareRoot(), floor)
  }
}

/// The memory of loss and gradient norm.
package struct SpikeDetector: Codable, Equatable, Sendable {
  private var loss = RunningMoments()
  // Norms vary by factors, so it is their logarithms that have a mean and a spread.
  private var logNorm = RunningMoments()

  /// Steps remembered before the first is judged.
  static let warmUp = 20

  /// Nothing seen yet.
  package init() {}

  /// Why a step of this loss (nats) and gradient norm is a spike; nil where it is none.
  ///
  /// `limit`: standard deviations above the mean that are still fine; 0 for any number.
  package func spike(loss value: Double, norm: Double, limit: Double) -> String? {
    guard limit > 0, loss.count >= Self.warmUp else { return nil }
    // One percent in loss or in norm is no spike, however still it was before.
    let lossDeviations = loss.deviations(value, floor: 0.01 * abs(loss.mean))
    let normDeviations = logNorm.deviations(Self.log(norm), floor: 0.01)
    if lossDeviations > limit {
      return String(
        format: "the loss, %.4f nats, is %.1f standard deviations above its mean of %.4f", value,
        lossDeviations, loss.mean)
    }
    guard normDeviations > limit else { return nil }
    return String(
      format: "the gradient's norm, %.3g, is %.1f standard deviations above its usual %.3g", norm,
      normDeviations, exp(logNorm.mean))
  }

  /// Remembers a step that was applied.
  package mutating func add(loss value: Double, norm: Double) {
    loss.add(value)
    logNorm.add(Self.log(norm))
  }

  // A gradient of zeros has no logarithm.
  private static func log(_ norm: Double) -> Double { DoubleFunctions.log(max(norm, 1e-30)) }
}
