// Models of layers that claim strict causality: no bit of a logit follows from a later token.
import Attention
import Compute
import Reformer
import TestSupport
import Testing

@Suite("Strict causality of whole models")
struct StrictnessTests {
  struct Case: Sendable, CustomStringConvertible {
    let lsh: LSHAttention
    let length: Int
    var precision = Precision.fp32
    var tokenShift = false
    var kinds: [AttentionKind] = [.local, .lsh, .lsh, .local, .lsh]
    var description: String {
      "\(kinds), \(lsh.hashes) rounds, window \(lsh.window), \(length) positions, \(precision)"
    }
  }

  static let cases =
    [
      (hashes: 1, window: 0, length: 37), (2, 9, 131), (3, 0, 257), (4, 70, 333), (4, 0, 61),
    ].map { Case(lsh: strictLSH(hashes: $0.hashes, window: $0.window), length: $0.length) }
    + [Precision.bf16, .bf16InBlocks].map {
      Case(lsh: strictLSH(hashes: 2, window: 9), length: 203, precision: $0)
    }
    + [Case(lsh: strictLSH(hashes: 2, window: 9), length: 203, tokenShift: true)]
    + [37, 333].map {
      Case(
        lsh: strictLSH(), length: $0,
        kinds: [.sliding, .strided, .lsh, .fixed, .bigbird])
    }
    + [131, 333].flatMap { length in
      [
        [AttentionKind.linear, .compressed, .linear], [.blocks, .local, .blocks], [.memory, .span],
      ].map {
        Case(lsh: smallLSH, length: length, kinds: $0)
      }
    }

  private func probe(_ test: Case, keepActivations: Bool = false) throws -> ModelProbe {
    try ModelProbe(
      smallConfig(
        test.kinds, length: test.length, tokenShift: test.tokenShift,
        axialShape: [test.length / 16 + 1, 16], lsh: test.lsh, precision: test.precision),
      threads: 2,
      keepActivations: keepActivations, disorder: 0.05)
  }

  @Test(
    "all logits before a changed token are equal to the bit", arguments: cases, [false, true])
  func logits(test: Case, keepActivations: Bool) throws {
    let probe = try probe(test, keepActivations: keepActivations)
    let classes = probe.model.config.vocabulary
    let before = try probe.logits()
    let tokens = probe.inputs
    for first in [1, test.length / 3, test.length / 2, test.length - 2, test.length - 1] {
      probe.inputs = tokens
      for place in first..<test.length {
        probe.inputs[place] = (tokens[place] + 1 + Int32(place % 21)) % 23
      }
      let after = try probe.logits()
      #expect(
        after[..<(first * classes)].bitPatterns == before[..<(first * classes)].bitPatterns,
        "changed from \(first) on")
      #expect(after.bitPatterns != before.bitPatterns)
    }
  }

  @Test("a window cut short has the logits of the whole, to the bit", arguments: cases)
  func prefix(test: Case) throws {
    let whole = try probe(test)
    let logits = try whole.logits()
    for length in [9, test.length / 2, test.length - 1] {
      let part = try probe(test)
      part.inputs = Array(whole.inputs[..<length])
      part.targets = Array(whole.targets[..<length])
      #expect(
        try part.logits().bitPatterns
          == logits[..<(length * part.model.config.vocabulary)].bitPatterns, "\(length) tokens")
    }
  }

  // The paper's sight is what the promise is not true of; the test above would be no test otherwise.
  @Test("chunks of the sorted list let later tokens through")
  func chunks() throws {
    let probe = try probe(
      Case(
        lsh: LSHAttention(chunk: 8, chunksBefore: 1, hashes: 1, buckets: [4, 2]), length: 257))
    let before = try probe.logits()
    for place in 200..<257 { probe.inputs[place] = (probe.inputs[place] + 1) % 23 }
    let first = 200 * probe.model.config.vocabulary
    #expect(try probe.logits()[..<first].bitPatterns != before[..<first].bitPatterns)
  }
}
