// Windows of a stream, whose layers go on from what they carry over.
import Attention
import Compute
import Reformer
import TestSupport
import Testing

@Suite("Memory of streams")
struct StreamMemoryTests {
  private func config(
    _ kinds: [AttentionKind], rows: Int, length: Int, dropout: Double = 0,
    tokenShift: Bool = false, fractionBits: Int = 18, isInfused: Bool = false,
    precision: Precision = .fp32
  ) -> ReformerConfig {
    var config = smallConfig(
      kinds, length: length, heads: 4, headsPerGroup: 2, tokenShift: tokenShift, dropout: dropout,
      attentionDropout: dropout, residualFractionBits: fractionBits, isRotary: !isInfused,
      isInfused: isInfused, precision: precision)
    for (index, layer) in config.layers.enumerated() where layer is MemoryAttention {
      config.layers[index] = MemoryAttention(rows: rows, isCarried: true)
    }
    return config
  }

  /// A probe that has passed over made-up tokens, and is to go on with others.
  private func begun(
    _ config: ReformerConfig, threads: Int = 1, keepActivations: Bool = false,
    disorder: Float = 0.05
  ) throws -> ModelProbe {
    let probe = try ModelProbe(
      config, threads: threads, keepActivations: keepActivations, disorder: disorder)
    let inputs = probe.inputs
    probe.memory = StreamMemory(config)
    for seed in 20..<22 as Range<UInt64> {
      probe.inputs = madeUpTokens(inputs.count, vocabulary: config.vocabulary, seed: seed)
      try probe.step()
      probe.memory?.commit()
      probe.isContinued = true
    }
    probe.inputs = inputs
    return probe
  }

  @Test(
    "windows of a stream have the logits of one long window",
    arguments: [11, 70], [[40, 40, 40], [7, 50, 1, 62], [120]])
  func long(rows: Int, lengths: [Int]) throws {
    let config = config([.memory, .memory, .memory], rows: rows, length: 120)
    let probe = try ModelProbe(config, threads: 2, disorder: 0.05)
    let whole = try probe.logits()
    let (inputs, targets) = (probe.inputs, probe.targets)
    probe.memory = StreamMemory(config)
    var (start, parts, alone) = (0, [Float](), [Float]())
    for length in lengths {
      probe.inputs = Array(inputs[start..<start + length])
      probe.targets = Array(targets[start..<start + length])
      probe.isContinued = false
      alone += try probe.logits()
      probe.isContinued = start > 0
      parts += try probe.logits()
      probe.memory?.commit()
      start += length
    }
    // Angles and streams are rounded in other places; three layers.
    #expect(largestDifference(parts, whole) <= 1e-4)
    #expect(lengths.count == 1 || largestDifference(alone, whole) > 1e-2)
  }

  @Test(
    "gradients are those of a loss in which what is carried over is constant",
    arguments: [(11, 0), (30, 0.1)], [false, true])
  func gradients(test: (rows: Int, dropout: Double), isInfused: Bool) throws {
    let probe = try begun(
      config(
        [.memory, .local, .memory], rows: test.rows, length: 24, dropout: test.dropout,
        tokenShift: isInfused, fractionBits: 22, isInfused: isInfused),
      disorder: 0.2)
    // As in GradientTests.
    try probe.checkGradients(limit: 3e-3)
  }

  @Test(
    "recomputed activations give the bits of kept ones, at any number of threads",
    arguments: [11, 700], Precision.allCases)
  func sameBits(rows: Int, precision: Precision) throws {
    let config = config(
      [.memory, .local, .memory], rows: rows, length: 300, dropout: 0.1, tokenShift: true,
      isInfused: rows == 11, precision: precision)
    let runs = try [(1, false), (1, true), (2, false), (3, false)].map { threads, keeps in
      let probe = try begun(config, threads: threads, keepActivations: keeps)
      let loss = try probe.step()
      let gradients = probe.gradients.view.array
      probe.memory?.commit()
      let rows = probe.memory?.rows(layer: 2).dense.array ?? []
      return [loss.bitPattern] + (gradients + rows).map { UInt64($0.bitPattern) }
    }
    for run in runs.dropFirst() { #expect((run == runs[0]) == true) }
    let probe = try begun(config)
    try probe.step()
    let recovered = probe.model.currentStreams
    #expect((recovered == probe.embeddedStreams()) == true)
  }

  @Test("more carried rows than a span has: recomputed bits are those of kept ones")
  func spans() throws {
    let config = config([.memory], rows: Tiling.spanRows + 40, length: 9000)
    let runs = try [false, true].map { keeps in
      let probe = try begun(config, threads: 2, keepActivations: keeps)
      return try [probe.step().bitPattern]
        + probe.gradients.view.array.map { UInt64($0.bitPattern) }
    }
    #expect((runs[0] == runs[1]) == true)
  }

  @Test("a pass that is not committed leaves the memory as it was, and a forgotten one is none")
  func uncommitted() throws {
    let probe = try begun(config([.memory, .memory], rows: 30, length: 24))
    let logits = try probe.logits()
    let inputs = probe.inputs
    probe.inputs = madeUpTokens(24, vocabulary: 23, seed: 77)
    try probe.step()
    probe.inputs = inputs
    #expect(try probe.logits().bitPatterns == logits.bitPatterns)
    probe.memory?.forget()
    let forgotten = try probe.logits()
    #expect(forgotten.bitPatterns != logits.bitPatterns)
    probe.memory = nil
    #expect(try probe.logits().bitPatterns == forgotten.bitPatterns)
  }

  @Test("what is carried over can be put into another memory")
  func restored() throws {
    let config = config([.memory, .local, .memory], rows: 30, length: 24)
    let probe = try begun(config)
    let logits = try probe.logits()
    let memory = try #require(probe.memory)
    let other = StreamMemory(config)
    #expect(memory.layerNumbers == [0, 2] && memory.seen == 48)
    other.restore(seen: memory.seen)
    for layer in memory.layerNumbers {
      #expect(memory.rows(layer: layer).rows == 30)
      other.rows(layer: layer).copy(from: memory.rows(layer: layer))
    }
    probe.memory = other
    #expect(try probe.logits().bitPatterns == logits.bitPatterns)
  }
}
