// Attention to the lists of sparse patterns: queries meet the keys of their runs, a tile after the other, and softmaxes are
// merged in a fixed order (flash attention, Dao et al. 2022). No product is computed in vain.
import Compute

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
        addQueryGradients(
          parts[head].part(of: number), gradients[head].part(of: number), list,
          tile: list.queryTileCount - 1 - tile, scratch)
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
    _ head: AttentionHead, _ gradient: HeadGradient, _ list: SightList, tile number: Int,
    _ scratch: ScratchArena
  ) {
    let part = list.queryTile(number)
    let meeting = Meeting(head, list, part.queries, gradient: gradient, scratch)
    let queryGradients = scratch.matrix(part.queries.count, head.queries.columns)
    queryGradients.fill(0)
    meeting.eachSpan(from: part.keys, scratch) { tile in
      let (_, gradients) = meeting.backward(tile, scratch)
      if let spans = gradient.spans { spans[number] += Float(tile.spanDerivative(gradients)) }
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
