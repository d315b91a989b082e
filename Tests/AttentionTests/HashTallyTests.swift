// What hashes come to, counted by the layer, against what the lists say one query and key at a time.
import Attention
import Testing

@Suite("Counts of hashing")
struct HashTallyTests {
  /// Keys before a query in its list, by the definition of each sight: `[round][query]`.
  private func seen(
    _ kind: Kind, _ buckets: [[Int]], length: Int
  ) -> [[[Int]]] {
    switch kind {
    case .strict(let reach, _, _, _):
      return buckets.map { round in
        (0..<length).map { query in
          (0..<query).filter { round[$0] == round[query] }.suffix(reach)
        }
      }
    case .lsh(let chunk, let before, _, _):
      // One circular list of all rounds, each padded to whole chunks with places that nothing sees.
      let padded = (length + chunk - 1) / chunk * chunk
      let list = buckets.flatMap { round in
        (0..<length).sorted { (round[$0], $0) < (round[$1], $1) } + Array(length..<padded)
      }
      return buckets.indices.map { round in
        var keys = [[Int]](repeating: [], count: length)
        for place in round * padded..<(round + 1) * padded where list[place] < length {
          let first = (place / chunk - before) * chunk
          keys[list[place]] = (first..<first + (before + 1) * chunk).map {
            list[(($0 % list.count) + list.count) % list.count]
          }.filter { $0 < list[place] }
        }
        return keys
      }
    case .full, .local: preconditionFailure("no hashes")
    }
  }

  @Test(
    "counts equal those of the definition, summed over heads and passes",
    arguments: [
      Kind.lsh(chunk: 8, before: 1, hashes: 1, buckets: [4]),
      .lsh(chunk: 7, before: 2, hashes: 3, buckets: [2, 2]),
      .lsh(chunk: 4, before: 0, hashes: 2, buckets: [16]),
      .strict(reach: 6, window: 0, hashes: 1, buckets: [8]),
      .strict(reach: 3, window: 2, hashes: 2, buckets: [16]),
      .strict(reach: 40, window: 0, hashes: 2, buckets: [2, 32]),
    ])
  func definition(kind: Kind) throws {
    for length in [9, 50, 83] {
      let probe = AttentionProbe(kind, length: length, heads: 2, seed: 7)
      let tally = HashTally()
      let plain = probe.forward()
      probe.count(tally)
      #expect(probe.forward() == plain)
      probe.forward()
      var expected = HashCounts()
      let (hashes, factors, window) =
        switch kind {
        case .lsh(_, _, let hashes, let buckets): (hashes, buckets, 0)
        case .strict(_, let window, let hashes, let buckets): (hashes, buckets, window)
        case .full, .local: (0, [], 0)
        }
      for head in 0..<2 {
        let buckets = probe.hashed(head: head, hashes: hashes, buckets: factors).buckets
        let seen = seen(kind, buckets, length: length)
        for (round, keys) in zip(buckets, seen) {
          let count = factors.reduce(1, *)
          expected.squaredLengths += length * length
          for bucket in 0..<count {
            let size = round.count { $0 == bucket }
            expected.squaredBuckets += count * size * size
          }
          for query in 0..<length {
            expected.keys += keys[query].count
            expected.keysOfBucket += keys[query].count { round[$0] == round[query] }
          }
        }
        expected.queries += length
        expected.queriesAlone += (0..<length).count { query in
          seen.allSatisfy { $0[query].isEmpty } && (window == 0 || query == 0)
        }
      }
      #expect(expected.keysOfBucket > 0 && expected.queriesAlone > 0)
      #expect(tally.layers == [4: expected + expected])
    }
  }

  @Test("without the causal mask keys behind a query count as those before it")
  func unmasked() throws {
    let layer = LSHAttention(chunk: 7, chunksBefore: 1, hashes: 2, buckets: [4]).unmasked
    let probe = AttentionProbe(try #require(layer), length: 50)
    let tally = HashTally()
    probe.count(tally)
    probe.forward()
    let seen = (0..<probe.heads).flatMap { head in
      probe.sight(head: head).keys.enumerated().map { query, keys in
        keys.count { $0.position != query }
      }
    }
    #expect(tally.layers.values.map(\.keys) == [seen.reduce(0, +)])
    #expect(tally.layers.values.map(\.queriesAlone) == [seen.count { $0 == 0 }])
  }

  @Test("a window that one chunk holds is not hashed, and not counted")
  func whole() {
    let probe = AttentionProbe(
      Kind.lsh(chunk: 16, before: 1, hashes: 2, buckets: [4]), length: 16)
    let tally = HashTally()
    probe.count(tally)
    probe.forward()
    #expect(tally.layers.isEmpty)
  }
}
