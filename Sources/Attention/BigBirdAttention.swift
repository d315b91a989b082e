// BigBird attention (Zaheer et al. 2020, "Big Bird: transformers for longer sequences", section 2 and appendix D), causal:
// blocks of a window, first blocks that are global, and random ones.
import Compute

/// Causal attention by blocks of positions: to the own block and those just before it, the first ones, and random ones.
///
/// A query sees its own block up to itself, and whole earlier blocks; queries of global blocks see all before. Random blocks
/// lie between the global ones and the window; each block of queries has its own in each head. They are drawn by address:
/// from seed, layer, head and block alone, so that a model sees the same blocks in training, evaluation and generation.
public struct BigBirdAttention: PatternLayer, Equatable {
  /// Positions of a block.
  public var block: Int
  /// Blocks in a window, the own one included.
  public var window: Int
  /// First blocks that all later ones see and that see all before them.
  public var global: Int
  /// Random blocks.
  public var random: Int

  /// A layer with these sizes, by default those of the paper.
  public init(block: Int = 64, window: Int = 3, global: Int = 2, random: Int = 3) {
    self.block = block
    self.window = window
    self.global = global
    self.random = random
  }

  /// `bigbird`.
  public static let name = "bigbird"
  /// With and without each kind of blocks, in blocks smaller and larger than a tile.
  public static let examples = [(4, 2, 1, 3), (7, 1, 0, 1), (5, 3, 2, 0), (70, 1, 1, 1)].map {
    BigBirdAttention(block: $0.0, window: $0.1, global: $0.2, random: $0.3)
  }

  /// Blocks of at least a position, and the own one in the window.
  public var problem: String? {
    let sizes = 1...1 << 20
    return sizes.contains(block) && sizes.contains(window)
      && (0...sizes.upperBound).contains(global)
      && (0...1024).contains(random)
      ? nil
      : "block \(block), window \(window), global \(global), random \(random); legal: 1 or more twice, 0 or more, "
        + "0 to 1024"
  }

  private func blocks(_ length: Int) -> Int { (length + block - 1) / block }
  /// The first block in the window of block `index`: all of them, where it is global.
  private func windowStart(_ index: Int) -> Int { index < global ? 0 : max(0, index - window + 1) }
  /// Global blocks that block `index` sees beside its window.
  private func globalBlocks(_ index: Int) -> Int { min(global, windowStart(index)) }
  /// Random blocks that block `index` sees.
  private func randomBlocks(_ index: Int) -> Int {
    min(random, max(0, windowStart(index) - global))
  }

  /// Of the keys that each query sees.
  public func operations(length: Int, features: Int) -> (scores: Double, hash: Double) {
    var pairs = 0.0
    for index in 0..<blocks(length) {
      let own = Double(min(block, length - index * block))
      let whole = index - windowStart(index) + globalBlocks(index) + randomBlocks(index)
      pairs += own * (own + 1) / 2 + own * Double(whole) * Double(block)
    }
    return (2 * pairs * Double(features), 0)
  }

  func choiceCount(length: Int) -> Int { blocks(length) * random }
  func patterns(heads: Int) -> Int { random > 0 ? heads : 1 }

  /// Draws random blocks of every block, in ascending order; -1 after the last one.
  func choose(_ choice: View<Int32>, length: Int, head: Int, pass: AttentionPass) {
    guard random > 0 else { return }
    let stream = RandomAddress(seed: pass.address.seed, step: 0, sample: 0)
      .stream(.attentionPattern, layer: pass.layer, head: head)
    for index in 0..<blocks(length) {
      let drawn = choice[index * random..<(index + 1) * random]
      let (count, candidates) = (randomBlocks(index), windowStart(index) - global)
      drawn.fill(-1)
      // As many different ones as numbers are drawn (Floyd's sample, Bentley 1987), sorted as they come.
      for number in 0..<count {
        let last = candidates - count + number
        let bits = UInt64(stream.bits(index * random + number))
        let guess = Int((bits * UInt64(last + 1)) >> 32) + global
        let isNew = !(0..<number).contains { Int(drawn[$0]) == guess }
        insert(isNew ? guess : last + global, into: drawn, count: number)
      }
    }
  }

  private func insert(_ value: Int, into sorted: View<Int32>, count: Int) {
    var place = count
    while place > 0, Int(sorted[place - 1]) > value {
      sorted[place] = sorted[place - 1]
      place -= 1
    }
    sorted[place] = Int32(value)
  }

  private func randomSize(_ length: Int) -> (size: SightList.Size, byKey: SightList.Size) {
    let (blocks, places) = (blocks(length), blocks(length) * random * block)
    return (
      SightList.Size(queries: random > 0 ? length : 0, keys: places, strands: blocks),
      SightList.Size(queries: places, keys: random > 0 ? length : 0, strands: blocks)
    )
  }

  func sizes(length: Int) -> [SightList.Size] {
    let (random, byKey) = randomSize(length)
    return [
      SightList.Size(queries: length, keys: length),
      SightList.Size(
        queries: global > 0 ? length : 0, keys: min(length, global * block)), random, byKey,
    ]
  }

  /// The window; global blocks; and random ones, a strand for each block of queries.
  func lists(_ choice: View<Int32>, length: Int, from arena: ScratchArena) -> [SightList] {
    let sizes = sizes(length: length)
    var windows = SightList.Writer(sizes[0], from: arena)
    var globals = SightList.Writer(sizes[1], from: arena)
    for position in 0..<length {
      let index = position / block
      windows.key(position)
      windows.query(position, sees: windowStart(index) * block..<position + 1)
      guard global > 0 else { continue }
      if index < global { globals.key(position) }
      globals.query(position, sees: 0..<globalBlocks(index) * block)
    }
    windows.endStrand()
    globals.endStrand()
    var randoms = SightList.Writer(sizes[2], from: arena)
    for index in 0..<blocks(length) where randomBlocks(index) > 0 {
      let first = randoms.keyCount
      for drawn in choice[index * random..<index * random + randomBlocks(index)].array {
        positions(Int(drawn), length).forEach { randoms.key($0) }
      }
      for position in positions(index, length) {
        randoms.query(position, sees: first..<randoms.keyCount)
      }
      randoms.endStrand()
    }
    return [windows.list, globals.list, randoms.list]
  }

  /// The random blocks turned about: a strand for each block of keys, with the queries of all blocks that drew it.
  func listsByKey(
    _ lists: [SightList], _ choice: View<Int32>, length: Int, from arena: ScratchArena
  ) -> [SightList] {
    var drawers = [[Int]](repeating: [], count: blocks(length))
    for (place, drawn) in choice.array.enumerated() where drawn >= 0 {
      drawers[Int(drawn)].append(place / random)
    }
    var turned = SightList.Writer(sizes(length: length)[3], from: arena)
    for (index, drawers) in drawers.enumerated() where !drawers.isEmpty {
      let first = turned.keyCount
      positions(index, length).forEach { turned.key($0) }
      for position in drawers.lazy.flatMap({ positions($0, length) }) {
        turned.query(position, sees: first..<turned.keyCount)
      }
      turned.endStrand()
    }
    return [lists[0], lists[1], turned.list]
  }

  private func positions(_ index: Int, _ length: Int) -> Range<Int> {
    index * block..<min((index + 1) * block, length)
  }
}
