// Where a window seems to repeat a passage of its own: what went on there is likely to go on here, even after a word that
// differs. Compressors have known it for long (Mahoney 2005, "Adaptive weighing of context models for lossless data
// compression", match models); contexts of n tokens forget where they were with each token that is new.
import Compute

/// The places that the text of one window may be going on from, by two rules.
///
/// L positions of the longest window.
package struct RepeatedPassages: Sendable {
  /// How a place is found, and how long it is believed.
  struct Rule {
    /// Tokens that a place has in common with the text before it is followed.
    let order: Int
    /// It is given up after more misses than these in the last 16 tokens.
    let mostMisses: Int
    /// Another place takes over where it has had so many more tokens in common without a miss.
    let lead: Int
  }

  /// One that jumps to the latest place after each miss, and one that goes on in long passages with small changes.
  static let rules = [
    Rule(order: 5, mostMisses: 0, lead: 1), Rule(order: 12, mostMisses: 8, lead: 48),
  ]
  // Tokens that are compared to tell which of two places has more in common.
  private static let longestComparison = 64
  private static let remembered: Int32 = 0xFFFF

  /// What a place says of the next token.
  package struct Expectation: Equatable {
    /// The token that followed there.
    package let token: Int
    /// Tokens since the last miss.
    package let hits: Int
    /// Misses among the last 16 tokens.
    package let misses: Int
  }

  private let contexts: EarlierContexts
  private let capacity: Int
  /// `[rules, L]`: places that went on as each position may, -1 for none.
  private let places: View<Int32>
  /// `[rules, L]`: tokens in common there since the last miss.
  private let hits: View<Int32>
  /// `[rules, L]`: the last 16 tokens, a bit for each, 1 for misses.
  private let misses: View<Int32>

  private static var orders: [Int] { rules.map(\.order) }

  /// Numbers of 32 bits that windows of up to `capacity` positions need.
  package static func size(capacity: Int) -> Int {
    EarlierContexts.size(capacity: capacity, orders: orders) + 3 * rules.count * capacity
  }

  /// No position yet, in `memory` of `size`.
  package init(capacity: Int, memory: View<Int32>) {
    let contextSize = EarlierContexts.size(capacity: capacity, orders: Self.orders)
    contexts = EarlierContexts(
      capacity: capacity, orders: Self.orders, memory: memory[0..<contextSize])
    self.capacity = capacity
    let count = Self.rules.count * capacity
    let rest = memory[contextSize..<contextSize + 3 * count]
    places = rest[0..<count]
    hits = rest[count..<2 * count]
    misses = rest[2 * count..<3 * count]
  }

  /// Adds the positions of `range`, which follow those that are there, of `tokens`.
  package func add(_ range: Range<Int>, of tokens: View<Int32>, pool: WorkerPool) {
    pool.run(Self.rules.count) { rule, _ in add(range, of: tokens, rule) }
  }

  /// The same on the calling thread.
  func add(_ range: Range<Int>, of tokens: View<Int32>) {
    for rule in Self.rules.indices { add(range, of: tokens, rule) }
  }

  private func add(_ range: Range<Int>, of tokens: View<Int32>, _ number: Int) {
    contexts.add(range, of: tokens, number)
    let rule = Self.rules[number]
    for position in range {
      let own = number * capacity + position
      var (place, hits, misses): (Int, Int32, Int32) = (-1, 0, 0)
      if position > 0, places[own - 1] >= 0 {
        place = Int(places[own - 1]) + 1
        let isMiss = tokens[place] != tokens[position]
        hits = isMiss ? 0 : self.hits[own - 1] + 1
        misses = (self.misses[own - 1] << 1 | (isMiss ? 1 : 0)) & Self.remembered
        if misses.nonzeroBitCount > rule.mostMisses { place = -1 }
      }
      let other = contexts.place(number, position)
      if other >= 0, other != place {
        let common = commonTokens(tokens, other, position)
        if place < 0 || common >= Int(hits) + rule.lead {
          (place, hits, misses) = (other, Int32(common), 0)
        }
      }
      (places[own], self.hits[own], self.misses[own]) = (Int32(place), hits, misses)
    }
  }

  private func commonTokens(_ tokens: View<Int32>, _ place: Int, _ position: Int) -> Int {
    var count = 0
    while count < Self.longestComparison, count <= place,
      tokens.base[place - count] == tokens.base[position - count]
    {
      count += 1
    }
    return count
  }

  /// What rule `rule` expects after `position`; nil where it follows no place.
  package func expectation(
    _ rule: Int, _ position: Int, of tokens: View<Int32>
  ) -> Expectation? {
    let own = rule * capacity + position
    let place = Int(places[own])
    guard place >= 0 else { return nil }
    return Expectation(
      token: Int(tokens[place + 1]), hits: Int(hits[own]), misses: misses[own].nonzeroBitCount)
  }
}
