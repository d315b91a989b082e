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
  /// Whether keys are queries of unit length; then a position attends to itself only when nothing else is left (LSH).
  let sharesQueryKey: Bool
  /// Where queries see runs of places: how many before their own, by round; a run does not leave its bucket, and no
  /// bit of a result depends on what lies outside it, nor on where chunks begin.
  let reaches: [Int]
  var seesRuns: Bool { !reaches.isEmpty }
  /// Whether queries see nothing behind their own position.
  let isCausal: Bool
  /// Where one chunk holds everything: the same mathematics without padding and rounds.
  ///
  /// A run stays a run: whether a sequence goes on must not change what is seen in it.
  var whole: FullAttention? {
    length <= chunk && !seesRuns && isCausal
      ? FullAttention(sharesQueryKey: sharesQueryKey) : nil
  }

  /// The list of positions that is cut in chunks.
  enum Order {
    /// The sequence as it is.
    case sequence
    /// `[R, padded L]`: each round sorted, padding last. The first chunk sees the last ones, as Hugging Face's
    /// look-back does; in sequence order the causal mask would hide those chunks anyway.
    case sorted(View<Int32>)
    /// The same, with `[R, buckets]`: the place in its list at which each bucket starts. Rounds past R are the
    /// sequence as it is.
    case buckets(View<Int32>, starts: View<Int32>, count: Int)
  }

  /// Chunks of which each query sees everything, up to its position where attention is causal.
  init(
    chunk: Int, before: Int, rounds: Int, length: Int, sharesQueryKey: Bool, isCausal: Bool = true
  ) {
    self.isCausal = isCausal
    self.chunk = chunk
    self.before = before
    self.rounds = rounds
    self.length = length
    self.sharesQueryKey = sharesQueryKey
    reaches = []
  }

  /// Lists in which each query sees the last `reaches[round]` members of its bucket.
  init(reaches: [Int], length: Int) {
    isCausal = true
    // Of this walk alone: products of 64 queries fill the register tiles, and few keys out of reach are at hand.
    chunk = 64
    self.reaches = reaches.map { min($0, length) }
    before = ((self.reaches.max() ?? 0) + chunk - 1) / chunk
    rounds = reaches.count
    self.length = length
    sharesQueryKey = true
  }

  /// Position of the last key that all queries see.
  var through: Int { isCausal ? -1 : length - 1 }
  /// The length rounded up to whole chunks; the padding is past every position that is seen.
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
    if let whole { return whole.scratch(length: length, heads: heads, headWidth: headWidth) }
    let halo = before * chunk * (2 * headWidth + 1)
    let window = (before + 1) * chunkSlotRows(chunk)
    let rows = 2 * (window + chunk)
    // Strips are padded, rows are not.
    var factors = Packed<Float>.count(rows, headWidth) + 2 * window * headWidth
    if sharesQueryKey && !seesRuns {
      // In bf16 a pair is as wide as a float: half as much for each role, and scores in both roles beside themselves.
      let across = Packed<Float>.count(rows, (headWidth + 1) / 2)
      let down = Packed<Float>.count(window / 2 + chunk + 1, headWidth)
      factors = max(factors, across + down + window * (headWidth + 1) + 3 * chunk * window / 2)
    }
    return AttentionScratch(
      shared: heads * (length + tasks.count * halo),
      perThread: factors + (2 * window + chunk) * headWidth + (2 * window + 7) * chunk + 2 * window)
  }

  /// Positions of a chunk of the list; past every position where the list has no such chunk.
  func fill(_ positions: View<Int32>, with order: Order, round: Int, chunk index: Int) {
    // A look-back longer than the whole list goes round more than once.
    let list = rounds * chunksPerRound
    let start = ((round * chunksPerRound + index) % list + list) % list * chunk
    switch order {
    case .sorted(let sorted): positions.copy(from: sorted[start..<start + chunk])
    case .sequence where index < 0, .buckets where index < 0: positions.fill(Int32.max)
    case .buckets(let sorted, _, _) where start < sorted.count:
      positions.copy(from: sorted[start..<start + chunk])
    case .sequence, .buckets:
      for row in 0..<chunk { positions[row] = Int32(index * chunk + row) }
    }
  }

  /// Number of the first dropout draw of a chunk's scores.
  func firstDraw(round: Int, chunk index: Int) -> Int {
    (round * chunksPerRound + index) * chunk * (before + 1) * chunkSlotRows(chunk)
  }

  /// What the queries of a head see, spelt out.
  func sight(_ order: Order) -> Sight {
    if let whole { return whole.sight(length: length) }
    var keys = [[Sight.Key]](repeating: [], count: length)
    func see(_ query: Int, _ key: Int, draw: Int) {
      keys[query].append(
        Sight.Key(position: key, draw: draw, isLastResort: sharesQueryKey && key == query))
    }
    let buffer = Buffer<Int32>(chunk)
    func positions(_ round: Int, _ index: Int) -> [Int] {
      fill(buffer.view, with: order, round: round, chunk: index)
      return buffer.view.array.map(Int.init)
    }
    let slotRows = chunkSlotRows(chunk)
    for round in 0..<rounds {
      guard !seesRuns else {
        let list = (0..<chunksPerRound).flatMap { positions(round, $0) }.prefix(length)
        let starts = starts(order, round: round)?.array.map(Int.init) ?? [0]
        for (place, query) in list.enumerated() {
          let start = max(starts.last { $0 <= place } ?? 0, place - reaches[round])
          for key in list[start...place] {
            let draw = CounterRandom.pairNumber(
              query: query, key: key, length: length, list: round, of: rounds)
            see(query, key, draw: draw)
          }
        }
        continue
      }
      for index in 0..<chunksPerRound {
        let queries = positions(round, index)
        for back in 0...before {
          for (row, key) in positions(round, index - back).enumerated() {
            for (place, query) in queries.enumerated()
            where query < length && key <= max(query, through) {
              let slot = place * (before + 1) + (index - back + before) % (before + 1)
              see(
                query, key, draw: firstDraw(round: round, chunk: index) + slot * slotRows + row)
            }
          }
        }
      }
    }
    return Sight(keys: keys)
  }

  /// `[buckets]`: places at which the buckets of a round start; nil where its list is the sequence.
  func starts(_ order: Order, round: Int) -> View<Int32>? {
    guard case .buckets(_, let starts, let count) = order, (round + 1) * count <= starts.count
    else { return nil }
    return starts[round * count..<(round + 1) * count]
  }
}
