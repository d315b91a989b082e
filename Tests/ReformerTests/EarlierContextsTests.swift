import Compute
import Reformer
import TestSupport
import Testing

@Suite("Earlier contexts of a window")
struct EarlierContextsTests {
  private static let orders = EarlierContexts.orders([4, 2])

  private static func followers(
    _ tokens: [Int32], threads: Int, parts: [Range<Int>]
  ) -> [[[Int]]] {
    let buffer = Buffer<Int32>(tokens.count)
    buffer.view.copy(from: tokens)
    let memory = Buffer<Int32>(EarlierContexts.size(capacity: tokens.count, orders: orders))
    let contexts = EarlierContexts(capacity: tokens.count, orders: orders, memory: memory.view)
    let pool = WorkerPool(threadCount: threads)
    var result: [[[Int]]] = []
    for part in parts {
      contexts.add(part, of: buffer.view, pool: pool)
      for position in part {
        result.append(
          orders.indices.map { index in
            let followers = contexts.followers(index, position, of: buffer.view)
            return (0..<followers.kinds).flatMap { [followers[$0].token, followers[$0].count] }
          })
      }
    }
    return result
  }

  @Test("followers are those of the latest 15 earlier places, latest first", arguments: [2, 7])
  func definition(vocabulary: Int) {
    let tokens = madeUpTokens(203, vocabulary: vocabulary, seed: 4)
    let found = Self.followers(tokens, threads: 2, parts: [0..<203])
    var longest = 0
    for position in tokens.indices {
      for (index, order) in [1, 2, 4].enumerated() {
        var expected: [Int] = []
        var places = 0
        for place in (0..<position).reversed()
        where place + 1 >= order && places < 15
          && tokens[place + 1 - order...place] == tokens[position + 1 - order...position]
        {
          places += 1
          let token = Int(tokens[place + 1])
          if let known = expected.indices.first(where: { $0 % 2 == 0 && expected[$0] == token }) {
            expected[known + 1] += 1
          } else {
            expected += [token, 1]
          }
        }
        #expect(found[position][index] == expected, "order \(order) at \(position)")
        longest = max(longest, places)
      }
    }
    #expect(longest == 15)
  }

  @Test("positions may be added at once or one by one, by any number of threads")
  func parts() {
    let tokens = madeUpTokens(131, vocabulary: 3, seed: 8)
    let whole = Self.followers(tokens, threads: 1, parts: [0..<131])
    #expect(Self.followers(tokens, threads: 3, parts: (0..<131).map { $0..<$0 + 1 }) == whole)
    #expect(Self.followers(tokens, threads: 2, parts: [0..<50, 50..<131]) == whole)
  }
}
