import Attention
import Compute
import Reformer
import TestSupport
import Testing

@Suite("Models with an encoder")
struct EncoderTests {
  /// Three layers here and three there, of all kinds, so that the sub-layers of the decoder stand on either stream.
  private func config(
    source: Int = 41, target: Int = 30, headsPerGroup: Int = 2, dropout: Double = 0,
    tokenShift: Bool = false, precision: Precision = .fp32, residualFractionBits: Int = 18
  ) -> ReformerConfig {
    var config = smallConfig(
      [.full, .local, .full], length: target, heads: 4, headsPerGroup: headsPerGroup,
      tokenShift: tokenShift, dropout: dropout, attentionDropout: dropout,
      residualFractionBits: residualFractionBits, isRotary: true, precision: precision)
    config.encoder = [SurroundingAttention(), SurroundingAttention(chunk: 8, beside: 1)]
    config.encoder += [smallLSH.unmasked].compactMap { $0 }
    config.sourceLength = source
    return config
  }

  struct Lengths: Sendable, CustomTestStringConvertible {
    let source, target: Int
    var testDescription: String { "\(source) to \(target)" }
    static let all = [(1, 1), (5, 130), (300, 8), (130, 300), (1100, 1300)].map {
      Lengths(source: $0.0, target: $0.1)
    }
  }

  /// Gradients against differences, of models whose hashes cannot jump: without rotations all positions share a bucket.
  private func checkGradients(_ config: ReformerConfig, limit: Double, step: Double) throws {
    let probe = try ModelProbe(config)
    for (index, layer) in config.encoder.enumerated() where layer is LSHAttention {
      probe.rotations[index] = [Float](repeating: 0, count: rotationCount(config))
    }
    try probe.checkGradients(limit: limit, step: step)
  }

  // Six layers bend the loss more than the one or two of `GradientTests`, so steps are half as long: noise is 2e-3 then, and
  // what is left of the bend as much. A share of the gradient that is missing shows as tenths.
  @Test("gradients of every tensor: encoder, attention between, decoder", arguments: [0, 0.2])
  func gradients(dropout: Double) throws {
    for tokenShift in [false, true] {
      try checkGradients(
        config(dropout: dropout, tokenShift: tokenShift, residualFractionBits: 22),
        limit: 1e-2, step: 2e-3)
    }
  }

  @Test(
    "gradients where the source is of several tiles and more than one block", arguments: [1, 2])
  func long(layer: Int) throws {
    var config = config(source: 1300, target: 20, dropout: 0.1, residualFractionBits: 22)
    config.layers = [config.layers[0]]
    config.encoder = [config.encoder[layer]]
    try checkGradients(config, limit: 3e-3, step: 4e-3)
  }

  @Test(
    "after the backward pass the streams of both are what the embedding made them",
    arguments: Lengths.all)
  func streams(lengths: Lengths) throws {
    for precision in Precision.allCases {
      let probe = try ModelProbe(
        config(
          source: lengths.source, target: lengths.target, dropout: 0.15, tokenShift: true,
          precision: precision), disorder: 0.05)
      try probe.checkStreamsComeBack()
    }
  }

  @Test(
    "recomputed activations give the gradients of kept ones, at any number of threads",
    arguments: Lengths.all)
  func bits(lengths: Lengths) throws {
    for precision in Precision.allCases {
      let config = config(
        source: lengths.source, target: lengths.target, dropout: 0.15, precision: precision)
      let runs = try [(1, false), (2, false), (4, false), (2, true)].map { threads, keeps in
        let probe = try ModelProbe(
          config, threads: threads, keepActivations: keeps, disorder: 0.05)
        let loss = try probe.step()
        return [loss.bitPattern] + probe.gradients.view.array.map { UInt64($0.bitPattern) }
      }
      for run in runs.dropFirst() { #expect(run == runs[0]) }
    }
  }

  @Test("a shorter pair has the bits of a model that is made for its lengths")
  func shorter() throws {
    let probe = try ModelProbe(config(), disorder: 0.05)
    (probe.inputs, probe.targets) = (Array(probe.inputs[..<9]), Array(probe.targets[..<9]))
    probe.source = Array(probe.source[..<17])
    let own = try ModelProbe(config(source: 17, target: 9), disorder: 0.05)
    (own.inputs, own.targets, own.source) = (probe.inputs, probe.targets, probe.source)
    #expect(try probe.step() == own.step())
    #expect(probe.gradients.view.array.bitPatterns == own.gradients.view.array.bitPatterns)
  }

  @Test(
    "predictions follow from all of the source and from the target before them, and nothing else")
  func sight() throws {
    let probe = try ModelProbe(config(), disorder: 0.05)
    let classes = probe.model.config.vocabulary
    let before = try probe.logits()
    let (source, inputs) = (probe.source, probe.inputs)
    for place in [0, 20, 40] {
      probe.source[place] = (source[place] + 1) % Int32(classes)
      let after = try probe.logits()
      for row in inputs.indices {
        let own = row * classes..<(row + 1) * classes
        #expect(after[own].bitPatterns != before[own].bitPatterns, "row \(row), token \(place)")
      }
      probe.source = source
    }
    for place in [1, 16, 29] {
      probe.inputs[place] = (inputs[place] + 1) % Int32(classes)
      let after = try probe.logits()
      let first = place * classes
      #expect(after[..<first].bitPatterns == before[..<first].bitPatterns)
      #expect(after[first...].bitPatterns != before[first...].bitPatterns)
      probe.inputs = inputs
    }
  }

  @Test(
    "targets that go on by a token have the bits of whole passes, several side by side",
    arguments: Precision.allCases)
  func incremental(precision: Precision) throws {
    let probe = try ModelProbe(
      config(tokenShift: true, precision: precision), threads: 2, disorder: 0.05)
    let config = probe.model.config
    let whole = probe.source
    let sources = [whole, Array(whole[..<5]), Array(whole[7..<30])]
    let targets = (0..<3).map { number in
      [3]
        + madeUpTokens(config.length - 1, vocabulary: config.vocabulary, seed: 40 + UInt64(number))
    }
    let expected = try zip(sources, targets).map { source, target in
      (probe.source, probe.inputs) = (source, target)
      return try probe.logits()
    }
    let pass = try IncrementalPass(
      config: config, parameters: probe.parameters.view, sequences: 3, engine: probe.engine)
    var order = [0, 1, 2]
    func check(_ logits: Matrix, at position: Int) {
      for (row, index) in order.enumerated() {
        let own = position * config.vocabulary..<(position + 1) * config.vocabulary
        #expect(
          logits.row(row).array.bitPatterns == expected[index][own].bitPatterns,
          "sequence \(index), position \(position)")
      }
    }
    pass.begin(order.map { _ in probe.address })
    check(try pass.read(sources: sources, begin: 3), at: 0)
    for position in 1..<config.length {
      if position == 12 {
        // One is over, and another goes on twice.
        order = [2, 0, 2]
        try pass.keep(order)
      }
      check(try pass.step(order.map { targets[$0][position] }), at: position)
    }
  }

  @Test("what no model with an encoder can be is named")
  func refused() throws {
    func message(_ change: (inout ReformerConfig) -> Void) -> String {
      var config = config()
      change(&config)
      do throws(ReformerError) { try config.check() } catch { return error.description }
      return ""
    }
    #expect(message { _ in } == "")
    #expect(message { $0.sourceLength = 0 }.contains("source length 0; legal: 1 to"))
    #expect(message { $0.encoder = [] }.contains("a source of 41; legal: 0 without an encoder"))
    #expect(message { $0.infusesPositions = true }.contains("legal: rotary ones with an encoder"))
    #expect(message { $0.residual = .plain }.contains("plain residuals; legal: reversible ones"))
    #expect(message { $0.ngrams.orders = [2] }.contains("n-gram counts; legal: none"))
    #expect(
      message { $0.layers[0] = MemoryAttention(rows: 4, isCarried: true) }
        .contains("layers with a memory; legal: none"))
    #expect(
      message { $0.encoder = [SurroundingAttention(chunk: -1)] }.contains(
        "encoder layer 0: chunk -1"))
  }

  @Test("pairs that do not fit are named")
  func windows() throws {
    let probe = try ModelProbe(config())
    for (source, message) in [
      ([Int32](), "a source of 0 positions; this model takes 1 to 41"),
      ([Int32](repeating: 1, count: 42), "a source of 42 positions"),
      ([1, 2, 23], "token 23 at 2; the vocabulary has 23"),
    ] {
      probe.source = source
      #expect { try probe.step() } throws: { "\($0)".contains(message) }
    }
  }
}
