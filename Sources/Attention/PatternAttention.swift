// Attention of sparse patterns: which keys a query sees follows from its position, its head and what was drawn, or from what
// its head has chosen (`blocks`). A kind gives its lists (`SightList`); queries meet the keys of their runs, a tile after the
// other, and softmaxes are merged in a fixed order (flash attention, Dao et al. 2022). No product is computed in vain.
import Compute

/// What a pass over a pattern leaves for its gradient.
public struct PatternSaved: Sendable {
  let rows: [SoftmaxRows]
  /// Of each head, what chooses its pattern.
  let choices: [View<Int32>]
}

/// A kind of attention whose queries see what a pattern says.
protocol PatternLayer: AttentionLayer where Saved == PatternSaved {
  /// Numbers that choose the pattern of a head, which may be another than that of other heads.
  func choiceCount(length: Int) -> Int
  /// Most different patterns of `heads` heads.
  func patterns(heads: Int) -> Int
  /// Whether a list is of the kind's `mixtures`, one for each position.
  func mixes(list: Int) -> Bool
  /// Rows that a choice says are carried over, before the window's keys.
  func carried(_ choice: View<Int32>) -> Int
  /// Writes the choice of a head, whose model-wide index is `head`.
  func choose(_ choice: View<Int32>, length: Int, head: Int, pass: AttentionPass)

  /// Sizes of the lists, and of those by key where these are others.
  func sizes(length: Int) -> [SightList.Size]
  /// The lists of a head, in the order in which softmaxes are merged; no query sees a key twice.
  func lists(_ choice: View<Int32>, length: Int, from arena: ScratchArena) -> [SightList]
  /// The same with every key once at most in each list.
  func listsByKey(
    _ lists: [SightList], _ choice: View<Int32>, length: Int, from arena: ScratchArena
  ) -> [SightList]
}

extension PatternLayer {
  func choiceCount(length: Int) -> Int { 0 }
  func patterns(heads: Int) -> Int { 1 }
  func mixes(list: Int) -> Bool { false }
  func carried(_ choice: View<Int32>) -> Int { 0 }
  func choose(_ choice: View<Int32>, length: Int, head: Int, pass: AttentionPass) {}
  func listsByKey(
    _ lists: [SightList], _ choice: View<Int32>, length: Int, from arena: ScratchArena
  ) -> [SightList] { lists }

  /// Hugging Face's Reformer has no such layers.
  public var isInHuggingFace: Bool { false }
  /// Queries, keys and values are projected apart.
  public var projections: [String] { ["query", "key", "value"] }
  /// A position sees earlier ones in an order that nothing later enters.
  public var isStrictlyCausal: Bool { true }

  /// Maximum and sum of each row, and what chooses each head's pattern.
  public func savedFloats(length: Int, heads: Int) -> Int {
    softmaxFloats(length: length, heads: heads) + heads * choiceCount(length: length)
  }

  /// Lends them.
  public func save(length: Int, heads: Int, from arena: ScratchArena) -> PatternSaved {
    PatternSaved(
      rows: softmaxRows(length: length, heads: heads, from: arena),
      choices: (0..<heads).map { _ in arena.integers(choiceCount(length: length)) })
  }

  /// Of each row sum of output times gradient, and the lists; a thread has a tile of scores and what meets in it.
  public func scratch(length: Int, heads: Int, headWidth: Int) -> AttentionScratch {
    let lists = sizes(length: length).reduce(0) { $0 + $1.integers }
    return AttentionScratch(
      shared: heads * length + patterns(heads: heads) * lists,
      perThread: PatternAttention.perThread(
        queries: length, keys: carriedRows + length, headWidth: headWidth))
  }

  /// Attention of each query to the runs that it sees.
  public func forward(_ group: HeadGroup, saved: PatternSaved, pass: AttentionPass) {
    pass.turn(group)
    for (index, choice) in saved.choices.enumerated() {
      choose(choice, length: group.length, head: pass.firstHead + index, pass: pass)
    }
    pass.engine.scratch.frame {
      PatternAttention(pattern(saved, length: group.length, pass.engine.scratch)).forward(
        AttentionHead.all(group, saved.rows, pass).map { [$0] }, pass: pass)
    }
  }

  /// Gradients of the projections.
  public func backward(
    _ group: HeadGroup, saved: PatternSaved, outputGradient: Matrix, gradients: [Matrix],
    ownGradients: OwnParameters, pass: AttentionPass
  ) {
    let length = group.length
    pass.engine.scratch.frame {
      let lists = pattern(saved, length: length, pass.engine.scratch)
      let byKey = each(saved) { head in
        listsByKey(lists[head], saved.choices[head], length: length, from: pass.engine.scratch)
      }
      let heads = AttentionHead.all(group, saved.rows, pass)
      let own = HeadGradient.all(
        group, heads, outputGradient: outputGradient, gradients: gradients, pass.engine)
      PatternAttention(lists).backward(
        heads.map { [$0] }, own.map { [$0] }, byKey: byKey, pass: pass)
    }
    pass.turnBack(gradients)
  }

  private func pattern(_ saved: PatternSaved, length: Int, _ arena: ScratchArena) -> [[SightList]] {
    each(saved) { lists(saved.choices[$0], length: length, from: arena) }
  }

  /// What `make` makes of each head, once for those of one choice.
  private func each(_ saved: PatternSaved, _ make: (Int) -> [SightList]) -> [[SightList]] {
    let choices = saved.choices.map(\.array)
    var made: [[SightList]] = []
    for (head, choice) in choices.enumerated() {
      let twin = choices[..<head].firstIndex(of: choice)
      made.append(twin.map { made[$0] } ?? make(head))
    }
    return made
  }

  /// The keys of every list's runs; draws go by the positions of both.
  public func sight(length: Int, head: Int, saved: PatternSaved) -> Sight {
    let (arena, choice) = (ScratchArena(), saved.choices[head])
    let carried = carried(choice)
    var keys = [[Sight.Key]](repeating: [], count: length)
    for (number, list) in lists(choice, length: length, from: arena).enumerated() {
      for (place, query) in list.queries.array.map(Int.init).enumerated() {
        for key in list.keys[Int(list.first[place])..<Int(list.end[place])].array {
          let draw = CounterRandom.pairNumber(
            query: query, key: Int(key), length: carried + length, list: 0, of: 1)
          keys[query].append(
            Sight.Key(
              position: Int(key) - carried, draw: draw, isLastResort: false,
              mixture: mixes(list: number) ? Int(key) : nil))
        }
      }
    }
    return Sight(keys: keys)
  }
}

/// A pass over the lists of the heads of a group.
///
/// A head comes with what each of its lists meets: the first list the first entry, and so on; those beyond the last entry
/// meet that one. All have the same queries, outputs and scale of keys.
struct PatternAttention {
  /// Rows that a tile of keys meets at once.
  private static let seers = 256
  /// By head; as many for each.
  let lists: [[SightList]]

  init(_ lists: [[SightList]]) { self.lists = lists }

  /// Floats that a thread lends.
  static func perThread(queries all: Int, keys allKeys: Int, headWidth: Int) -> Int {
    func needed(queries: Int, keys: Int, sums: Int) -> Int {
      let window = chunkSlotRows(min(keys, allKeys))
      let rows = min(queries, all)
      return 2 * Packed<Float>.count(window, headWidth) + 2 * Packed<Float>.count(headWidth, window)
        + 2 * Packed<Float>.count(rows, headWidth) + 2 * rows * window + sums * headWidth
        + 5 * rows + window
    }
    return max(
      needed(
        queries: SightList.queryTile, keys: SightList.span, sums: SightList.queryTile),
      needed(queries: seers, keys: SightList.keyTile, sums: 2 * SightList.keyTile))
  }

  /// Runs `body` for every head and its tiles of list `number`, of which it has `count`.
  private func eachTile(
    _ number: Int, of lists: [[SightList]], count: (SightList) -> Int, _ pool: WorkerPool,
    _ body: (_ head: Int, _ list: SightList, _ tile: Int, _ scratch: ScratchArena) -> Void
  ) {
    let counts = lists.map { count($0[number]) }
    let most = counts.max() ?? 0
    pool.run(lists.count * most) { task, scratch in
      let (head, tile) = task.quotientAndRemainder(dividingBy: most)
      if tile < counts[head] { body(head, lists[head][number], tile, scratch) }
    }
  }

  /// Computes the output of every head, and maximum and sum of its rows.
  func forward(_ parts: [[AttentionHead]], pass: AttentionPass) {
    let pool = pass.engine.pool
    let heads = parts.map { $0[0] }
    let pieces = Tiling.ranges(heads[0].queries.rows, by: Tiling.blockRows)
    heads.forEach { $0.setConstantScale() }
    pool.each(heads.count, pieces) { head, rows, scratch in
      heads[head].clear(rows)
      scratch.lap(.merge)
    }
    for number in lists[0].indices {
      eachTile(number, of: lists, count: \.queryTileCount, pool) { head, list, tile, scratch in
        let tile = list.queryTile(list.queryTileCount - 1 - tile)
        let meeting = Meeting(parts[head].part(of: number), list, tile.queries, scratch)
        meeting.eachSpan(from: tile.keys, scratch) { $0.merge(scratch) }
      }
    }
    pool.each(heads.count, pieces) { head, rows, scratch in
      Kernels.normalizeRows(
        heads[head].output.rows(rows), by: heads[head].rows.sum.rows(rows))
      scratch.lap(.merge)
    }
  }

  /// Adds to the gradients of every head in two passes over the scores, one by queries and one by keys, so that every
  /// gradient row has one writer; `byKey`: lists for the second.
  func backward(
    _ parts: [[AttentionHead]], _ gradients: [[HeadGradient]], byKey: [[SightList]],
    pass: AttentionPass
  ) {
    for number in lists[0].indices {
      eachTile(number, of: lists, count: \.queryTileCount, pass.engine.pool) {
        head, list, tile, scratch in
        let tile = list.queryTile(list.queryTileCount - 1 - tile)
        addQueryGradients(
          parts[head].part(of: number), gradients[head].part(of: number), list, tile, scratch)
      }
    }
    for number in byKey[0].indices {
      eachTile(number, of: byKey, count: \.keyTileCount, pass.engine.pool) {
        head, list, tile, scratch in
        addKeyGradients(
          parts[head].part(of: number), gradients[head].part(of: number), list,
          list.keyTile(tile), scratch)
      }
    }
  }

  private func addQueryGradients(
    _ head: AttentionHead, _ gradient: HeadGradient, _ list: SightList, _ part: SightList.Part,
    _ scratch: ScratchArena
  ) {
    let meeting = Meeting(head, list, part.queries, gradient: gradient, scratch)
    let queryGradients = scratch.matrix(part.queries.count, head.queries.columns)
    queryGradients.fill(0)
    meeting.eachSpan(from: part.keys, scratch) { tile in
      let (_, gradients) = meeting.backward(tile, scratch)
      for part in tile.parts {
        tileProduct(
          gradients.rows(part.queries).columns(part.columns).left,
          tile.window.keys.rows(part.rows).right, into: queryGradients.rows(part.queries).result,
          accumulate: true)
      }
      scratch.lap(.scores)
    }
    Kernels.scatterAdd(queryGradients, to: gradient.queries, rows: meeting.positions)
    scratch.lap(.scatter)
  }

  private func addKeyGradients(
    _ head: AttentionHead, _ gradient: HeadGradient, _ list: SightList, _ part: SightList.Part,
    _ scratch: ScratchArena
  ) {
    let seers = list.seers(part)
    guard !seers.isEmpty else { return }
    let (own, width) = (part.keys.count, head.keys.columns)
    let (keys, values) = (scratch.matrix(own, width), scratch.matrix(own, width))
    keys.fill(0)
    values.fill(0)
    let window = ChunkWindow<Float>(
      chunk: own, before: 0, width: width, forGradients: true, from: scratch)
    window.load(list.keys[part.keys], of: head, slot: 0, scratch)
    for rows in Tiling.ranges(seers, by: Self.seers) {
      scratch.frame {
        let meeting = Meeting(head, list, rows, gradient: gradient, scratch)
        let tile = meeting.tile(window, part.keys, scratch)
        let (probabilities, gradients) = meeting.backward(tile, scratch)
        let strips = Meeting.strips(tile)
        for strip in strips {
          tileProduct(
            probabilities.rows(strip.queries).columns(strip.keys).left.transposed,
            meeting.outputGradients.rows(strip.queries).right,
            into: values.rows(strip.keys).result, accumulate: true)
        }
        scratch.lap(.values)
        for strip in strips {
          tileProduct(
            gradients.rows(strip.queries).columns(strip.keys).left.transposed,
            meeting.queries.rows(strip.queries).right, into: keys.rows(strip.keys).result,
            accumulate: true)
        }
        scratch.lap(.scores)
      }
    }
    Kernels.scale(keys.dense, by: head.rows.keyScale.row(0)[0])
    gradient.add(keys: keys, values: values, of: head, at: list.keys[part.keys])
    scratch.lap(.scatter)
  }
}

extension [AttentionHead] {
  /// What list `number` meets.
  fileprivate func part(of number: Int) -> AttentionHead { self[Swift.min(number, count - 1)] }
}

extension [HeadGradient] {
  /// Gradients of what list `number` meets.
  fileprivate func part(of number: Int) -> HeadGradient { self[Swift.min(number, count - 1)] }
}
