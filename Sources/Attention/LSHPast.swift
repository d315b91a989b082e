// LSH attention with sight `bucket` row by row: the last members of each bucket, and the keys and values of all rows, any of
// which may be one of those.
import Compute

/// What one head keeps under sight `bucket`.
///
/// R rounds of B buckets.
struct LSHPast: HeadPast {
  private let sizes: LSHAttention
  private let factors: [Int32]
  /// `[K, R * rotationWidth]`.
  private let rotations: Packed<Float>
  /// `[length, K]` side by side; keys are scaled.
  private let keys, values: Matrix
  /// Members of a bucket that a query sees, itself included.
  private let reach: Int
  /// `[K, window + 1]`: keys of the last rows, in a ring.
  private let recent: Packed<Float>
  /// `[R, B, reach]`: positions of the last members of each bucket, in rings.
  private let members: View<Int32>
  /// `[R, B]`: members that were ever there.
  private let counts: View<Int32>
  /// `[R]`: buckets of the row that came last.
  private let buckets: View<Int32>

  /// Lends room for `length` positions.
  init(
    _ sizes: LSHAttention, rotations: Packed<Float>, length: Int, headWidth: Int,
    from arena: ScratchArena
  ) {
    self.sizes = sizes
    self.rotations = rotations
    factors = sizes.buckets.map(Int32.init)
    reach = min(sizes.chunk * sizes.chunksBefore + 1, length)
    let rows = arena.matrix(length, 2 * headWidth)
    keys = rows.columns(0..<headWidth)
    values = rows.columns(headWidth..<2 * headWidth)
    recent = arena.strips(headWidth, sizes.window + 1)
    let lists = sizes.hashes * sizes.bucketCount
    members = arena.integers(lists * reach)
    counts = arena.integers(lists)
    buckets = arena.integers(sizes.hashes)
    counts.fill(0)
    recent.clear()
  }

  func enter(_ row: HeadRow, scratch: ScratchArena) {
    let own = row.position..<row.position + 1
    row.scaleKey(sharesQueryKey: true, into: keys.rows(own), scratch: scratch)
    values.rows(own).copy(from: row.value)
    recent.setColumn(row.position % recent.columns, to: keys.row(row.position))
    scratch.frame {
      let rotated = scratch.matrix(1, rotations.columns)
      tileProduct(row.query.left, rotations, into: rotated.result)
      for round in 0..<sizes.hashes {
        Kernels.hashBuckets(
          rotated.columns(round * sizes.rotationWidth..<(round + 1) * sizes.rotationWidth),
          factors: factors, into: buckets[round..<round + 1])
      }
    }
    for round in 0..<sizes.hashes {
      let list = list(round)
      members[list * reach + Int(counts[list]) % reach] = Int32(row.position)
      counts[list] += 1
    }
  }

  /// The bucket of the last row in a round, among those of all rounds.
  private func list(_ round: Int) -> Int { round * sizes.bucketCount + Int(buckets[round]) }

  func attend(_ row: HeadRow, scratch: ScratchArena) {
    let softmax = RowSoftmax(row, scratch: scratch)
    for round in 0..<sizes.hashes {
      scratch.frame { softmax.add(seen(list(round), scratch), keys: keys, values: values) }
    }
    if sizes.window > 0 {
      scratch.frame {
        let first = max(0, row.position - sizes.window)
        let seen = scratch.integers(row.position + 1 - first)
        for index in 0..<seen.count { seen[index] = Int32(first + index) }
        softmax.add(seen, ring: recent, oldest: first % recent.columns, values: values)
      }
    }
    softmax.finish()
  }

  /// Positions of the last members of a bucket, oldest first.
  private func seen(_ list: Int, _ scratch: ScratchArena) -> View<Int32> {
    let count = Int(counts[list])
    let ring = members[list * reach..<(list + 1) * reach]
    let seen = scratch.integers(min(count, reach))
    let first = (count - seen.count) % reach
    let beforeEnd = min(seen.count, reach - first)
    seen[0..<beforeEnd].copy(from: ring[first..<first + beforeEnd])
    seen[beforeEnd..<seen.count].copy(from: ring[0..<seen.count - beforeEnd])
    return seen
  }
}

extension LSHAttention {
  /// Buckets and all rows; traps with sight `chunks`, where a row's result is not final before the last row is there.
  public func past(
    head: Int, length: Int, headWidth: Int, pass: AttentionPass, from arena: ScratchArena
  ) -> any HeadPast {
    precondition(isStrictlyCausal, "rows one by one with sight \(sight)")
    let rotations = arena.strips(headWidth, columns)
    pass.engine.scratch.frame {
      let rows = pass.engine.scratch.matrix(headWidth, columns)
      fillRotations(rows, head: head, pass: pass)
      rotations.copy(from: rows)
    }
    return LSHPast(
      self, rotations: rotations, length: length, headWidth: headWidth, from: arena)
  }
}
