// LSH attention (Reformer, section 2): queries and keys share one projection, keys have unit length times 1/sqrt(K),
// each round sorts positions by bucket. Which keys a query then sees is its sight. That of the paper, with the
// semantics of Hugging Face's LSHSelfAttention 4.44: chunks of the sorted list and the chunks before. Where those
// begin depends on later positions, so that what is learnt this way cannot be decoded to the letter; the other sight
// is strict: the last members of the query's own bucket.
import Compute

/// Which keys of a round's sorted list a query of LSH attention sees.
public enum LSHSight: String, Codable, Sendable, CaseIterable {
  /// Its chunk and those before it, whatever their bucket (the paper's).
  case chunks
  /// The last members of its own bucket before it: chunk times chunks before of them.
  case bucket
}

/// What a pass of LSH attention leaves for its gradient.
public struct SortedLists: Sendable {
  let rows: [SoftmaxRows]
  /// `[g, R, padded L]`: positions in sorted order; empty where one chunk holds everything.
  package let order: View<Int32>
  /// `[g, R, buckets]`: place in the sorted list at which each bucket starts, for sight `bucket`.
  package let starts: View<Int32>
}

/// Causal attention among positions that hash alike.
public struct LSHAttention: AttentionLayer, Equatable {
  /// Positions per chunk of the sorted list.
  public var chunk: Int
  /// Earlier chunks of the sorted list each chunk sees (circular).
  public var chunksBefore: Int
  /// Hash rounds.
  public var hashes: Int
  /// Bucket count as factors, each even; a single entry is the plain count.
  public var buckets: [Int]
  /// What a query sees of a round's list.
  public var sight: LSHSight
  /// With sight `bucket`: how many positions just before its own a query sees beside the rounds, in the same
  /// softmax.
  public var window: Int
  /// Whether queries see nothing behind their own position.
  private let isCausal: Bool

  /// A layer with these sizes.
  public init(
    chunk: Int, chunksBefore: Int, hashes: Int, buckets: [Int], sight: LSHSight = .chunks,
    window: Int = 0, isCausal: Bool = true
  ) {
    self.isCausal = isCausal
    self.chunk = chunk
    self.chunksBefore = chunksBefore
    self.hashes = hashes
    self.buckets = buckets
    self.sight = sight
    self.window = window
  }

  /// Number of buckets per round.
  public var bucketCount: Int { buckets.reduce(1, *) }
  /// Columns of one round's rotation matrix.
  public var rotationWidth: Int { buckets.reduce(0, +) / 2 }

  /// Bucket factors for a length, as Hugging Face chooses them: a power of two near
  /// 2 * length / chunk, split in two near its root when it exceeds
  /// 2 * max(sqrt(longestLength / chunk), chunk).
  public static func automaticBuckets(
    length: Int, longestLength: Int, chunk: Int
  ) -> [Int] {
    let wanted = max(1, 2 * (length / chunk))
    let power = max(1, Int.bitWidth - 1 - wanted.leadingZeroBitCount)
    let count = 1 << power
    let limit = 2 * max(Int(Double(longestLength / chunk).squareRoot()), chunk)
    guard count > limit else { return [count] }
    return [1 << (power / 2), 1 << (power - power / 2)]
  }

  /// `lsh`.
  public static let name = "lsh"
  /// As `LSHSelfAttention`, which has the paper's sight only.
  public var isInHuggingFace: Bool { sight == .chunks }
  /// One round and several, factored buckets, chunks with and without padding to strips; both sights, with and without
  /// a window, reaches shorter and longer than a bucket and than the chunks that are at hand together.
  public static let examples = [
    LSHAttention(chunk: 16, chunksBefore: 1, hashes: 2, buckets: [4, 2]),
    LSHAttention(chunk: 7, chunksBefore: 2, hashes: 1, buckets: [8]),
    LSHAttention(chunk: 32, chunksBefore: 0, hashes: 4, buckets: [2]),
    LSHAttention(chunk: 16, chunksBefore: 1, hashes: 2, buckets: [4, 2], sight: .bucket),
    LSHAttention(
      chunk: 5, chunksBefore: 1, hashes: 1, buckets: [2], sight: .bucket, window: 3),
    LSHAttention(
      chunk: 7, chunksBefore: 9, hashes: 3, buckets: [2, 4], sight: .bucket, window: 70),
    LSHAttention(
      chunk: 100, chunksBefore: 3, hashes: 4, buckets: [2], sight: .bucket, window: 1),
  ]

  /// Chunks of at least a position, at least a round, and even bucket factors.
  public var problem: String? {
    if let problem = LocalAttention(chunk: chunk, chunksBefore: chunksBefore).problem {
      return problem
    }
    if sight == .bucket && chunksBefore == 0 {
      return "chunks before 0 with sight bucket; legal: 1 to 1024"
    }
    guard window == 0 || (sight == .bucket && (0...1 << 27).contains(window)) else {
      return "window \(window); legal: 0, or with sight bucket up to \(1 << 27)"
    }
    guard (1...1024).contains(hashes) else {
      return "\(hashes) hash rounds; legal: 1 to 1024"
    }
    let most = 1 << 20
    let count = buckets.reduce(1) { min($0 * max(0, min($1, most)), most + 1) }
    return !buckets.isEmpty && count <= most
      && buckets.allSatisfy { $0 >= 2 && $0 % 2 == 0 }
      ? nil : "buckets \(buckets); legal: even factors with a product of at most \(most)"
  }

  /// Queries and keys share one projection.
  public var projections: [String] { ["query_key", "value"] }
  /// A bucket up to a query is a matter of earlier positions.
  ///
  /// Where chunks of the sorted list begin depends on later ones, and with sight `chunks` so does which keys a query sees.
  public var isStrictlyCausal: Bool { sight == .bucket }

  /// Later positions are seen as well as earlier ones, in chunks of the sorted lists: strictness, for which there is another
  /// sight, is no matter then.
  public var unmasked: (any AttentionLayer)? {
    LSHAttention(
      chunk: chunk, chunksBefore: chunksBefore, hashes: hashes, buckets: buckets, isCausal: false)
  }

  /// Whether one chunk does not hold everything, so that positions are hashed and sorted.
  private func sorts(_ length: Int) -> Bool { sight == .bucket || length > chunk }

  func chunks(_ length: Int) -> ChunkAttention {
    switch sight {
    case .chunks:
      ChunkAttention(
        chunk: chunk, before: sorts(length) ? chunksBefore : 0, rounds: sorts(length) ? hashes : 1,
        length: length, sharesQueryKey: true, isCausal: isCausal)
    case .bucket:
      ChunkAttention(
        reaches: [Int](repeating: chunk * chunksBefore, count: hashes)
          + (window > 0 ? [window] : []), length: length)
    }
  }

  /// Columns of the rotations of one head.
  var columns: Int { hashes * rotationWidth }

  /// Places of one head's lists in `SortedLists.order`, and of the starts of their buckets.
  private func counts(_ length: Int) -> (order: Int, starts: Int) {
    let chunks = chunks(length)
    return (
      sorts(length) ? hashes * chunks.paddedLength : 0,
      sight == .bucket ? hashes * bucketCount : 0
    )
  }

  /// Of the keys in a window, whether masked or not, in every round.
  public func operations(length: Int, features: Int) -> (scores: Double, hash: Double) {
    let chunks = chunks(length)
    let products = 2 * Double(length) * Double(features)
    let keys = chunks.keysAtHand.reduce(0.0) { $0 + Double(min($1, length)) }
    return (products * keys, sorts(length) ? products * Double(columns) : 0)
  }

  /// All hash rounds one after the other, each padded to whole chunks, where their buckets start, and the rows.
  public func savedFloats(length: Int, heads: Int) -> Int {
    let counts = counts(length)
    return softmaxFloats(length: length, heads: heads) + heads * (counts.order + counts.starts)
  }

  /// While it sorts, the buckets; later what the chunks need.
  public func scratch(length: Int, heads: Int, headWidth: Int) -> AttentionScratch {
    let walk = chunks(length).scratch(heads: heads, headWidth: headWidth)
    guard sorts(length) else { return walk }
    let sorting =
      heads * hashes * (length + sortPieces(length).count * bucketCount)
      + heads * Packed<Float>.count(headWidth, columns)
    return AttentionScratch(
      shared: max(sorting, walk.shared),
      perThread: max(walk.perThread, max(Tiling.tileRows, headWidth) * columns))
  }

  /// Lends the rows and the order.
  public func save(length: Int, heads: Int, from arena: ScratchArena) -> SortedLists {
    let counts = counts(length)
    return SortedLists(
      rows: softmaxRows(length: length, heads: heads, from: arena),
      order: arena.integers(heads * counts.order), starts: arena.integers(heads * counts.starts))
  }

  /// Hashes, sorts, and attends within chunks of the sorted lists.
  public func forward(_ group: HeadGroup, saved: SortedLists, pass: AttentionPass) {
    let chunks = chunks(group.length)
    // By what they say, wherever they stand: the same bytes hash alike.
    if sorts(group.length) { sort(group, saved: saved, pass: pass) }
    pass.turn(group)
    let orders = orders(of: saved, length: group.length)
    func run<Element: ProductElement>(_: Element.Type) {
      chunks.forward(group, rows: saved.rows, pass: pass, orders: orders, of: Element.self)
    }
    switch precision(pass) {
    case .fp32: run(Float.self)
    case .bf16: run(BFloat16Pair<InPairs>.self)
    case .bf16InBlocks: run(BFloat16Pair<InBlocks>.self)
    }
  }

  /// Products of runs are in single precision always: where pairs begin must not enter a bit.
  private func precision(_ pass: AttentionPass) -> Precision {
    sight == .chunks ? pass.precision : .fp32
  }

  /// Gradients of the projections, from the order that `forward` left.
  public func backward(
    _ group: HeadGroup, saved: SortedLists, outputGradient: Matrix, gradients: [Matrix],
    ownGradients: OwnParameters, pass: AttentionPass
  ) {
    let (chunks, orders) = (chunks(group.length), orders(of: saved, length: group.length))
    func run<Element: ProductElement>(_: Element.Type) {
      chunks.backward(
        group, rows: saved.rows, outputGradient: outputGradient, gradients: gradients, pass: pass,
        orders: orders, of: Element.self)
    }
    switch precision(pass) {
    case .fp32: run(Float.self)
    case .bf16: run(BFloat16Pair<InPairs>.self)
    case .bf16InBlocks: run(BFloat16Pair<InBlocks>.self)
    }
    pass.turnBack(gradients)
  }

  /// The chunks of each round's sorted list, up to the query, or the last members of its bucket, and the window.
  public func sight(length: Int, head: Int, saved: SortedLists) -> Sight {
    chunks(length).sight(orders(of: saved, length: length)[head])
  }

  private func orders(of saved: SortedLists, length: Int) -> [ChunkAttention.Order] {
    let counts = counts(length)
    return saved.rows.indices.map { head in
      guard sorts(length) else { return .sequence }
      let order = saved.order[head * counts.order..<(head + 1) * counts.order]
      guard sight == .bucket else { return .sorted(order) }
      return .buckets(
        order, starts: saved.starts[head * counts.starts..<(head + 1) * counts.starts],
        count: bucketCount)
    }
  }
}
