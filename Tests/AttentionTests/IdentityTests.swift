import Attention
import Compute
import TestSupport
import Testing

@Suite("Attention identities")
struct IdentityTests {
  /// One kind of each sort with several chunks at length 100.
  static let kinds: [Kind] = [
    .full(shared: true), .full(shared: false), .local(chunk: 16, before: 1),
    .lsh(chunk: 16, before: 1, hashes: 2, buckets: [4, 2]),
    .strict(reach: 16, window: 5, hashes: 2, buckets: [4, 2]),
  ]

  /// Output and gradients of one kind on the inputs all kinds of one seed share.
  private func run(_ kind: Kind, length: Int) -> (output: [Float], gradients: [[Float]]) {
    let probe = AttentionProbe(kind, length: length, seed: 6)
    let output = probe.forward()
    return (output, probe.backward(madeUpNormals(output.count, seed: 8)))
  }

  private func expectClose(_ kind: Kind, _ other: Kind, length: Int) {
    let (first, second) = (run(kind, length: length), run(other, length: length))
    // Other summation orders of the same terms, some hundred of them.
    #expect(relativeDifference(first.output, to: second.output) <= 1e-5)
    for (one, another) in zip(first.gradients, second.gradients) {
      #expect(relativeDifference(one, to: another) <= 2e-5)
    }
  }

  @Test(
    "local attention whose window reaches the start is full attention", arguments: [17, 64, 100])
  func localIsFull(length: Int) {
    expectClose(.local(chunk: 16, before: 6), .full(shared: false), length: length)
  }

  @Test(
    "one round whose window holds the whole list is full shared attention",
    arguments: [17, 64, 100])
  func roundIsFull(length: Int) {
    let chunks = (length + 15) / 16
    for buckets in [[2], [8], [4, 2]] {
      expectClose(
        .lsh(chunk: 16, before: chunks - 1, hashes: 1, buckets: buckets), .full(shared: true),
        length: length)
    }
  }

  @Test("rounds that all see everything count every key equally often")
  func roundsAreFull() {
    let (length, chunks) = (60, 4)
    let rounds = run(
      .lsh(chunk: 16, before: 2 * chunks - 1, hashes: 2, buckets: [4]), length: length)
    let full = run(.full(shared: true), length: length)
    // The first position sees nothing but itself, and rounds of such rows are weighed coarsely.
    let first = 2 * 8
    #expect(
      relativeDifference(rounds.output.dropFirst(first), to: full.output.dropFirst(first)) <= 1e-5)
    #expect(
      largestDifference(rounds.output.prefix(first), full.output.prefix(first))
        <= 0x1p-7 * Double(full.output.prefix(first).map(abs).max() ?? 0))
  }

  @Test(
    "a strict bucket that holds everything is full shared attention, and keys seen in both lists count twice",
    arguments: [17, 64, 150, 1300], [false, true])
  func bucketIsFull(length: Int, twice: Bool) {
    let probe = AttentionProbe(
      .strict(reach: length, window: twice ? length : 0, hashes: 1, buckets: [2]), length: length,
      seed: 6)
    // Where all hashes tie, there is one bucket.
    probe.draw(rotations: [Float](repeating: 0, count: 2 * 8))
    let output = probe.forward()
    let full = run(.full(shared: true), length: length)
    #expect(relativeDifference(output, to: full.output) <= 1e-5)
    for (one, another) in zip(
      probe.backward(madeUpNormals(output.count, seed: 8)), full.gradients)
    {
      #expect(relativeDifference(one, to: another) <= 2e-5)
    }
  }

  @Test("a sequence that goes on has the bits it had", arguments: [1, 63, 64, 65, 130, 211])
  func prefix(length: Int) {
    for kind in [
      Kind.strict(reach: 70, window: 0, hashes: 2, buckets: [2]),
      .strict(reach: 5, window: 66, hashes: 1, buckets: [4, 2]),
    ] {
      let whole = AttentionProbe(kind, length: 333)
      let part = AttentionProbe(kind, length: length)
      let size = length * whole.heads * whole.width
      part.projected = whole.projected.map { Array($0[..<size]) }
      #expect(part.forward().bitPatterns == whole.forward()[..<size].bitPatterns)
    }
  }

  @Test("a sequence that fits a chunk is full attention, bit for bit", arguments: [1, 7, 16])
  func fallback(length: Int) {
    for (kind, full) in [
      (Kind.local(chunk: 16, before: 1), Kind.full(shared: false)),
      (.lsh(chunk: 16, before: 1, hashes: 2, buckets: [4]), .full(shared: true)),
    ] {
      let (first, second) = (run(kind, length: length), run(full, length: length))
      #expect(first.output.bitPatterns == second.output.bitPatterns)
      #expect(first.gradients.map(\.bitPatterns) == second.gradients.map(\.bitPatterns))
    }
  }

  /// The 16 features of token 41.
  private static let changed = 41 * 16..<42 * 16

  private static func change(_ values: inout [Float]) {
    for place in changed { values[place] += 3 }
  }

  private func expectChange(from before: [Float], to after: [Float]) {
    let start = Self.changed.lowerBound
    #expect(before[..<start].bitPatterns == after[..<start].bitPatterns)
    #expect(before[start...].bitPatterns != after[start...].bitPatterns)
  }

  @Test(
    "a later token never changes an earlier output, bit for bit",
    arguments: kinds.filter(\.layer.isStrictlyCausal))
  func causality(kind: Kind) {
    let probe = AttentionProbe(kind, length: 100)
    let before = probe.forward()
    for index in probe.projected.indices { Self.change(&probe.projected[index]) }
    expectChange(from: before, to: probe.forward())
  }

  // A changed query moves its position in the sorted list, and with it what others see; that their
  // sight is still what the hashes say and never later is checked against the reference. A changed
  // value moves nothing.
  @Test("with the order held, a later token never changes an earlier output of LSH, bit for bit")
  func causalityOfLSH() {
    for rotations in [nil, [Float](repeating: 0, count: 2 * 8 * 2 * 3)] {
      let probe = AttentionProbe(
        .lsh(chunk: 16, before: 1, hashes: 2, buckets: [4, 2]), length: 100)
      probe.draw(rotations: rotations)
      let before = probe.forward()
      let order = probe.order
      if rotations != nil { Self.change(&probe.projected[0]) }
      Self.change(&probe.projected[1])
      expectChange(from: before, to: probe.forward())
      #expect(probe.order == order)
    }
  }

  @Test("what is asked of one output changes nothing after it", arguments: kinds)
  func causalityOfGradients(kind: Kind) {
    let probe = AttentionProbe(kind, length: 100)
    var incoming = [Float](repeating: 0, count: probe.forward().count)
    Self.change(&incoming)
    for gradient in probe.backward(incoming) {
      #expect(gradient[Self.changed.upperBound...].allSatisfy { $0 == 0 })
      #expect(gradient[..<Self.changed.upperBound].contains { $0 != 0 })
    }
  }

  @Test(
    "bits do not depend on the number of threads",
    arguments: [
      Kind.full(shared: true), .full(shared: false), .local(chunk: 64, before: 2),
      .lsh(chunk: 32, before: 1, hashes: 2, buckets: [8, 4]),
    ])
  func threads(kind: Kind) {
    let length = 1500
    let runs = [1, 2, 3].map { threads in
      let probe = AttentionProbe(kind, length: length, threads: threads)
      probe.draw(dropout: 0.1)
      let output = probe.forward()
      let gradients = probe.backward(madeUpNormals(output.count, seed: 3))
      return [output.bitPatterns] + gradients.map(\.bitPatterns)
    }
    #expect(runs[1] == runs[0])
    #expect(runs[2] == runs[0])
  }

  @Test("rotations follow from the address: seed, step, sample, layer and model-wide head")
  func rotationAddresses() {
    let kind = Kind.lsh(chunk: 4, before: 1, hashes: 2, buckets: [8])
    let whole = AttentionProbe(kind, length: 40, heads: 3)
    let part = AttentionProbe(kind, length: 40, heads: 1, firstHead: 2)
    part.projected = whole.projected.map { whole.head(2, of: $0) }
    #expect(part.forward().bitPatterns == whole.head(2, of: whole.forward()).bitPatterns)

    let order = part.order
    part.draw(step: 4)
    part.forward()
    #expect(part.order != order)
  }

  @Test("dropout changes single outputs but not their expectation", arguments: kinds)
  func dropout(kind: Kind) {
    let probe = AttentionProbe(kind, length: 50, heads: 1)
    // Rotations must not change from pass to pass.
    probe.draw(rotations: madeUpNormals(8 * 2 * 3, seed: 12))
    let exact = probe.forward()
    let weights = madeUpNormals(exact.count, seed: 13)
    func projection(_ output: [Float]) -> Double {
      zip(output, weights).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
    let passes = 400
    let seen = (0..<passes).map { pass in
      probe.draw(dropout: 0.25, step: UInt64(pass))
      return projection(probe.forward())
    }
    let mean = seen.reduce(0, +) / Double(passes)
    let variance = seen.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(passes - 1)
    #expect(variance > 0)
    // Five standard errors: one in some million seeds would miss.
    #expect(abs(mean - projection(exact)) <= 5 * (variance / Double(passes)).squareRoot())
  }
}
