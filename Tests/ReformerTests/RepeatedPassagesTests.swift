import Compute
import Reformer
import TestSupport
import Testing

/// Repeated passages by their definition, a position at a time and with nothing remembered but the place.
struct ReferencePassages {
  let order: Int
  let mostMisses: Int
  let lead: Int

  /// The two rules of the model.
  static let rules = [
    ReferencePassages(order: 5, mostMisses: 0, lead: 1),
    ReferencePassages(order: 12, mostMisses: 8, lead: 48),
  ]

  /// What is expected after each position: the token, hits since the last miss, and misses among the last 16.
  func expectations(_ tokens: [Int32]) -> [[Int]?] {
    var followed: (place: Int, hits: Int, outcomes: [Bool])?
    return tokens.indices.map { position in
      if let last = followed {
        let isHit = tokens[last.place + 1] == tokens[position]
        let outcomes = (last.outcomes + [isHit]).suffix(16)
        followed = (last.place + 1, isHit ? last.hits + 1 : 0, Array(outcomes))
        if outcomes.count(where: { !$0 }) > mostMisses { followed = nil }
      }
      func common(_ place: Int) -> Int {
        (0..<64).prefix { $0 <= place && tokens[place - $0] == tokens[position - $0] }.count
      }
      if let other = (0..<position).last(where: { common($0) >= order }),
        other != followed?.place,
        common(other) >= (followed.map { $0.hits + lead } ?? 0)
      {
        followed = (other, common(other), [])
      }
      return followed.map {
        [Int(tokens[$0.place + 1]), $0.hits, $0.outcomes.count { !$0 }]
      }
    }
  }
}

@Suite("Repeated passages of a window")
struct RepeatedPassagesTests {
  /// Passages that come again with changes, and noise between them.
  static func tokens(vocabulary: Int, seed: UInt64) -> [Int32] {
    let passage = madeUpTokens(90, vocabulary: vocabulary, seed: seed)
    var changed = passage
    for place in [20, 31, 45, 46, 70] { changed[place] = (changed[place] + 1) % Int32(vocabulary) }
    return passage + madeUpTokens(9, vocabulary: vocabulary, seed: seed + 1) + changed
      + madeUpTokens(5, vocabulary: vocabulary, seed: seed + 2) + passage.dropFirst(7)
  }

  private static func expectations(
    _ tokens: [Int32], threads: Int, parts: [Range<Int>]
  ) -> [[[Int]?]] {
    let buffer = Buffer<Int32>(tokens.count)
    buffer.view.copy(from: tokens)
    let memory = Buffer<Int32>(RepeatedPassages.size(capacity: tokens.count))
    memory.view.fill(77)
    let passages = RepeatedPassages(capacity: tokens.count, memory: memory.view)
    let pool = WorkerPool(threadCount: threads)
    return parts.flatMap { part in
      passages.add(part, of: buffer.view, pool: pool)
      return part.map { position in
        ReferencePassages.rules.indices.map { rule in
          passages.expectation(rule, position, of: buffer.view).map {
            [$0.token, $0.hits, $0.misses]
          }
        }
      }
    }
  }

  @Test("places are followed by the definition of the rules", arguments: [2, 3, 20, 256])
  func definition(vocabulary: Int) {
    let tokens = Self.tokens(vocabulary: vocabulary, seed: 4)
    let found = Self.expectations(tokens, threads: 2, parts: [tokens.indices])
    for (rule, reference) in ReferencePassages.rules.enumerated() {
      let expected = reference.expectations(tokens)
      #expect(found.map { $0[rule] } == expected)
      #expect(expected.contains { $0 != nil })
    }
    // The second rule goes on past a change, with the miss remembered; the first has nothing to say there.
    guard vocabulary == 256 else { return }
    let afterChange = 90 + 9 + 31
    #expect(found[afterChange][0] == nil)
    #expect(found[afterChange][1] == [Int(tokens[32]), 0, 2])
  }

  @Test("positions may be added at once or one by one, by any number of threads")
  func parts() {
    let tokens = Self.tokens(vocabulary: 3, seed: 8)
    let whole = Self.expectations(tokens, threads: 1, parts: [tokens.indices])
    #expect(
      Self.expectations(tokens, threads: 3, parts: tokens.indices.map { $0..<$0 + 1 }) == whole)
    #expect(
      Self.expectations(tokens, threads: 2, parts: [0..<50, 50..<tokens.count]) == whole)
  }
}
