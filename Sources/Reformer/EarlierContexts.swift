// Where the contexts of a window stood before in that same window: what repeats there says more of the next token than
// all else that was counted (Kuhn and De Mori 1990, "A cache-based natural language model for speech recognition").
import Compute

/// The places of one window where the last n tokens were the same, by links from each to the one before it.
///
/// L positions of the longest window.
package struct EarlierContexts: Sendable {
  /// Places that are looked at, latest first.
  static let mostPlaces = Followers.places

  /// Tokens of the contexts, ascending.
  let orders: [Int]
  private let capacity: Int
  /// `[orders, L]`: the latest earlier position with that context, -1 for none.
  private let links: View<Int32>
  /// `[orders, slots]`: a hash table of the latest position of each context, -1 for none.
  private let latest: View<Int32>

  /// A context of each of `orders`, beside that of one token, which shorter ones do not say.
  package static func orders(_ orders: [Int]) -> [Int] { [1] + orders.sorted() }

  /// Numbers of 32 bits that windows of up to `capacity` positions need.
  package static func size(capacity: Int, orders: [Int]) -> Int {
    orders.count * (capacity + slots(capacity))
  }

  // At most half of them are taken.
  private static func slots(_ capacity: Int) -> Int {
    1 << (Int.bitWidth - (2 * capacity - 1).leadingZeroBitCount)
  }

  /// No position yet, in `memory` of `size`.
  package init(capacity: Int, orders: [Int], memory: View<Int32>) {
    self.orders = orders
    self.capacity = capacity
    links = memory[0..<orders.count * capacity]
    latest = memory[links.count..<Self.size(capacity: capacity, orders: orders)]
    latest.fill(-1)
  }

  /// Adds the positions of `range`, which follow those that are there, of `tokens`.
  package func add(_ range: Range<Int>, of tokens: View<Int32>, pool: WorkerPool) {
    pool.run(orders.count) { index, _ in add(range, of: tokens, index) }
  }

  /// The same on the calling thread.
  func add(_ range: Range<Int>, of tokens: View<Int32>) {
    for index in orders.indices { add(range, of: tokens, index) }
  }

  /// The same for one of the orders.
  func add(_ range: Range<Int>, of tokens: View<Int32>, _ index: Int) {
    let (order, slots) = (orders[index], latest.count / orders.count)
    let latest = latest[index * slots..<(index + 1) * slots]
    let links = links[index * capacity..<(index + 1) * capacity]
    for position in range {
      links[position] = -1
      guard position + 1 >= order else { continue }
      var slot = Self.hash(tokens, position, order) >> slots.leadingZeroBitCount
      while true {
        let other = latest.base[slot]
        if other < 0 || Self.isSame(tokens, Int(other), position, order) {
          links[position] = other
          latest.base[slot] = Int32(position)
          break
        }
        slot = (slot + 1) & (slots - 1)
      }
    }
  }

  /// The latest earlier position with the context of `position`, -1 for none.
  func place(_ index: Int, _ position: Int) -> Int { Int(links[index * capacity + position]) }

  /// What followed the earlier places of the context of `position`.
  package func followers(_ index: Int, _ position: Int, of tokens: View<Int32>) -> Followers {
    var followers = Followers()
    var place = links[index * capacity + position]
    for _ in 0..<Self.mostPlaces where place >= 0 {
      followers.add(tokens[Int(place) + 1])
      place = links[index * capacity + Int(place)]
    }
    return followers
  }

  private static func hash(_ tokens: View<Int32>, _ position: Int, _ order: Int) -> Int {
    var state = UInt64(0x9E37_79B9_7F4A_7C15)
    for length in 0..<order {
      state = (state ^ UInt64(tokens.base[position - length])) &* 0xD6E8_FEB8_6659_FD93
      state ^= state >> 32
    }
    return Int((state &* 0x9FB2_1C65_1E98_DF25) >> 1)
  }

  private static func isSame(
    _ tokens: View<Int32>, _ place: Int, _ position: Int, _ order: Int
  ) -> Bool {
    for length in 0..<order where tokens.base[place - length] != tokens.base[position - length] {
      return false
    }
    return true
  }
}

/// Tokens that followed a context, each with its count, in the order in which they came.
package struct Followers {
  /// Most tokens.
  package static let places = NGramRow.places

  /// Different tokens.
  package private(set) var kinds = 0
  private var tokens = InlineArray<15, Int32>(repeating: 0)
  private var counts = InlineArray<15, Int32>(repeating: 0)

  /// Sum of the counts.
  var total: Int { (0..<kinds).reduce(0) { $0 + Int(counts[$1]) } }

  /// A token and its count.
  package subscript(index: Int) -> (token: Int, count: Int) {
    (Int(tokens[index]), Int(counts[index]))
  }

  /// Counts `token` once more; it has a place.
  package mutating func add(_ token: Int32, count: Int = 1) {
    for index in 0..<kinds where tokens[index] == token {
      counts[index] += Int32(count)
      return
    }
    tokens[kinds] = token
    counts[kinds] = Int32(count)
    kinds += 1
  }
}
