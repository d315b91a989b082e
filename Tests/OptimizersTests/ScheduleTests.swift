import Foundation
import Optimizers
import Testing

@Suite("Learning rate and clipping")
struct ScheduleTests {
  // The products and roots below round a few times in double; 1e-12 of the peak is far above that.
  private let tolerance = 1e-12

  @Test("every kind warms up linearly to the peak", arguments: ScheduleKind.allCases)
  func warmUp(kind: ScheduleKind) {
    let schedule = LearningRateSchedule(kind: kind, peak: 2, warmupSteps: 8, steps: 100)
    for step in 1...8 {
      #expect(abs(schedule.rate(step: step) - 2 * Double(step) / 8) < tolerance, "step \(step)")
    }
  }

  @Test("constant stays at the peak, also without warm-up and beyond the last step")
  func constant() {
    let schedule = LearningRateSchedule(kind: .constant, peak: 0.5, warmupSteps: 0, steps: 3)
    #expect([1, 2, 3, 4, 1000].map(schedule.rate) == [0.5, 0.5, 0.5, 0.5, 0.5])
  }

  @Test("rsqrt halves when the step is four times the warm-up", arguments: [1, 16, 100])
  func rsqrt(warmup: Int) {
    let schedule = LearningRateSchedule(kind: .rsqrt, peak: 1, warmupSteps: warmup, steps: 10)
    #expect(abs(schedule.rate(step: 4 * warmup) - 0.5) < tolerance)
    #expect(abs(schedule.rate(step: 9 * warmup) - 1.0 / 3) < tolerance)
  }

  @Test("rsqrt without warm-up starts at the peak")
  func rsqrtAtOnce() {
    let schedule = LearningRateSchedule(kind: .rsqrt, peak: 3, warmupSteps: 0, steps: 10)
    #expect(schedule.rate(step: 1) == 3)
    #expect(abs(schedule.rate(step: 4) - 1.5) < tolerance)
  }

  @Test("cosine passes its middle half way and ends at a tenth, where it stays")
  func cosine() {
    let schedule = LearningRateSchedule(kind: .cosine, peak: 1, warmupSteps: 20, steps: 120)
    #expect(abs(schedule.rate(step: 70) - 0.55) < tolerance)
    #expect(abs(schedule.rate(step: 45) - (0.1 + 0.45 * (1 + cos(Double.pi / 4)))) < tolerance)
    #expect(abs(schedule.rate(step: 120) - 0.1) < tolerance)
    #expect(abs(schedule.rate(step: 500) - 0.1) < tolerance)
    for step in 20..<120 { #expect(schedule.rate(step: step) > schedule.rate(step: step + 1)) }
  }

  @Test("a line falls evenly to its end, half of it in half the way")
  func linear() {
    let schedule = LearningRateSchedule(
      kind: .linear, peak: 2, warmupSteps: 20, steps: 120, finalRate: 0)
    for step in 20...120 {
      #expect(abs(schedule.rate(step: step) - 2 * Double(120 - step) / 100) < tolerance)
    }
    #expect(schedule.rate(step: 121) == 0)
  }

  @Test(
    "a rate is held until the last share of the run, and falls over all of that",
    arguments: [ScheduleKind.cosine, .linear])
  func held(kind: ScheduleKind) {
    let schedule = LearningRateSchedule(
      kind: kind, peak: 1, warmupSteps: 10, steps: 100, finalRate: 0.2, decayShare: 0.4)
    for step in 10...60 { #expect(abs(schedule.rate(step: step) - 1) < tolerance, "\(step)") }
    for step in 60..<100 { #expect(schedule.rate(step: step) > schedule.rate(step: step + 1)) }
    #expect(abs(schedule.rate(step: 80) - 0.6) < tolerance)
    for step in [100, 101, 500] { #expect(abs(schedule.rate(step: step) - 0.2) < tolerance) }
    // All at once at the end.
    let late = LearningRateSchedule(
      kind: kind, peak: 1, warmupSteps: 0, steps: 100, finalRate: 0.2, decayShare: 0)
    #expect(abs(late.rate(step: 99) - 1) < tolerance && abs(late.rate(step: 100) - 0.2) < tolerance)
  }

  @Test("the fall goes by what is trained on, not by the number of steps")
  func shares() {
    // 50 steps of 1, then 50 of 9: half of the 500 is reached after 22 of the larger ones.
    let schedule = LearningRateSchedule(
      kind: .linear, peak: 1, warmupSteps: 0, steps: 100, finalRate: 0,
      trained: { $0 <= 50 ? Double($0) : 50 + 9 * Double($0 - 50) })
    #expect(abs(schedule.rate(step: 50) - 0.9) < tolerance)
    #expect(abs(schedule.rate(step: 75) - 0.45) < tolerance)
    #expect(abs(schedule.rate(step: 100)) < tolerance)
  }

  @Test("a warm-up longer than the run never meets the cosine")
  func longWarmUp() {
    let schedule = LearningRateSchedule(kind: .cosine, peak: 1, warmupSteps: 100, steps: 10)
    #expect(abs(schedule.rate(step: 10) - 0.1) < tolerance)
    #expect(abs(schedule.rate(step: 99) - 0.99) < tolerance)
  }

  @Test(
    "gradients are scaled to the limit only when they exceed it",
    arguments: [
      (squared: 25.0, limit: 1.0, scale: 0.2), (25, 5, 1), (25, 10, 1), (25, 0, 1), (0, 1, 1),
    ])
  func clipping(squared: Double, limit: Double, scale: Double) {
    #expect(GradientClipping.scale(squaredNorm: squared, limit: limit) == scale)
  }
}
