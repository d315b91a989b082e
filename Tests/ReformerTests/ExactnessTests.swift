import Attention
import Compute
import Reformer
import TestSupport
import Testing

@Suite("Exact reversibility")
struct ExactnessTests {
  /// Twelve layers of all kinds, dropout everywhere.
  private func deep(
    headsPerGroup: Int = 2, length: Int = 300, _ variant: Variant = Variant(lsh: smallLSH),
    activation: Activation = .relu, tokenShift: Bool = false, isRotary: Bool = false,
    isInfused: Bool = false
  ) -> ReformerConfig {
    smallConfig(
      [
        .local, .lsh, .full, .local, .lsh, .local, .full, .lsh, .local, .local, .lsh, .lsh,
      ], length: length, width: 24, heads: 4, headsPerGroup: headsPerGroup, activation: activation,
      tokenShift: tokenShift,
      axialShape: [20, (length + 19) / 20], axialWidths: [10, 14], dropout: 0.15,
      attentionDropout: 0.1, lsh: variant.lsh, isRotary: isRotary, isInfused: isInfused,
      precision: variant.precision)
  }

  struct Variant: Sendable, CustomTestStringConvertible {
    var lsh: LSHAttention
    var precision = Precision.fp32
    var testDescription: String { "\(lsh.sight), window \(lsh.window), \(precision)" }
  }

  private static let variants = Precision.allCases.flatMap { precision in
    [smallLSH, strictLSH(hashes: 3), strictLSH(hashes: 1, window: 11)].map {
      Variant(lsh: $0, precision: precision)
    }
  }

  @Test(
    "after the backward pass the streams are what the embedding made them, bit for bit",
    arguments: [1, 8, 37, 130, 300], variants)
  func streams(length: Int, variant: Variant) throws {
    let seed = UInt64(length)
    let probe = try ModelProbe(deep(variant), length: length, seed: seed, disorder: 0.05)
    probe.address.step = seed * 31
    try probe.checkStreamsComeBack()
  }

  @Test(
    "recomputed activations give the gradients of kept ones, bit for bit",
    arguments: [5, 130, 300], variants)
  func kept(length: Int, variant: Variant) throws {
    let seed = UInt64(length)
    let recomputing = try ModelProbe(deep(variant), length: length, seed: seed, disorder: 0.05)
    let keeping = try ModelProbe(
      deep(variant), length: length, keepActivations: true, seed: seed, disorder: 0.05)
    let losses = [try recomputing.step(), try keeping.step()]
    #expect(losses[0] == losses[1])
    let gradients = recomputing.gradients.view.array
    #expect(gradients.bitPatterns == keeping.gradients.view.array.bitPatterns)
    // Kept activations leave the streams at the top: that model did not recompute.
    #expect(keeping.model.currentStreams.first != recomputing.model.currentStreams.first)
  }

  @Test(
    "rotary or infused positions, squared relu and token shift: streams come back, and gradients are those of kept activations",
    arguments: [(5, true), (300, true), (300, false)], variants)
  func endless(test: (length: Int, isRotary: Bool), variant: Variant) throws {
    let length = test.length
    let config = deep(
      variant, activation: .relu2, tokenShift: true, isRotary: test.isRotary,
      isInfused: !test.isRotary)
    let recomputing = try ModelProbe(config, length: length, disorder: 0.05)
    let keeping = try ModelProbe(
      config, length: length, threads: 2, keepActivations: true, disorder: 0.05)
    let losses = [try recomputing.step(), try keeping.step()]
    #expect(losses[0] == losses[1])
    let gradients = recomputing.gradients.view.array.bitPatterns
    #expect(gradients == keeping.gradients.view.array.bitPatterns)
    try recomputing.step()
    let recovered = recomputing.model.currentStreams
    #expect(recovered == recomputing.embeddedStreams())
  }

  @Test(
    "stored activations of several blocks of positions give the same gradients, bit for bit",
    arguments: Precision.allCases)
  func keptBlocks(precision: Precision) throws {
    let config = deep(
      length: 2 * Tiling.blockRows + 60, Variant(lsh: smallLSH, precision: precision))
    let recomputing = try ModelProbe(config, seed: 5, disorder: 0.05)
    let storing = try ModelProbe(config, keepActivations: true, seed: 5, disorder: 0.05)
    let losses = [try recomputing.step(), try storing.step()]
    #expect(losses[0] == losses[1])
    #expect(
      recomputing.gradients.view.array.bitPatterns == storing.gradients.view.array.bitPatterns)
  }

  @Test("stored activations of several large pages are there on the way back")
  func keptPages() throws {
    let config = smallConfig(
      [.local], length: 20_000, headsPerGroup: 2, axialShape: [100, 200], attentionDropout: 0.1)
    let runs = try [false, true].map { keeps in
      let probe = try ModelProbe(config, threads: 2, keepActivations: keeps, disorder: 0.05)
      _ = try probe.step()
      return probe.gradients.view.array.bitPatterns
    }
    #expect(runs[0] == runs[1])
  }

  @Test("a step has the same bits at 1, 2 and 3 threads", arguments: [300, 1300], variants)
  func threads(length: Int, variant: Variant) throws {
    let runs = try [1, 2, 3].map { threads in
      let probe = try ModelProbe(deep(length: length, variant), threads: threads, disorder: 0.05)
      let loss = try probe.step()
      let loud = try probe.loss()
      return [loss.bitPattern, loud.bitPattern]
        + probe.gradients.view.array.map { UInt64($0.bitPattern) }
    }
    #expect(runs[1] == runs[0])
    #expect(runs[2] == runs[0])
  }

  @Test("a step has the same bits when repeated, and other bits at another address")
  func repeated() throws {
    let probe = try ModelProbe(deep(length: 100), disorder: 0.05)
    let first = try (probe.step(), probe.gradients.view.array.bitPatterns)
    let second = try (probe.step(), probe.gradients.view.array.bitPatterns)
    #expect(first == second)
    probe.address.sample += 1
    #expect(try probe.step() != first.0)
  }

  @Test("head groups of 1, 2 and 4 agree but for rounding into the streams")
  func headGroups() throws {
    // One layer: in a deep model a rounded stream may fall into another hash bucket.
    let runs = try [1, 2, 4].map { group in
      let probe = try ModelProbe(
        smallConfig([.lsh], heads: 4, headsPerGroup: group, dropout: 0.1, attentionDropout: 0.1))
      return (try probe.step(), probe.gradients.view.array)
    }
    for run in runs.dropFirst() {
      // Each group is rounded to 2^-18, on streams of size 1.
      #expect(abs(run.0 - runs[0].0) <= 1e-5)
      #expect(relativeDifference(run.1, to: runs[0].1) <= 1e-4)
      #expect(run.1.bitPatterns != runs[0].1.bitPatterns)
    }
  }
}
