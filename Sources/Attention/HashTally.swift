// How well the hashes of LSH layers do what they are for: buckets of a size, keys that are alike in sight, and no query
// left alone. Counted in integers, so that sums over windows and ranks have the same bits in any order.
import Compute

/// What the hashes of one layer came to, summed over heads, rounds and windows.
public struct HashCounts: Sendable, Equatable {
  /// Squares of the lengths of sorted lists.
  public var squaredLengths = 0
  /// Squares of the sizes of buckets, times their number in a list.
  public var squaredBuckets = 0
  /// Keys that queries see in their rounds' lists, themselves left out.
  public var keys = 0
  /// Those of them that hash as the query does in that round.
  public var keysOfBucket = 0
  /// Queries, one of each head and position.
  public var queries = 0
  /// Those that no round, nor the window, shows anything but themselves.
  public var queriesAlone = 0

  /// Nothing yet.
  public init() {}

  /// All of them, as they are sent to other ranks; `init(numbers:)` reads them.
  public var numbers: [Int] {
    [squaredLengths, squaredBuckets, keys, keysOfBucket, queries, queriesAlone]
  }

  /// What `numbers` wrote.
  public init(numbers: [Int]) {
    precondition(numbers.count == Self().numbers.count, "counts of another kind")
    (squaredLengths, squaredBuckets) = (numbers[0], numbers[1])
    (keys, keysOfBucket) = (numbers[2], numbers[3])
    (queries, queriesAlone) = (numbers[4], numbers[5])
  }

  /// Adds them up.
  public static func + (a: HashCounts, b: HashCounts) -> HashCounts {
    HashCounts(numbers: zip(a.numbers, b.numbers).map(+))
  }
}

/// Counts of all layers that hash; passes that are given it add to it, one at a time.
public final class HashTally {
  /// By the index of the layer; those that hashed.
  public private(set) var layers: [Int: HashCounts] = [:]

  /// Nothing yet.
  public init() {}

  /// Adds what a layer came to.
  public func add(_ counts: HashCounts, layer: Int) {
    layers[layer] = (layers[layer] ?? HashCounts()) + counts
  }
}

extension LSHAttention {
  /// Counts of one head: `buckets` `[R, L]` by position, `order` `[R, padded L]`.
  func counts(buckets: View<Int32>, order: View<Int32>, length: Int) -> HashCounts {
    var counts = HashCounts()
    var seesOthers = [Bool](repeating: false, count: length)
    if window > 0 { for position in 1..<max(1, length) { seesOthers[position] = true } }
    for round in 0..<hashes {
      let buckets = buckets[round * length..<(round + 1) * length]
      var sizes = [Int](repeating: 0, count: bucketCount)
      for position in 0..<length { sizes[Int(buckets[position])] += 1 }
      counts.squaredLengths += length * length
      counts.squaredBuckets += bucketCount * sizes.reduce(0) { $0 + $1 * $1 }
      switch sight {
      case .bucket:
        // All are of the bucket: the members of it that came before, up to the reach.
        var before = [Int](repeating: 0, count: bucketCount)
        for position in 0..<length {
          let bucket = Int(buckets[position])
          let seen = min(before[bucket], chunk * chunksBefore)
          counts.keys += seen
          counts.keysOfBucket += seen
          if seen > 0 { seesOthers[position] = true }
          before[bucket] += 1
        }
      case .chunks:
        countChunks(
          round: round, buckets: buckets, order: order, seesOthers: &seesOthers, into: &counts)
      }
    }
    counts.queries = length
    counts.queriesAlone = seesOthers.count { !$0 }
    return counts
  }

  /// Keys in the chunks at hand, up to the query where attention is causal.
  private func countChunks(
    round: Int, buckets: View<Int32>, order: View<Int32>, seesOthers: inout [Bool],
    into counts: inout HashCounts
  ) {
    let length = buckets.count
    let walk = chunks(length)
    let list = Buffer<Int32>(chunk)
    func members(_ index: Int) -> [(position: Int32, bucket: Int32)] {
      walk.fill(list.view, with: .sorted(order), round: round, chunk: index)
      return list.view.array.filter { $0 < length }.map { ($0, buckets[Int($0)]) }
    }
    for index in 0..<walk.paddedLength / chunk {
      let keys = (0...chunksBefore).flatMap { members(index - $0) }
      for query in members(index) {
        var (seen, alike) = (0, 0)
        let last = max(query.position, Int32(walk.through))
        for key in keys where key.position <= last && key.position != query.position {
          seen += 1
          if key.bucket == query.bucket { alike += 1 }
        }
        counts.keys += seen
        counts.keysOfBucket += alike
        if seen > 0 { seesOthers[Int(query.position)] = true }
      }
    }
  }
}
