// Attention over chunks of a list of positions, the common part of local and LSH attention. The
// list is the sequence itself (local) or all hash rounds one after the other, each sorted by bucket
// (LSH). A chunk has itself and the chunks just before it at hand, and its queries see all of that up to
// their position, or a run of places that ends with their own; all rounds together are one softmax
// over the multiset of keys seen, so rounds are merged as they come and nothing of a round is kept
// (flash attention, Dao et al. 2022).
import Compute

/// Sizes of a pass over chunks.
///
/// C positions per chunk, `before` earlier chunks, R rounds.
struct ChunkAttention {
  let chunk: Int
  /// Of the round that looks back furthest.
  let before: Int
  let rounds: Int
  let length: Int
  /// Whether a position attends to itself only when nothing else is left (LSH).
  let masksSelf: Bool
  /// Whether the first chunk of the list sees the last ones, as Hugging Face's look-back does.
  ///
  /// Only hash rounds need it; in sequence order the causal mask would hide those chunks anyway.
  let isCircular: Bool
  /// Where queries see runs of places: how many before their own, by round; a run does not leave its bucket, and no
  /// bit of a result depends on what lies outside it, nor on where chunks begin.
  let reaches: [Int]
  var seesRuns: Bool { !reaches.isEmpty }

  /// The list of positions that is cut in chunks.
  enum Order {
    /// The sequence as it is.
    case sequence
    /// `[R, padded L]`: each round sorted, padding last.
    case sorted(View<Int32>)
    /// The same, with `[R, buckets]`: the place in its list at which each bucket starts. Rounds past R are the
    /// sequence as it is.
    case buckets(View<Int32>, starts: View<Int32>, count: Int)
  }

  /// Chunks of which each query sees everything up to its position.
  init(
    chunk: Int, before: Int, rounds: Int, length: Int, masksSelf: Bool, isCircular: Bool
  ) {
    self.chunk = chunk
    self.before = before
    self.rounds = rounds
    self.length = length
    self.masksSelf = masksSelf
    self.isCircular = isCircular
    reaches = []
  }

  /// Lists in which each query sees the last `reaches[round]` members of its bucket.
  init(reaches: [Int], length: Int) {
    // Of this walk alone: products of 64 queries fill the register tiles, and few keys out of reach are at hand.
    chunk = 64
    self.reaches = reaches.map { min($0, length) }
    before = ((self.reaches.max() ?? 0) + chunk - 1) / chunk
    rounds = reaches.count
    self.length = length
    masksSelf = true
    isCircular = false
  }

  /// One head's part of a pass.
  struct Head {
    let queries: Matrix
    let keys: Matrix
    let values: Matrix
    /// `[L, 1]`: per-row factor from stored to used keys.
    let keyScale: Matrix
    let order: Order
    let output: Matrix
    let maximum: Matrix
    let sum: Matrix
    let dropoutStream: CounterRandom
  }

  /// The length rounded up to whole chunks; the padding is past every position, so causality masks
  /// it.
  var paddedLength: Int { (length + chunk - 1) / chunk * chunk }
  private var chunksPerRound: Int { paddedLength / chunk }
  /// Chunks one task walks through.
  ///
  /// Fixed by size: it sets the order in which key gradients are added.
  var chunksPerTask: Int { max(1, 1024 / chunk) }
  var tasks: [Range<Int>] { Tiling.ranges(chunksPerRound, by: chunksPerTask) }
  var pieces: [Range<Int>] { Tiling.ranges(length, by: Tiling.blockRows) }
  /// Earlier chunks that those of a round have at hand.
  func before(_ round: Int) -> Int {
    seesRuns ? (reaches[round] + chunk - 1) / chunk : before
  }

  /// Keys that a query has at hand in each round, seen or not.
  var keysAtHand: [Int] { (0..<rounds).map { chunk * (before($0) + 1) } }

  /// Floats that `backward` lends, which needs more than `forward`.
  func scratch(heads: Int, headWidth: Int) -> AttentionScratch {
    let halo = before * chunk * (2 * headWidth + 1)
    let window = (before + 1) * ChunkWindow.slotRows(chunk: chunk)
    // Strips are padded, rows are not.
    let strips = Packed<Float>.count(2 * (window + chunk), headWidth)
    return AttentionScratch(
      shared: heads * (length + tasks.count * halo),
      perThread: strips + (4 * window + chunk) * headWidth + (2 * window + 6) * chunk + 2 * window)
  }

  /// The heads of a group; `order`: the list of each.
  func heads(
    _ group: HeadGroup, _ rows: SoftmaxRows, _ pass: AttentionPass, _ order: (Int) -> Order
  ) -> [Head] {
    let count = group.projected.count
    return (0..<group.heads).map { head in
      Head(
        queries: group.head(head, of: group.projected[0]),
        keys: group.head(head, of: group.projected[count - 2]),
        values: group.head(head, of: group.projected[count - 1]),
        keyScale: SoftmaxRows.column(head, of: rows.keyScale), order: order(head),
        output: group.head(head, of: group.output),
        maximum: SoftmaxRows.column(head, of: rows.maximum),
        sum: SoftmaxRows.column(head, of: rows.sum),
        dropoutStream: pass.dropoutStream(head: head))
    }
  }

  /// Computes the output of every head, and maximum and sum of its `rows`.
  func forward(
    _ group: HeadGroup, rows: SoftmaxRows, pass: AttentionPass, order: (Int) -> Order
  ) {
    let (pieces, tasks) = (pieces, tasks)
    let (engine, dropout) = (pass.engine, pass.dropout)
    let heads = heads(group, rows, pass, order)
    engine.pool.run(heads.count * pieces.count) { task, scratch in
      let head = heads[task / pieces.count]
      let rows = pieces[task % pieces.count]
      head.output.rows(rows).fill(0)
      head.maximum.rows(rows).fill(-.infinity)
      head.sum.rows(rows).fill(0)
      scratch.lap(.merge)
    }
    for round in 0..<rounds {
      engine.pool.run(heads.count * tasks.count) { task, scratch in
        forward(
          heads[task / tasks.count], round: round, chunks: tasks[task % tasks.count],
          dropout: dropout, scratch: scratch)
      }
    }
    engine.pool.run(heads.count * pieces.count) { task, scratch in
      let head = heads[task / pieces.count]
      let rows = pieces[task % pieces.count]
      if masksSelf && !seesRuns { roundLoneSums(head, rows) }
      Kernels.normalizeRows(head.output.rows(rows), by: head.sum.rows(rows))
      scratch.lap(.merge)
    }
  }

  /// A position that saw only itself has logit -1e5 in every round.
  ///
  /// Hugging Face weighs rounds by a single-precision log-sum-exp, which at that size is rounded to
  /// 1/128, so the rounds' weights do not quite add up to 1. Models trained there expect that;
  /// every other row has logits so small that the rounding is nothing.
  private func roundLoneSums(_ head: Head, _ rows: Range<Int>) {
    let (maximum, sum) = (head.maximum.rows(rows), head.sum.rows(rows))
    for row in 0..<rows.count {
      let largest = maximum.row(row)[0]
      guard largest <= -5e4 else { continue }
      let logSumExp = largest + Float(DoubleFunctions.log(Double(sum.row(row)[0])))
      sum.row(row)[0] = Float(DoubleFunctions.exp(Double(logSumExp - largest)))
    }
  }

  private func forward(
    _ head: Head, round: Int, chunks: Range<Int>, dropout: Double, scratch: ScratchArena
  ) {
    let width = head.queries.columns
    let before = before(round)
    let window = ChunkWindow(chunk: chunk, before: before, width: width, from: scratch)
    let list = scratch.integers(chunk)
    let seen = SeenKeys(self, window, round: round, from: scratch)
    let queries = scratch.strips(chunk, width)
    let partial = scratch.matrix(chunk, width)
    let scores = scratch.matrix(chunk, window.rows)
    let maximum = scratch.floats(chunk)
    let sum = scratch.floats(chunk)
    for index in chunks.lowerBound - before..<chunks.upperBound {
      let slot = window.slot(index)
      fill(list, with: head.order, round: round, chunk: index)
      window.load(list, keys: head.keys, scale: head.keyScale, values: head.values, slot: slot)
      guard index >= chunks.lowerBound else { continue }
      let own = window.positions[window.rows(ofSlot: slot)]
      gather(head.queries, rows: own, into: queries)
      seen.find(head.order, chunk: index)
      scratch.lap(.gather)
      for part in seen.parts(newest: slot) {
        tileProduct(
          queries.left, window.keysAcross.columns(part.rows),
          into: scores.columns(part.columns).result)
      }
      scratch.lap(.scores)
      seen.softmax(scores, queries: own, maximum: maximum, sum: sum)
      seen.drop(scores, queries: own, chunk: index, by: head.dropoutStream, rate: dropout)
      scratch.lap(.softmax)
      // One chain from zero for runs; a ring as it lies is one product.
      if seesRuns { partial.fill(0) }
      for part in seen.parts(newest: slot) {
        tileProduct(
          scores.columns(part.columns).left, window.values.rows(part.rows), into: partial.result,
          continuing: seesRuns)
      }
      scratch.lap(.values)
      Kernels.mergeRows(
        partial, maximum: maximum, sum: sum, into: head.output, maximum: head.maximum,
        sum: head.sum, rows: own)
      scratch.lap(.merge)
    }
  }

  /// Positions of a chunk of the list; past every position where the list has no such chunk.
  func fill(_ positions: View<Int32>, with order: Order, round: Int, chunk index: Int) {
    guard index >= 0 || isCircular else { return positions.fill(Int32.max) }
    let list = rounds * chunksPerRound
    let place = round * chunksPerRound + index
    // A look-back longer than the whole list goes round more than once.
    let start = (place % list + list) % list * chunk
    switch order {
    case .sorted(let sorted): positions.copy(from: sorted[start..<start + chunk])
    case .buckets(let sorted, _, _) where start < sorted.count:
      positions.copy(from: sorted[start..<start + chunk])
    case .sequence, .buckets:
      for row in 0..<chunk { positions[row] = Int32(index * chunk + row) }
    }
  }

  /// Number of the first dropout draw of a chunk's scores.
  func firstDraw(round: Int, chunk index: Int) -> Int {
    (round * chunksPerRound + index) * chunk * (before + 1) * ChunkWindow.slotRows(chunk: chunk)
  }

  /// What the queries of a head see, spelt out.
  func sight(_ order: Order) -> Sight {
    guard !seesRuns else { return sightOfRuns(order) }
    var keys = [[Sight.Key]](repeating: [], count: length)
    let list = Buffer<Int32>(chunk)
    func positions(_ round: Int, _ index: Int) -> [Int] {
      fill(list.view, with: order, round: round, chunk: index)
      return list.view.array.map(Int.init)
    }
    let slotRows = ChunkWindow.slotRows(chunk: chunk)
    for round in 0..<rounds {
      for index in 0..<chunksPerRound {
        let queries = positions(round, index)
        for back in 0...before {
          for (row, key) in positions(round, index - back).enumerated() {
            for (place, query) in queries.enumerated() where query < length && key <= query {
              let draw =
                firstDraw(round: round, chunk: index)
                + (place * (before + 1) + (index - back + before) % (before + 1)) * slotRows + row
              keys[query].append(
                Sight.Key(position: key, draw: draw, isLastResort: masksSelf && key == query))
            }
          }
        }
      }
    }
    return Sight(keys: keys)
  }

  private func sightOfRuns(_ order: Order) -> Sight {
    var keys = [[Sight.Key]](repeating: [], count: length)
    for (round, reach) in reaches.enumerated() {
      var list = Array(0..<length)
      var starts = [0]
      if case .buckets(let sorted, let ofBuckets, let count) = order,
        round * paddedLength < sorted.count
      {
        list = sorted[round * paddedLength..<round * paddedLength + length].array.map(Int.init)
        starts = ofBuckets[round * count..<(round + 1) * count].array.map(Int.init)
      }
      for (place, query) in list.enumerated() {
        let start = starts.last { $0 <= place } ?? 0
        for key in list[max(start, place - reach)...place] {
          let draw = CounterRandom.pairNumber(
            query: query, key: key, length: length, list: round, of: rounds)
          keys[query].append(
            Sight.Key(position: key, draw: draw, isLastResort: key == query))
        }
      }
    }
    return Sight(keys: keys)
  }
}
