// Sliding-window attention (Beltagy et al. 2020, "Longformer: the long-document transformer", section 3.1), causal: the last
// positions, or every d-th of them, and some global positions.
import Compute

/// Causal attention to a window of exactly so many positions, and to and from global positions.
///
/// A position sees itself and the `window - 1` before it that are 1, 2, ... dilations away, and all earlier global
/// positions; a global position sees every earlier one.
public struct SlidingAttention: PatternLayer, Equatable {
  /// Positions in the window of each one, itself included.
  public var window: Int
  /// Steps from one position of a window to the next, dealt to heads in turn.
  public var dilation: [Int]
  /// First positions that are global.
  public var global: Int
  /// Every so manieth position, from the first one, is global too; 0: none is.
  public var globalEvery: Int

  /// A layer with these sizes.
  public init(window: Int = 128, dilation: [Int] = [1], global: Int = 0, globalEvery: Int = 0) {
    self.window = window
    self.dilation = dilation
    self.global = global
    self.globalEvery = globalEvery
  }

  /// `sliding`.
  public static let name = "sliding"
  /// Windows within a tile and beyond a span, with and without dilations and global positions.
  public static let examples = [
    SlidingAttention(window: 7), SlidingAttention(window: 700, global: 3),
    SlidingAttention(window: 5, dilation: [3, 1], global: 2),
    SlidingAttention(window: 20, dilation: [4, 6], global: 1, globalEvery: 9),
  ]

  /// At least the position itself, and steps that go back.
  public var problem: String? {
    let sizes = 1...1 << 27
    return sizes.contains(window) && !dilation.isEmpty && dilation.allSatisfy(sizes.contains)
      && (0...sizes.upperBound).contains(global) && (0...sizes.upperBound).contains(globalEvery)
      ? nil
      : "window \(window), dilation \(dilation), global \(global), every \(globalEvery); "
        + "legal: 1 or more, a list of such, 0 or more twice"
  }

  private func isGlobal(_ position: Int) -> Bool {
    position < global || (globalEvery > 0 && position % globalEvery == 0)
  }

  /// Global positions before `position`.
  private func globals(before position: Int) -> Int {
    guard position > global, globalEvery > 0 else { return min(position, global) }
    func multiples(_ end: Int) -> Int { (end + globalEvery - 1) / globalEvery }
    return global + multiples(position) - multiples(global)
  }

  /// Of the keys that each query sees, the mean of all dilations.
  public func operations(length: Int, features: Int) -> (scores: Double, hash: Double) {
    let pairs = dilation.reduce(0) { $0 + self.pairs(length: length, dilation: $1) }
    return (2 * pairs / Double(dilation.count) * Double(features), 0)
  }

  private func pairs(length: Int, dilation: Int) -> Double {
    var pairs = 0.0
    // Others and global positions before them; global positions and all before them.
    for position in 0..<min(global, length) { pairs += Double(position + 1) }
    if globalEvery > 0 {
      for position in stride(from: 0, to: length, by: globalEvery) where position >= global {
        pairs += Double(position + 1)
      }
    }
    pairs += otherPairs(length: length)
    for step in 0..<min(window, (length + dilation - 1) / dilation) {
      pairs += Double(windowPairs(length: length, distance: step * dilation))
    }
    return pairs
  }

  /// Pairs of a position that is not global and a global one before it.
  private func otherPairs(length: Int) -> Double {
    guard length > global else { return 0 }
    let first = Double(length - globals(before: length)) * Double(min(global, length))
    guard globalEvery > 0 else { return first }
    var rest = 0.0
    for position in stride(from: 0, to: length, by: globalEvery) where position >= global {
      rest += Double(length - position - (globals(before: length) - globals(before: position)))
    }
    return first + rest
  }

  /// Pairs of positions so far apart of which none is global.
  private func windowPairs(length: Int, distance: Int) -> Int {
    let queries = length - global - distance
    guard queries > 0, globalEvery > 0 else { return max(0, queries) }
    func multiples(_ end: Int) -> Int { (end + globalEvery - 1) / globalEvery }
    // Queries that are a multiple, and those whose key is one.
    let own = multiples(length) - multiples(global + distance)
    let other = distance % globalEvery == 0 ? 0 : multiples(length - distance) - multiples(global)
    return queries - own - other
  }

  func choiceCount(length: Int) -> Int { 1 }
  func patterns(heads: Int) -> Int { min(heads, Set(dilation).count) }

  /// The dilation of the head.
  func choose(_ choice: View<Int32>, length: Int, head: Int, pass: AttentionPass) {
    choice[0] = Int32(dilation[head % dilation.count])
  }

  func sizes(length: Int) -> [SightList.Size] {
    let global = globals(before: length)
    let others = length - global
    let classes = dilation.reduce(1) { max($0, min($1, length)) }
    return [
      SightList.Size(queries: others, keys: others, strands: classes),
      SightList.Size(queries: global > 0 ? others : 0, keys: global),
      SightList.Size(queries: global, keys: global > 0 ? length : 0),
    ]
  }

  /// Positions that are not global in their windows, those of a residue class of the dilation one after the other; the same
  /// and global positions; global positions and all.
  func lists(_ choice: View<Int32>, length: Int, from arena: ScratchArena) -> [SightList] {
    var (windows, toGlobal, ofGlobal) = {
      ($0[0], $0[1], $0[2])
    }(sizes(length: length).map { SightList.Writer($0, from: arena) })
    let dilation = Int(choice[0])
    for start in 0..<min(dilation, length) {
      var first = windows.keyCount
      for position in stride(from: start, to: length, by: dilation) where !isGlobal(position) {
        windows.key(position)
        while position - windows.position(ofKey: first) >= window * dilation { first += 1 }
        windows.query(position, sees: first..<windows.keyCount)
      }
      windows.endStrand()
    }
    let hasGlobal = globals(before: length) > 0
    for position in 0..<length {
      if hasGlobal { ofGlobal.key(position) }
      if isGlobal(position) {
        toGlobal.key(position)
        ofGlobal.query(position, sees: 0..<position + 1)
      } else if hasGlobal {
        toGlobal.query(position, sees: 0..<toGlobal.keyCount)
      }
    }
    toGlobal.endStrand()
    ofGlobal.endStrand()
    return [windows.list, toGlobal.list, ofGlobal.list]
  }
}
