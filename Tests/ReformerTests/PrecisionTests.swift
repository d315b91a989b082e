// Models whose products read bf16 numbers.
import Attention
import CKernels
import Compute
import Reformer
import TestSupport
import Testing

@Suite("bf16 models")
struct PrecisionTests {
  private func config(
    _ precision: Precision, activation: Activation, dropout: Double = 0
  ) -> ReformerConfig {
    smallConfig(
      [.local, .full], length: 301, width: 33, heads: 4, headsPerGroup: 2, activation: activation,
      axialShape: [16, 20], axialWidths: [13, 20], dropout: dropout, precision: precision)
  }

  // Each number is off by up to 2^-9 of itself, at random: sums of many are off by less.
  @Test(
    "gradients of every tensor are those of single precision, but for rounding",
    arguments: Activation.allCases, [0, 0.1])
  func gradients(activation: Activation, dropout: Double) throws {
    let probes = try Precision.allCases.map {
      try ModelProbe(config($0, activation: activation, dropout: dropout), threads: 2)
    }
    if activation == .relu { probes.forEach { $0.decideHiddenUnits() } }
    let losses = try probes.map { try $0.step() }
    #expect(losses[1] != losses[2])
    for (probe, loss) in zip(probes, losses).dropFirst() {
      #expect(losses[0] != loss && abs(losses[0] - loss) <= 1e-3 * losses[0])
      for slot in probe.model.layout.slots {
        let (one, other) = (probes[0].gradients.view[slot.range], probe.gradients.view[slot.range])
        let difference = relativeDifference(other.array, to: one.array)
        #expect(
          difference > 0 && difference <= 0.03, "\(slot.name), \(probe.model.config.precision)")
      }
    }
  }

  @Test(
    "a step has the same bits at every level of this processor", arguments: Activation.allCases,
    [Precision.bf16, .bf16InBlocks])
  func levels(activation: Activation, precision: Precision) throws {
    let steps = try (0...ck_best_level()).map { level in
      #expect(ck_set_thread_level(level) == 0)
      defer { _ = ck_set_thread_level(-1) }
      let probe = try ModelProbe(config(precision, activation: activation, dropout: 0.1))
      let loss = try probe.step()
      return [loss.bitPattern] + probe.gradients.view.array.map { UInt64($0.bitPattern) }
    }
    for step in steps.dropFirst() { #expect(step == steps[0]) }
  }
}
