// Which keys of a window the queries of a chunk see: all up to their position, as Hugging Face's masks say, or a run
// of the list that ends with the query itself. Runs are summed in the order of the list and by what they hold alone,
// so that no bit follows from where chunks begin.
import Compute

/// The keys that the queries of one chunk at a time see in a window of W rows.
struct SeenKeys {
  private let attention: ChunkAttention
  private let window: ChunkWindow
  private let round: Int
  /// `[C]`: for runs, the column of the scores at which each query's begins.
  private let first: View<Int32>
  /// `[W]`: for runs, position of each column of the scores.
  private let positions: View<Int32>

  /// For runs, the column of the first query's own key.
  private var own: Int { window.rows - window.chunk }

  /// For the chunks of a round.
  init(
    _ attention: ChunkAttention, _ window: ChunkWindow, round: Int, from arena: ScratchArena
  ) {
    self.attention = attention
    self.window = window
    self.round = round
    first = arena.integers(attention.seesRuns ? window.chunk : 0)
    positions = arena.integers(attention.seesRuns ? window.rows : 0)
  }

  /// Rows of the window, and the columns of the scores that they are.
  typealias Part = (rows: Range<Int>, columns: Range<Int>)

  /// The window in the order of the scores' columns: the ring as it lies, or for runs the list, oldest key first.
  func parts(newest slot: Int) -> [Part] {
    let end = attention.seesRuns ? (slot + 1) * window.slotRows : window.rows
    let older = window.rows - end
    let parts = [(end..<window.rows, 0..<older), (0..<end, older..<window.rows)]
    return parts.filter { !$0.0.isEmpty }
  }

  /// Finds where the runs of a chunk begin.
  func find(_ order: ChunkAttention.Order, chunk index: Int) {
    guard attention.seesRuns else { return }
    for part in parts(newest: window.slot(index)) {
      positions[part.columns].copy(from: window.positions[part.rows])
    }
    var starts: View<Int32>?
    if case .buckets(_, let all, let count) = order, (round + 1) * count <= all.count {
      starts = all[round * count..<(round + 1) * count]
    }
    let begin = index * window.chunk
    // The last bucket that starts at or before a place has it, as empty ones start where the next one does.
    var (bucket, end) = (0, starts?.count ?? 0)
    while let starts, end - bucket > 1 {
      let middle = (bucket + end) / 2
      if Int(starts[middle]) <= begin { bucket = middle } else { end = middle }
    }
    for place in begin..<begin + window.chunk {
      while let starts, bucket + 1 < starts.count, Int(starts[bucket + 1]) <= place { bucket += 1 }
      let start = starts.map { Int($0[bucket]) } ?? 0
      first[place - begin] = Int32(
        max(start, place - attention.reaches[round]) - begin + own)
    }
  }

  /// Replaces scores `[C, W]` by exp(logit - maximum), 0 where a key is not seen.
  func softmax(
    _ scores: Matrix, queries: View<Int32>, maximum: View<Float>, sum: View<Float>
  ) {
    if attention.seesRuns {
      Kernels.runSoftmax(scores, first: first, own: own, maximum: maximum, sum: sum)
    } else {
      Kernels.maskedSoftmax(
        scores, queryPositions: queries, keyPositions: window.positions,
        masksSelf: attention.masksSelf, maximum: maximum, sum: sum)
    }
  }

  /// Replaces scores by probabilities and `gradients` of these by those of the logits.
  func softmaxBackward(
    _ scores: Matrix, _ gradients: Matrix, queries: View<Int32>, maximum: View<Float>,
    sum: View<Float>, outputDots: View<Float>
  ) {
    if attention.seesRuns {
      Kernels.runSoftmaxBackward(
        scores, gradients, first: first, own: own, maximum: maximum, sum: sum,
        outputDots: outputDots)
    } else {
      Kernels.maskedSoftmaxBackward(
        scores, gradients, queryPositions: queries, keyPositions: window.positions,
        masksSelf: attention.masksSelf, maximum: maximum, sum: sum, outputDots: outputDots)
    }
  }

  /// Dropout on probabilities or their gradients `[C, W]`: of runs by the positions of query and key, otherwise by
  /// the place in the chunk.
  func drop(
    _ x: Matrix, queries: View<Int32>, chunk index: Int, by stream: CounterRandom, rate: Double
  ) {
    guard rate > 0 else { return }
    if attention.seesRuns {
      stream.dropoutRuns(
        x, first: first, own: own, queries: queries, keys: positions, length: attention.length,
        list: round, of: attention.rounds, rate: rate)
    } else {
      stream.dropout(
        x.dense, rate: rate, first: attention.firstDraw(round: round, chunk: index))
    }
  }
}
