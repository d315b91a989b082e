// The way forward over chunks: a task walks through a run of chunks with those in sight in a ring.
import Compute

extension ChunkAttention {
  /// Computes the output of every head of `group`, and maximum and sum of its `rows`; `orders`: by head.
  ///
  /// Products are of `Element`; those of runs are of `Float`, as pairs would be others where chunks begin elsewhere.
  func forward<Element: ProductElement>(
    _ group: HeadGroup, rows: [SoftmaxRows], pass: AttentionPass, orders: [Order],
    of: Element.Type = Float.self
  ) {
    if let whole { return whole.forwardTurned(group, saved: rows, pass: pass) }
    let (pool, tasks, pieces) = (pass.engine.pool, tasks, pieces)
    let heads = AttentionHead.all(group, rows, pass)
    if !sharesQueryKey { heads.forEach { $0.setConstantScale() } }
    pool.each(heads.count, pieces) { head, rows, scratch in
      let head = heads[head]
      if sharesQueryKey { head.setScale(rows) }
      head.clear(rows)
      scratch.lap(.merge)
    }
    for round in 0..<rounds {
      pool.each(heads.count, tasks) { head, chunks, scratch in
        forward(
          heads[head], orders[head], round: round, chunks: chunks, of: Element.self,
          scratch: scratch)
      }
    }
    pool.each(heads.count, pieces) { head, rows, scratch in
      let head = heads[head]
      if sharesQueryKey && !seesRuns { roundLoneSums(head.rows, rows) }
      Kernels.normalizeRows(head.output.rows(rows), by: head.rows.sum.rows(rows))
      scratch.lap(.merge)
    }
  }

  /// A position that saw only itself has logit -1e5 in every round.
  ///
  /// Hugging Face weighs rounds by a single-precision log-sum-exp, which at that size is rounded to
  /// 1/128, so the rounds' weights do not quite add up to 1. Models trained there expect that;
  /// every other row has logits so small that the rounding is nothing.
  private func roundLoneSums(_ rows: SoftmaxRows, _ range: Range<Int>) {
    let (maximum, sum) = (rows.maximum.dense, rows.sum.dense)
    for row in range where maximum[row] <= -5e4 {
      let logSumExp = maximum[row] + Float(DoubleFunctions.log(Double(sum[row])))
      sum[row] = Float(DoubleFunctions.exp(Double(logSumExp - maximum[row])))
    }
  }

  private func forward<Element: ProductElement>(
    _ head: AttentionHead, _ order: Order, round: Int, chunks: Range<Int>, of: Element.Type,
    scratch: ScratchArena
  ) {
    let width = head.queries.columns
    let before = before(round)
    let window = ChunkWindow<Element>(chunk: chunk, before: before, width: width, from: scratch)
    let list = scratch.integers(chunk)
    let queries = scratch.factor(chunk, width, .left, of: Element.self)
    for index in chunks.lowerBound - before..<chunks.upperBound {
      fill(list, with: order, round: round, chunk: index)
      window.load(list, of: head, slot: window.slot(index), scratch)
      guard index >= chunks.lowerBound else { continue }
      queries.fill(scratch) { gather(head.queries, rows: list, into: $0) }
      scratch.frame {
        let tile = tile(
          head, window, queries: queries.left, at: list, order, round: round, chunk: index, scratch)
        scratch.lap(.gather)
        tile.merge(scratch)
      }
    }
  }

  /// The queries of a chunk, at positions `list`, and the keys of the ring.
  func tile<Element>(
    _ head: AttentionHead, _ window: ChunkWindow<Element>, queries: LeftOperand<Element>,
    at list: View<Int32>, _ order: Order, round: Int, chunk index: Int, _ scratch: ScratchArena
  ) -> ScoreTile<Element> {
    guard seesRuns else {
      return ScoreTile(
        head: head, window: window, parts: [(0..<chunk, 0..<window.rows, 0..<window.rows)],
        queries: queries, positions: list,
        seen: .before(
          through: through, masksSelf: sharesQueryKey,
          firstDraw: firstDraw(round: round, chunk: index),
          drawsPerQuery: window.rows))
    }
    // The columns of the scores are the list, oldest key first.
    let end = (window.slot(index) + 1) * window.slotRows
    let older = window.rows - end
    let parts = [
      (0..<chunk, end..<window.rows, 0..<older), (0..<chunk, 0..<end, older..<window.rows),
    ]
    .filter { !$0.1.isEmpty }
    let keys = scratch.integers(window.rows)
    let (first, last) = (scratch.integers(chunk), scratch.integers(chunk))
    for (_, rows, columns) in parts { keys[columns].copy(from: window.positions[rows]) }
    let own = window.rows - chunk
    for row in 0..<chunk { last[row] = Int32(own + row + 1) }
    findRuns(first, own: own, starts: starts(order, round: round), round: round, chunk: index)
    return ScoreTile(
      head: head, window: window, parts: parts, queries: queries, positions: list,
      seen: .runs(
        first: first, end: last, lastResort: true, keys: keys, length: length, list: round,
        lists: rounds))
  }

  /// Sets the column of the scores at which each query's run begins; `own`: that of the first query itself.
  private func findRuns(
    _ first: View<Int32>, own: Int, starts: View<Int32>?, round: Int, chunk index: Int
  ) {
    let begin = index * chunk
    // The last bucket that starts at or before a place has it, as empty ones start where the next one does.
    var (bucket, end) = (0, starts?.count ?? 0)
    while let starts, end - bucket > 1 {
      let middle = (bucket + end) / 2
      if Int(starts[middle]) <= begin { bucket = middle } else { end = middle }
    }
    for place in begin..<begin + chunk {
      while let starts, bucket + 1 < starts.count, Int(starts[bucket + 1]) <= place { bucket += 1 }
      let start = starts.map { Int($0[bucket]) } ?? 0
      first[place - begin] = Int32(max(start, place - reaches[round]) - begin + own)
    }
  }
}
