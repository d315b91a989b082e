// What counts say by their definition, slowly: in dictionaries and in double precision.
import Glibc

/// Counts by their definition.
///
/// A context has seen a token as often as longer contexts that end in it have, each once; the longest as often as it
/// was there. Behind them the contexts of the window, as often as they were there before, and the passages it repeats.
struct ReferenceCounts {
  /// A context, shortest lengths first: `counts[i]` has that of `orders[i]`.
  private var counts: [[[Int32]: [Int32: Int]]]
  private let orders: [Int]
  private let vocabulary: Int

  static func context(_ tokens: [Int32], _ position: Int, _ length: Int) -> [Int32] {
    (0..<length).map { position - $0 >= 0 ? tokens[position - $0] : -1 }
  }

  init(orders: [Int], vocabulary: Int, events: [(tokens: [Int32], position: Int)]) {
    self.orders = [0, 1] + orders
    self.vocabulary = vocabulary
    counts = self.orders.map { _ in [:] }
    for (index, order) in self.orders.enumerated() {
      let longer = index + 1 < self.orders.count ? self.orders[index + 1] : nil
      var seen: Set<[Int32]> = []
      for event in events {
        let next = event.tokens[event.position + 1]
        if let longer {
          let one = Self.context(event.tokens, event.position, longer) + [next]
          guard seen.insert(one).inserted else { continue }
        }
        counts[index][Self.context(event.tokens, event.position, order), default: [:]][
          next, default: 0] += 1
      }
    }
  }

  /// A context or passage that has a say, as if nothing were learnt of it.
  struct Claim {
    /// Its kind: which context it is of, half powers of two in its count, and its variety.
    let cell: [Int]
    /// What it leaves to shorter contexts, and what it says of each token of the rest.
    let base: Double
    let parts: [Double]

    init(kind: Int, size: Int, column: Int, base: Double, parts: [Double]) {
      cell = [kind, min(15, Int(2 * log2(Double(size)))), column]
      self.base = base
      self.parts = parts
    }

    /// What it leaves to shorter contexts after learning.
    func share(lowered: Double = 1) -> Double {
      base / (base + (1.001 - base) * lowered)
    }
  }

  /// What the shortest contexts say of the token after `position`, what the others do, and the cell of weights.
  func evidence(
    _ tokens: [Int32], _ position: Int
  ) -> (shortest: [Double], claims: [Claim], place: [Int]) {
    var shortest = [Double](repeating: 1 / Double(vocabulary), count: vocabulary)
    var claims: [Claim] = []
    var place = [0, 0, 0, 0]
    for (index, order) in orders.enumerated() {
      let followers = counts[index][Self.context(tokens, position, order)] ?? [:]
      let total = Double(followers.values.reduce(0, +))
      if order == 0 {
        shortest = (0..<vocabulary).map {
          (Double(followers[Int32($0)] ?? 0) + 0.3) / (total + 0.3 * Double(vocabulary))
        }
      } else if let claim = claim(index - 2, followers) {
        if order == 1 {
          shortest = zip(shortest, claim.parts).map { claim.base * $0 + (1 - claim.base) * $1 }
        } else {
          claims.append(claim)
          place[0] = index - 1
          place[2] = followers.count == 1 ? 1 : 0
        }
      }
    }
    let ofWindow = [1] + orders.dropFirst(2)
    for (index, order) in ofWindow.enumerated() {
      let context = Self.context(tokens, position, order)
      guard !context.contains(-1) else { continue }
      var followers: [Int32: Int] = [:]
      for place in (0..<position).filter({ Self.context(tokens, $0, order) == context }).suffix(
        15)
      { followers[tokens[place + 1], default: 0] += 1 }
      guard let claim = claim(orders.count - 2 + index, followers) else { continue }
      claims.append(claim)
      place[1] = index + 1
      place[2] = followers.count == 1 ? 1 : 0
    }
    for (index, rule) in ReferencePassages.rules.enumerated() {
      guard let next = rule.expectations(Array(tokens[...position]))[position] else { continue }
      claims.append(
        Claim(
          kind: orders.count - 2 + ofWindow.count + index, size: next[1] + 1, column: next[2],
          base: Double(2 * next[2] + 3) / Double(min(next[1], 64) + 2 * next[2] + 4),
          parts: (0..<vocabulary).map { $0 == next[0] ? 1 : 0 }))
      place[3] = max(place[3], next[1] < 8 ? 1 : next[1] < 32 ? 2 : 3)
    }
    return (shortest, claims, place)
  }

  /// Probabilities of all tokens after `position`; escapes are at their first values.
  func predict(_ tokens: [Int32], _ position: Int) -> [Double] {
    let (shortest, claims, _) = evidence(tokens, position)
    return claims.reduce(shortest) { p, claim in
      let share = claim.share()
      return zip(p, claim.parts).map { share * $0 + (1 - share) * $1 }
    }
  }

  /// One context's say, if it has seen any token.
  private func claim(_ kind: Int, _ followers: [Int32: Int]) -> Claim? {
    let total = Double(followers.values.reduce(0, +))
    guard total > 0 else { return nil }
    func discount(_ count: Int) -> Double { count == 1 ? 0.75 : count == 2 ? 0.9 : 1.2 }
    let base = followers.values.reduce(0) { $0 + discount($1) } / total
    return Claim(
      kind: kind, size: Int(total), column: followers.count - 1, base: base,
      parts: (0..<vocabulary).map {
        let count = followers[Int32($0)] ?? 0
        return count == 0 ? 0 : (Double(count) - discount(count)) / total / (1 - base)
      })
  }
}
