// Sequences that go on by a token at a time have the logits of passes over whole windows, to the bit.
import Attention
import Compute
import Reformer
import TestSupport
import Testing

@Suite("Incremental passes")
struct IncrementalPassTests {
  struct Case: Sendable, CustomStringConvertible {
    var kinds: [AttentionKind]
    var lsh = smallLSH
    var length = 131
    var headsPerGroup = 2
    var sharesQueryKey = false
    var activation = Activation.relu
    var tokenShift = false
    var isRotary = false
    var isInfused = false
    var ngrams = NGramSizes()
    var precision = Precision.fp32
    var residual = ResidualKind.reversible
    var description: String {
      "\(kinds), \(lsh.hashes) rounds, window \(lsh.window), \(length) positions\(isRotary ? ", rotary" : isInfused ? ", infused" : ""), "
        + "\(precision), \(residual)"
    }
    var config: ReformerConfig {
      smallConfig(
        kinds, length: length, heads: 4, headsPerGroup: headsPerGroup, activation: activation,
        tokenShift: tokenShift, axialShape: [length / 16 + 1, 16],
        fullSharedQueryKey: sharesQueryKey, lsh: lsh, isRotary: isRotary, isInfused: isInfused,
        ngrams: ngrams, precision: precision, residual: residual)
    }
  }

  static let cases = [
    Case(kinds: [.local], length: 77),
    Case(kinds: [.full], headsPerGroup: 4, sharesQueryKey: true),
    Case(kinds: [.full], headsPerGroup: 1, activation: .gelu),
    Case(kinds: [.full], sharesQueryKey: true, isRotary: true),
    Case(
      kinds: [.local, .lsh, .full], lsh: strictLSH(hashes: 2, window: 9), length: 1100,
      activation: .relu2, tokenShift: true, isRotary: true),
    Case(kinds: [.lsh], lsh: strictLSH(hashes: 1)),
    Case(
      kinds: [.lsh, .local], lsh: strictLSH(hashes: 1, window: 70), headsPerGroup: 1,
      tokenShift: true),
    Case(kinds: [.local, .lsh], lsh: strictLSH(hashes: 2, window: 9), activation: .gelu),
    Case(
      kinds: [.local, .lsh, .lsh, .full], lsh: strictLSH(hashes: 3), length: 203,
      ngrams: NGramSizes(orders: [2, 3, 5], rows: 50)),
    Case(
      kinds: [.lsh, .local, .lsh], lsh: strictLSH(hashes: 3, window: 3), length: 99,
      ngrams: NGramSizes(orders: [4, 2, 7], rows: 30)),
    Case(
      kinds: [.local, .lsh, .full], lsh: strictLSH(hashes: 2, window: 9), activation: .relu2,
      tokenShift: true, isRotary: true, precision: .bf16),
    Case(
      kinds: [.lsh, .local], lsh: strictLSH(hashes: 2), isRotary: true, precision: .bf16InBlocks),
    Case(kinds: [.full, .local], headsPerGroup: 1, sharesQueryKey: true, precision: .bf16),
    Case(kinds: patterns, length: 1100, headsPerGroup: 1, isRotary: true),
    Case(kinds: [.full, .local], headsPerGroup: 1, precision: .bf16InBlocks),
    Case(kinds: patterns, activation: .gelu, precision: .bf16InBlocks),
    Case(kinds: [.memory], length: 77), Case(kinds: [.memory, .local], isRotary: true),
    Case(
      kinds: [.local, .sliding, .lsh], lsh: strictLSH(), length: 1100, tokenShift: true,
      isInfused: true),
    Case(kinds: [.full, .blocks, .compressed], isInfused: true, precision: .bf16),
    Case(kinds: [.span], length: 77, headsPerGroup: 1),
    Case(kinds: [.span, .local], length: 1100, isRotary: true, precision: .bf16),
    Case(
      kinds: [.local, .lsh, .full], lsh: strictLSH(), tokenShift: true, isRotary: true,
      residual: .plain),
    Case(kinds: [.linear], length: 77), Case(kinds: [.compressed], headsPerGroup: 1),
    Case(kinds: [.local, .compressed], length: 1100, isRotary: true, precision: .bf16),
    Case(kinds: [.blocks], length: 203, headsPerGroup: 1),
    Case(kinds: [.blocks, .local, .blocks], length: 1100, isRotary: true, precision: .bf16),
    Case(
      kinds: [.linear, .local, .linear], length: 1100, headsPerGroup: 1, isRotary: true,
      precision: .bf16),
  ]

  private static let patterns: [AttentionKind] = [.sliding, .strided, .fixed, .bigbird]

  /// A model with counts of made-up windows, where it has any.
  private func probe(_ test: Case, seed: UInt64 = 1) throws -> ModelProbe {
    let probe = try ModelProbe(test.config, threads: 2, seed: seed, disorder: 0.05)
    if let ngrams = probe.model.ngrams {
      for slot in probe.model.layout.slots where slot.specification.kind == .counts {
        probe.parameters.view[slot.range].fill(0)
      }
      for seed in 1..<5 as Range<UInt64> {
        // Few different tokens, so that contexts come again, the window's own among them.
        let tokens = madeUpTokens(test.length, vocabulary: 3, seed: seed)
        ngrams.count(
          Window(inputs: tokens.dropLast(), targets: tokens.dropFirst()),
          in: probe.parameters.view)
      }
      probe.inputs = madeUpTokens(test.length, vocabulary: 3, seed: 2)
    }
    return probe
  }

  private func row(_ logits: [Float], _ index: Int) -> [UInt32] {
    Array(logits[index * 23..<(index + 1) * 23]).bitPatterns
  }

  @Test(
    "each step has the logits of the whole window, at 1 and 2 threads", arguments: cases, [1, 2])
  func steps(test: Case, threads: Int) throws {
    let probe = try probe(test)
    let logits = try probe.logits()
    let incremental = try IncrementalPass(
      config: test.config, parameters: probe.parameters.view, sequences: 1,
      engine: Engine(threads: threads))
    incremental.begin([probe.address])
    for (index, token) in probe.inputs.enumerated() {
      let next = try incremental.step([token])
      #expect(next.row(0).array.bitPatterns == row(logits, index), "position \(index)")
    }
  }

  @Test("a start that is read at once, and the steps after it", arguments: cases)
  func start(test: Case) throws {
    let probe = try probe(test)
    let logits = try probe.logits()
    let incremental = try IncrementalPass(
      config: test.config, parameters: probe.parameters.view, sequences: 1,
      engine: probe.engine)
    for count in [1, 9, 37, 64, test.length - 3, test.length] {
      incremental.begin([probe.address])
      let next = try incremental.read(Array(probe.inputs[..<count]))
      #expect(next.array.bitPatterns == row(logits, count - 1), "\(count) at once")
      for index in count..<test.length {
        let next = try incremental.step([probe.inputs[index]])
        #expect(next.row(0).array.bitPatterns == row(logits, index), "\(count), then \(index)")
      }
    }
  }

  @Test("sequences side by side, each with rotations of its own, the last ones ending early")
  func sideBySide() throws {
    for test in Self.cases {
      // So many that each thread has tiles of its own, and later so few that threads share out products.
      let probes = try (0..<19).map { number in
        let probe = try probe(test)
        probe.inputs = madeUpTokens(
          test.length - 4 * number, vocabulary: 5, seed: 40 + UInt64(number))
        probe.targets = probe.inputs
        probe.address.sample = UInt64(number)
        return probe
      }
      let logits = try probes.map { try $0.logits() }
      let incremental = try IncrementalPass(
        config: test.config, parameters: probes[0].parameters.view, sequences: 19,
        engine: probes[0].engine)
      incremental.begin(probes.map(\.address))
      for index in 0..<test.length {
        let running = probes.filter { $0.inputs.count > index }
        let next = try incremental.step(running.map { $0.inputs[index] })
        for number in running.indices {
          #expect(
            next.row(number).array.bitPatterns == row(logits[number], index),
            "\(test): sequence \(number), position \(index)")
        }
      }
    }
  }

  @Test("what was before is forgotten")
  func again() throws {
    let test = Self.cases[7]
    let probe = try probe(test)
    let logits = try probe.logits()
    let incremental = try IncrementalPass(
      config: test.config, parameters: probe.parameters.view, sequences: 2, engine: probe.engine)
    incremental.begin([probe.address, probe.address])
    for token in probe.inputs.reversed() { _ = try incremental.step([token, token]) }
    incremental.begin([probe.address])
    _ = try incremental.read(Array(probe.inputs[..<20]))
    for index in 20..<test.length {
      let next = try incremental.step([probe.inputs[index]])
      #expect(next.row(0).array.bitPatterns == row(logits, index))
    }
  }

  @Test("a model with the paper's sight reads all of a sequence's tokens")
  func chunks() throws {
    let probe = try ModelProbe(smallConfig([.local, .lsh]), disorder: 0.05)
    let incremental = try IncrementalPass(
      config: probe.model.config, parameters: probe.parameters.view, sequences: 1,
      engine: probe.engine)
    #expect(!incremental.isStrict)
    let tokens = probe.inputs
    for count in [1, 8, 17, 40] {
      probe.inputs = Array(tokens[..<count])
      probe.targets = probe.inputs
      incremental.begin([probe.address])
      let next = try incremental.read(probe.inputs)
      #expect(next.array.bitPatterns == row(try probe.logits(), count - 1))
    }
  }

  @Test("tokens that the model cannot read, and a start longer than its windows")
  func refusals() throws {
    let probe = try ModelProbe(smallConfig([.local]))
    let incremental = try IncrementalPass(
      config: probe.model.config, parameters: probe.parameters.view, sequences: 1,
      engine: probe.engine)
    for tokens in [[], [0, 23], [Int32](repeating: 1, count: 41)] {
      incremental.begin([probe.address])
      #expect(throws: ReformerError.self) { _ = try incremental.read(tokens) }
    }
  }
}
