import Attention
import Compute
import TestSupport
import Testing

@Suite("Attention against the naive reference")
struct ReferenceTests {
  static let lengths = [1, 7, 64, 100, 129]

  /// Outputs and gradients of every head, dropout off and on.
  private func check(_ probe: AttentionProbe) throws {
    for rate in [0, 0.3] {
      probe.draw(dropout: rate)
      let output = probe.forward()
      let references = (0..<probe.heads).map { probe.reference(head: $0) }
      // Closer calls could fall either way in single precision; such a seed would be no test.
      try #require(references.allSatisfy { $0.smallestMargin > 2e-6 })
      var incoming = madeUpNormals(output.count, seed: 77)
      for (head, reference) in references.enumerated() {
        let expected = probe.output(reference.attention, head: head)
        for row in 0..<probe.length {
          let features = row * probe.width..<(row + 1) * probe.width
          let seen = probe.head(head, of: output)[features]
          var limit = 3e-5  // logits of size 10 are 1e-6 off, probabilities by that factor
          if probe.isCoarse(row: row, head: head, reference.attention) {
            // Each of three roundings to 1/128 of log-sum-exps is off by half of that.
            limit += 3.0 / 256 * (expected[features].map(abs).max() ?? 0)
            for place in probe.place(row: row, head: head) { incoming[place] = 0 }
          }
          #expect(
            largestDifference(seen, expected[features]) <= limit,
            "row \(row), head \(head), dropout \(rate)")
        }
      }
      let gradients = probe.backward(incoming)
      for (head, reference) in references.enumerated() {
        // The reference is differenced with the buckets held, as the gradient of a hash is none.
        let weights = probe.head(head, of: incoming)
        for (index, values) in probe.projected.enumerated() {
          let error = GradientCheck.worstError(
            of: probe.head(head, of: gradients[index]), at: probe.head(head, of: values),
            floor: 0.1, seed: 5
          ) { moved in
            let output = probe.output(reference.attention, head: head, replacing: index, by: moved)
            return zip(output, weights).reduce(0) { $0 + $1.0 * Double($1.1) }
          }
          // Single precision over sums of some hundred terms.
          #expect(
            error <= 1e-4, "\(probe.layer.projections[index]) of head \(head), dropout \(rate)")
        }
      }
    }
  }

  @Test("full attention", arguments: lengths, [false, true])
  func full(length: Int, shared: Bool) throws {
    try check(AttentionProbe(.full(shared: shared), length: length, heads: 2, width: 8))
  }

  @Test("local attention", arguments: lengths, [(4, 0), (4, 1), (4, 3), (16, 1), (16, 2), (64, 1)])
  func local(length: Int, sizes: (chunk: Int, before: Int)) throws {
    try check(
      AttentionProbe(.local(chunk: sizes.chunk, before: sizes.before), length: length, heads: 2))
  }

  @Test(
    "LSH attention", arguments: lengths,
    [
      Kind.lsh(chunk: 4, before: 0, hashes: 1, buckets: [2]),
      .lsh(chunk: 4, before: 1, hashes: 2, buckets: [8]),
      .lsh(chunk: 4, before: 3, hashes: 4, buckets: [2, 4]),
      .lsh(chunk: 16, before: 1, hashes: 1, buckets: [8]),
      .lsh(chunk: 16, before: 2, hashes: 2, buckets: [4, 2]),
      .lsh(chunk: 16, before: 1, hashes: 4, buckets: [2, 2, 2]),
      .lsh(chunk: 64, before: 1, hashes: 2, buckets: [4]),
    ])
  func lsh(length: Int, kind: Kind) throws {
    try check(AttentionProbe(kind, length: length, heads: 2, width: 8))
  }

  @Test(
    "LSH attention with sight bucket", arguments: lengths + [200],
    [
      // Of one round: a query would see one key whatever it is, and all gradients of scores be rounding around 0.
      Kind.strict(reach: 1, window: 0, hashes: 2, buckets: [2]),
      .strict(reach: 5, window: 3, hashes: 2, buckets: [8]),
      .strict(reach: 64, window: 0, hashes: 4, buckets: [2, 4]),
      .strict(reach: 65, window: 100, hashes: 3, buckets: [2]),
      .strict(reach: 1000, window: 1000, hashes: 1, buckets: [4, 2]),
    ])
  func strict(length: Int, kind: Kind) throws {
    try check(AttentionProbe(kind, length: length, heads: 2, width: 8))
  }

  @Test(
    "every head count and width, from any first head",
    arguments: [(1, 1), (3, 1), (2, 16), (3, 8)],
    [
      Kind.full(shared: true), .full(shared: false), .local(chunk: 16, before: 1),
      .lsh(chunk: 16, before: 1, hashes: 2, buckets: [4]),
      .strict(reach: 16, window: 5, hashes: 2, buckets: [4]),
    ])
  func heads(sizes: (heads: Int, width: Int), kind: Kind) throws {
    try check(
      AttentionProbe(
        kind, length: 50, heads: sizes.heads, width: sizes.width, firstHead: 3, seed: 4))
  }

  // A thread walks through 1024 positions; gradients of the keys before them wait for the others.
  @Test(
    "sequences of several threads' work",
    arguments: [
      Kind.local(chunk: 4, before: 3), .local(chunk: 64, before: 1), .local(chunk: 300, before: 1),
      .lsh(chunk: 16, before: 2, hashes: 2, buckets: [8, 4]),
      .lsh(chunk: 64, before: 1, hashes: 1, buckets: [32]),
      .strict(reach: 100, window: 20, hashes: 2, buckets: [8, 4]),
    ])
  func long(kind: Kind) throws {
    try check(AttentionProbe(kind, length: 2100, heads: 1, threads: 2))
  }

  @Test("given rotations are those of the group's heads")
  func givenRotations() throws {
    let probe = AttentionProbe(
      .lsh(chunk: 4, before: 1, hashes: 2, buckets: [4, 2]), length: 41, heads: 2, firstHead: 1)
    probe.draw(rotations: madeUpNormals(4 * 8 * 2 * 3, seed: 9))
    try check(probe)
  }

  @Test("where all hashes tie, positions stay in order")
  func ties() throws {
    let probe = AttentionProbe(
      .lsh(chunk: 4, before: 1, hashes: 2, buckets: [4]), length: 21, heads: 1)
    probe.draw(rotations: [Float](repeating: 0, count: 8 * 2 * 2))
    let output = probe.forward()
    let inOrder = Array(0..<Int32(24))
    #expect(probe.order == inOrder + inOrder)
    let expected = probe.output(probe.reference(head: 0).attention, head: 0)
    // As in `check`.
    #expect(largestDifference(output, expected) <= 3e-5)
  }
}
