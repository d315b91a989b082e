// What the queries of a fixed pattern see, written out: positions in a list, and for each query a run of consecutive places
// in it. A dilated window is a run in the list of one residue class, a stride is all that is before in one, positions that
// all later ones see are a list of their own: whatever the pattern, nothing but what a run holds has to be computed.
import Compute

/// Queries and the runs of keys that they see, in strands: a query sees keys of its own strand only.
///
/// Along a strand, neither the first nor the last key of a run moves back from one query to the next. What a query sees and
/// how it is cut do not depend on later positions.
struct SightList {
  /// Queries that meet keys together.
  static let queryTile = 128
  /// Keys whose gradients are added up together.
  static let keyTile = 128
  /// Places of a strand, counted from its first key, at which runs are cut: each part is a softmax of its own.
  static let span = 512

  /// `[n]`: positions of the queries, each there once at most.
  let queries: View<Int32>
  /// `[n]`: the place in `keys` at which each query's run begins.
  let first: View<Int32>
  /// `[n]`: the place after its end.
  let end: View<Int32>
  /// `[m]`: positions of the keys.
  let keys: View<Int32>
  /// Tiles of queries, none of which leaves its strand: the first query, that after the last, the strand's first key and the
  /// one after its last.
  private let queryTiles: View<Int32>
  /// Tiles of keys: the first key, that after the last, the strand's first query and the one after its last.
  private let keyTiles: View<Int32>

  /// A part of a strand: places of queries and of keys.
  struct Part {
    let queries: Range<Int>
    let keys: Range<Int>
  }

  /// Number of tiles of queries.
  var queryTileCount: Int { queryTiles.count / 4 }
  /// Number of tiles of keys.
  var keyTileCount: Int { keyTiles.count / 4 }

  /// A tile of queries and the keys of its strand.
  func queryTile(_ index: Int) -> Part {
    let (own, other) = Self.tile(queryTiles, index)
    return Part(queries: own, keys: other)
  }

  /// A tile of keys and the queries of its strand.
  func keyTile(_ index: Int) -> Part {
    let (own, other) = Self.tile(keyTiles, index)
    return Part(queries: other, keys: own)
  }

  private static func tile(_ tiles: View<Int32>, _ index: Int) -> (
    own: Range<Int>, other: Range<Int>
  ) {
    let tile = tiles[4 * index..<4 * index + 4]
    return (Int(tile[0])..<Int(tile[1]), Int(tile[2])..<Int(tile[3]))
  }

  /// The strand's keys of the query at a place.
  func strand(ofQuery place: Int) -> Range<Int> {
    queryTile(Self.partition(0..<queryTileCount) { Int(queryTiles[4 * $0 + 1]) > place }).keys
  }

  /// Places of `run`, keys of a strand that begins at `start`, cut where spans end.
  static func cut(_ run: Range<Int>, from start: Int) -> [Range<Int>] {
    var parts: [Range<Int>] = []
    var place = run.lowerBound
    while place < run.upperBound {
      let stop = min(start + ((place - start) / span + 1) * span, run.upperBound)
      parts.append(place..<stop)
      place = stop
    }
    return parts
  }

  /// Places of the queries of `part` that may see one of its keys.
  func seers(_ part: Part) -> Range<Int> {
    let from = Self.partition(part.queries) { Int(end[$0]) > part.keys.lowerBound }
    let to = Self.partition(part.queries) { Int(first[$0]) >= part.keys.upperBound }
    return from..<max(from, to)
  }

  /// The first of `places` for which `holds`, which does so for all after it; the end where there is none.
  private static func partition(_ places: Range<Int>, _ holds: (Int) -> Bool) -> Int {
    var (low, high) = (places.lowerBound, places.upperBound)
    while low < high {
      let middle = (low + high) / 2
      if holds(middle) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}

extension SightList {
  /// Sizes of a list: at most so many queries, keys and strands.
  struct Size {
    let queries: Int
    let keys: Int
    var strands = 1

    fileprivate var queryTiles: Int { queries / SightList.queryTile + strands }
    fileprivate var keyTiles: Int { keys / SightList.keyTile + strands }
    /// Integers that it takes.
    var integers: Int { 3 * queries + keys + 4 * (queryTiles + keyTiles) }
  }

  /// Writes a list, strand by strand.
  struct Writer {
    private let queries, first, end, keys, queryTiles, keyTiles: View<Int32>
    private var queryTileCount = 0
    private var keyTileCount = 0
    private var queryStart = 0
    private var keyStart = 0
    private var queryCount = 0
    /// Keys so far: the place of the next one.
    private(set) var keyCount = 0

    /// Lends what a list of `size` takes.
    init(_ size: Size, from arena: ScratchArena) {
      queries = arena.integers(size.queries)
      first = arena.integers(size.queries)
      end = arena.integers(size.queries)
      keys = arena.integers(size.keys)
      queryTiles = arena.integers(4 * size.queryTiles)
      keyTiles = arena.integers(4 * size.keyTiles)
    }

    /// The next key.
    mutating func key(_ position: Int) {
      keys[keyCount] = Int32(position)
      keyCount += 1
    }

    /// The position of a key that is there.
    func position(ofKey place: Int) -> Int { Int(keys[place]) }

    /// The next query, which sees the keys at `places`.
    mutating func query(_ position: Int, sees places: Range<Int>) {
      queries[queryCount] = Int32(position)
      first[queryCount] = Int32(places.lowerBound)
      end[queryCount] = Int32(places.upperBound)
      queryCount += 1
    }

    /// Ends the strand of the last queries and keys.
    mutating func endStrand() {
      let (ownQueries, ownKeys) = (queryStart..<queryCount, keyStart..<keyCount)
      Self.cut(ownQueries, by: SightList.queryTile, beside: ownKeys, queryTiles, &queryTileCount)
      Self.cut(ownKeys, by: SightList.keyTile, beside: ownQueries, keyTiles, &keyTileCount)
      (queryStart, keyStart) = (queryCount, keyCount)
    }

    private static func cut(
      _ own: Range<Int>, by size: Int, beside other: Range<Int>, _ tiles: View<Int32>,
      _ count: inout Int
    ) {
      var start = own.lowerBound
      while start < own.upperBound {
        let numbers = [
          start, min(start + size, own.upperBound), other.lowerBound, other.upperBound,
        ]
        for (index, number) in numbers.enumerated() { tiles[4 * count + index] = Int32(number) }
        start += size
        count += 1
      }
    }

    /// What was written.
    var list: SightList {
      SightList(
        queries: queries[0..<queryCount], first: first[0..<queryCount], end: end[0..<queryCount],
        keys: keys[0..<keyCount], queryTiles: queryTiles[0..<4 * queryTileCount],
        keyTiles: keyTiles[0..<4 * keyTileCount])
    }
  }
}
