// Attention to blocks that a query chooses by their content, after MoBA (Lu et al. 2025, "MoBA: mixture of block attention
// for long-context LLMs") and NSA (Yuan et al. 2025, "Native sparse attention").
//
// Each complete block of positions has a landmark, the mean of its keys. A query sees its window as it is, and of the blocks
// before it those whose landmarks it meets most. In MoBA the choice has no gradient: what is chosen says nothing of what
// should have been. Here a landmark is added to the keys of its block where they are chosen, so that how well a query
// meets the landmark weighs in the same softmax as the window, and keys learn to make blocks findable.
import Compute

/// Causal attention to the own block and those just before it, and to earlier ones chosen by their landmarks.
///
/// The logit of a key k of a chosen block with landmark l is q . (k + l) / sqrt(K); K features per head.
public struct BlocksAttention: PatternLayer, Equatable {
  /// Positions of a block.
  public var block: Int
  /// Blocks in a window, the own one included.
  public var window: Int
  /// Earlier blocks that a query chooses.
  public var top: Int

  // Up to so many positions before the window all landmarks are compared; beyond, first the means of `group` landmarks,
  // and then the landmarks of the `groups` best of these and of the blocks that make no whole group.
  var oneLevel = 1 << 16
  var group = 64
  var groups = 8

  /// A layer with these sizes.
  public init(block: Int = 64, window: Int = 2, top: Int = 4) {
    self.block = block
    self.window = window
    self.top = top
  }

  private init(block: Int, window: Int, top: Int, oneLevel: Int, group: Int, groups: Int) {
    self.init(block: block, window: window, top: top)
    (self.oneLevel, self.group, self.groups) = (oneLevel, group, groups)
  }

  /// `blocks`.
  public static let name = "blocks"
  /// With fewer and more blocks than are chosen, in blocks smaller and larger than a tile; and with two levels.
  public static let examples: [BlocksAttention] = [
    BlocksAttention(block: 4, window: 2, top: 3), BlocksAttention(block: 7, window: 1, top: 1),
    BlocksAttention(block: 33, window: 1, top: 2), BlocksAttention(block: 150, window: 1, top: 1),
    BlocksAttention(block: 2, window: 1, top: 5, oneLevel: 30, group: 32, groups: 2),
    BlocksAttention(block: 1, window: 3, top: 20, oneLevel: 50, group: 32, groups: 1),
  ]

  /// Most blocks that a query chooses.
  public static let most = 256

  /// Blocks of at least a position, the own one in the window, and one that is chosen.
  public var problem: String? {
    (1...1 << 16).contains(block) && (1...1 << 20).contains(window)
      && (1...Self.most).contains(top)
      ? nil
      : "block \(block), window \(window), top \(top); legal: 1 to \(1 << 16), 1 or more, 1 to \(Self.most)"
  }

  /// The first block in the window of block `index`, and so the number of blocks that it chooses from.
  func windowStart(_ index: Int) -> Int { max(0, index - window + 1) }
  /// Blocks that some query of a sequence may choose, the first ones.
  func choosable(_ length: Int) -> Int { windowStart((length - 1) / block) }
  /// Of `candidates` blocks those that lie in whole groups which are compared first.
  func grouped(_ candidates: Int) -> Int {
    candidates * block > oneLevel ? candidates / group * group : 0
  }

  /// Of the keys that each query sees; and of the landmarks that it is compared with, which have no gradient of that.
  public func operations(length: Int, features: Int) -> (scores: Double, hash: Double) {
    var (pairs, compared) = (0.0, 0.0)
    for index in 0...(length - 1) / block {
      let own = Double(min(block, length - index * block))
      let candidates = windowStart(index)
      let whole = index - candidates + min(top, candidates)
      pairs += own * (own + 1) / 2 + own * Double(whole) * Double(block)
      let grouped = grouped(candidates)
      compared +=
        own * Double(candidates - grouped + grouped / group + min(groups * group, grouped))
    }
    return (2 * pairs * Double(features), 2 * compared * Double(features))
  }

  // The numbers of its blocks for each query, in ascending order; -1 after the last one.
  func choiceCount(length: Int) -> Int { length * top }
  func patterns(heads: Int) -> Int { heads }
  /// The keys of all lists but the window's have their landmarks added.
  func mixes(list: Int) -> Bool { list > 0 }

  func sizes(length: Int) -> [SightList.Size] {
    let keys = choosable(length) * block
    return [SightList.Size(queries: length, keys: length)]
      + (0..<top).map { _ in SightList.Size(queries: keys > 0 ? length : 0, keys: keys) }
  }

  /// The window; and for each place in a choice the blocks in order, with the queries that have them there.
  func lists(_ choice: View<Int32>, length: Int, from arena: ScratchArena) -> [SightList] {
    let (sizes, blocks) = (sizes(length: length), choosable(length))
    var windows = SightList.Writer(sizes[0], from: arena)
    for position in 0..<length {
      windows.key(position)
      windows.query(position, sees: windowStart(position / block) * block..<position + 1)
    }
    windows.endStrand()
    return [windows.list]
      + (0..<top).map { number in
        var chosen = SightList.Writer(sizes[number + 1], from: arena)
        for key in 0..<blocks * block { chosen.key(key) }
        let sorted = queries(choice, length: length, number: number)
        for index in 0..<blocks {
          for query in sorted.queries[sorted.starts[index]..<sorted.starts[index + 1]] {
            chosen.query(query, sees: index * block..<(index + 1) * block)
          }
        }
        chosen.endStrand()
        return chosen.list
      }
  }

  /// Queries that have a block at place `number` of their choice, by that block and then by position; those of block i
  /// begin at `starts[i]`.
  private func queries(
    _ choice: View<Int32>, length: Int, number: Int
  ) -> (queries: [Int], starts: [Int]) {
    var starts = [Int](repeating: 0, count: choosable(length) + 1)
    for query in 0..<length {
      let chosen = Int(choice[query * top + number])
      if chosen >= 0 { starts[chosen + 1] += 1 }
    }
    for index in 1..<max(1, starts.count) { starts[index] += starts[index - 1] }
    var (next, queries) = (starts, [Int](repeating: 0, count: starts.last ?? 0))
    for query in 0..<length {
      let chosen = Int(choice[query * top + number])
      guard chosen >= 0 else { continue }
      queries[next[chosen]] = query
      next[chosen] += 1
    }
    return (queries, starts)
  }

  /// Keys of blocks with their landmarks added, and values as they are.
  public func mixtures(
    keys: [Double], values: [Double], head: Int, headWidth: Int, parameters: [[Double]]
  ) -> (keys: [Double], values: [Double]) {
    let size = block * headWidth
    let whole = choosable(keys.count / headWidth) * size
    let joined = (0..<whole).map { place in
      let (first, feature) = (place / size * size, place % headWidth)
      let sum = (0..<block).reduce(0) { $0 + keys[first + $1 * headWidth + feature] }
      return keys[place] + sum / Double(block)
    }
    return (joined, Array(values[..<whole]))
  }

  /// That of the lists; keys with their landmarks added and the landmarks, and on the way back the gradients of the former.
  public func scratch(length: Int, heads: Int, headWidth: Int) -> AttentionScratch {
    let sizes = sizes(length: length)
    let lists = sizes.reduce(0) { $0 + $1.integers }
    let joined = 2 * choosable(length) * block * headWidth
    // A list is six pieces, whole cache lines each.
    let own =
      length + lists + sizes.count * 6 * 16 + joined + Landmarks.count(self, length, headWidth)
    return AttentionScratch(
      shared: heads * own,
      perThread: max(
        PatternAttention.perThread(queries: length, keys: length, headWidth: headWidth),
        Landmarks.perThread(self, length: length) + headWidth))
  }
}
