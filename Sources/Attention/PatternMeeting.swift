// Queries of a pattern's list with what they bring to each tile of keys that they meet.
import Compute

/// Some queries of a list, fetched; lent by the scratch of a thread.
struct Meeting {
  private let head: AttentionHead
  private let list: SightList
  private let places: Range<Int>
  /// `[n, K]`.
  let queries: Factor<Float>
  /// `[n, K]`, where gradients are computed.
  let outputGradients: Factor<Float>
  /// Maximum, sum and output times gradient of each row, where gradients are computed.
  private let numbers: [View<Float>]

  /// Fetches the queries at `places` and, with `gradient`, what flows into them.
  init(
    _ head: AttentionHead, _ list: SightList, _ places: Range<Int>,
    gradient: HeadGradient? = nil, _ scratch: ScratchArena
  ) {
    (self.head, self.list, self.places) = (head, list, places)
    let positions = list.queries[places]
    func fetch(_ matrix: Matrix) -> Factor<Float> {
      let rows = scratch.factor(places.count, matrix.columns, .both, of: Float.self)
      rows.fill(scratch) { gather(matrix, rows: positions, into: $0) }
      return rows
    }
    queries = fetch(head.queries)
    outputGradients = gradient.map { fetch($0.output) } ?? queries
    let columns = gradient.map { [head.rows.maximum, head.rows.sum, $0.dots] } ?? []
    numbers = columns.map { column in
      let own = scratch.matrix(places.count, 1)
      Kernels.gather(column, rows: positions, into: own)
      return own.dense
    }
    scratch.lap(.gather)
  }

  /// `[n]`.
  var positions: View<Int32> { list.queries[places] }

  /// Runs `body` for the keys that any of the queries sees, those of each span of the strand `keys` together.
  func eachSpan(
    from keys: Range<Int>, _ scratch: ScratchArena, _ body: (ScoreTile<Float>) -> Void
  ) {
    // Whole strips of keys where the strand has them.
    let strip = Packed<Float>.width
    let first = keys.lowerBound
    let start = first + (Int(list.first[places.lowerBound]) - first) / strip * strip
    let stop = Int(list.end[places.upperBound - 1])
    for part in SightList.cut(start..<max(start, stop), from: first) {
      let whole = min(part.lowerBound + chunkSlotRows(part.count), keys.upperBound)
      scratch.frame {
        let part = part.lowerBound..<whole
        let window = ChunkWindow<Float>(
          chunk: part.count, before: 0, width: head.keys.columns, forGradients: !numbers.isEmpty,
          from: scratch)
        window.load(list.keys[part], of: head, slot: 0, scratch)
        scratch.lap(.gather)
        body(tile(window, part, scratch))
      }
    }
  }

  /// The queries and the keys at `part`, which are in `window`: each strip of queries meets those from the first run to the
  /// last.
  func tile(
    _ window: ChunkWindow<Float>, _ part: Range<Int>, _ scratch: ScratchArena
  ) -> ScoreTile<Float> {
    let (first, end) = (scratch.integers(places.count), scratch.integers(places.count))
    for (row, place) in places.enumerated() {
      func inside(_ place: Int32) -> Int32 {
        Int32(min(max(Int(place), part.lowerBound), part.upperBound) - part.lowerBound)
      }
      first[row] = inside(list.first[place])
      end[row] = inside(list.end[place])
    }
    let strip = Packed<Float>.width
    let parts = Tiling.ranges(places.count, by: strip).compactMap {
      rows -> (queries: Range<Int>, rows: Range<Int>, columns: Range<Int>)? in
      let (from, to) = (
        Int(first[rows.lowerBound]) / strip * strip, Int(end[rows.upperBound - 1])
      )
      return from < to ? (rows, from..<to, from..<to) : nil
    }
    return ScoreTile(
      head: head, window: window, parts: parts, queries: queries.left, positions: positions,
      seen: .runs(
        first: first, end: end, lastResort: false, keys: window.positions,
        length: max(head.queries.rows, head.keys.rows), list: 0, lists: 1))
  }

  /// Strips of the keys of a tile, and the queries that meet each.
  static func strips(_ tile: ScoreTile<Float>) -> [(keys: Range<Int>, queries: Range<Int>)] {
    Tiling.ranges(tile.window.chunk, by: Packed<Float>.width).compactMap { keys in
      let meets = tile.parts.filter { $0.columns.overlaps(keys) }
      guard let first = meets.first, let last = meets.last else { return nil }
      return (keys, first.queries.lowerBound..<last.queries.upperBound)
    }
  }

  /// Probabilities and gradients of the logits of a tile.
  func backward(
    _ tile: ScoreTile<Float>, _ scratch: ScratchArena
  ) -> (probabilities: Matrix, gradients: Matrix) {
    tile.backward(
      outputGradient: outputGradients.left, maximum: numbers[0], sum: numbers[1],
      dots: numbers[2], scratch)
  }
}
