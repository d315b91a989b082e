// The sorted lists of LSH attention: each head's positions by bucket, a list for each round.
import Compute

extension LSHAttention {
  /// Fills the order.
  func sort(_ group: HeadGroup, saved: SortedLists, pass: AttentionPass) {
    let (length, width) = (group.length, group.headWidth)
    let factors = buckets.map(Int32.init)
    let tiles = Tiling.ranges(length, by: Tiling.tileRows)
    let engine = pass.engine
    engine.scratch.frame {
      let rotations = (0..<group.heads).map { _ in engine.scratch.strips(width, columns) }
      let buckets = engine.scratch.integers(group.heads * hashes * length)
      engine.pool.run(group.heads) { head, scratch in
        let rows = scratch.matrix(width, columns)
        fillRotations(rows, head: head, pass: pass)
        rotations[head].copy(from: rows)
        scratch.lap(.hash)
      }
      engine.pool.run(group.heads * tiles.count) { task, scratch in
        let (head, tile) = task.quotientAndRemainder(dividingBy: tiles.count)
        let rows = tiles[tile]
        let queryKey = group.head(head, of: group.projected[0]).rows(rows)
        let rotated = scratch.matrix(rows.count, columns)
        tileProduct(queryKey.left, rotations[head], into: rotated.result)
        for round in 0..<hashes {
          let start = (head * hashes + round) * length
          Kernels.hashBuckets(
            rotated.columns(round * rotationWidth..<(round + 1) * rotationWidth),
            factors: factors, into: buckets[start + rows.lowerBound..<start + rows.upperBound])
        }
        scratch.lap(.hash)
      }
      sortLists(buckets, length: length, into: saved, engine: engine)
      if let tally = pass.hashTally {
        let padded = saved.order.count / group.heads
        for head in 0..<group.heads {
          let counts = counts(
            buckets: buckets[head * hashes * length..<(head + 1) * hashes * length],
            order: saved.order[head * padded..<(head + 1) * padded], length: length)
          tally.add(counts, layer: pass.layer)
        }
      }
    }
  }

  /// Pieces of a list that are counted and placed by one task each: long enough that their counts take a
  /// fraction of the memory of the list.
  func sortPieces(_ length: Int) -> [Range<Int>] {
    Tiling.ranges(length, by: max(4096, 4 * bucketCount))
  }

  /// Stable counting sort of each list's positions by bucket; padding stays behind.
  private func sortLists(
    _ buckets: View<Int32>, length: Int, into saved: SortedLists, engine: Engine
  ) {
    let order = saved.order
    let pieces = sortPieces(length)
    let (lists, padded) = (buckets.count / length, chunks(length).paddedLength)
    // `[list, piece, bucket]`: how many of the bucket the piece has, then the place of the first.
    let counts = engine.scratch.integers(lists * pieces.count * bucketCount)
    func part(_ task: Int) -> (buckets: View<Int32>, counts: View<Int32>) {
      let (list, piece) = task.quotientAndRemainder(dividingBy: pieces.count)
      let own = pieces[piece]
      return (
        buckets[list * length + own.lowerBound..<list * length + own.upperBound],
        counts[task * bucketCount..<(task + 1) * bucketCount]
      )
    }
    engine.pool.run(lists * pieces.count) { task, scratch in
      let (buckets, counts) = part(task)
      counts.fill(0)
      for index in 0..<buckets.count { counts.base[Int(buckets.base[index])] += 1 }
      scratch.lap(.sort)
    }
    engine.pool.run(lists) { list, scratch in
      var place: Int32 = 0
      for bucket in 0..<bucketCount {
        if sight == .bucket { saved.starts[list * bucketCount + bucket] = place }
        for piece in 0..<pieces.count {
          let index = (list * pieces.count + piece) * bucketCount + bucket
          (counts.base[index], place) = (place, place + counts.base[index])
        }
      }
      for index in length..<padded { order[list * padded + index] = Int32(index) }
      scratch.lap(.sort)
    }
    engine.pool.run(lists * pieces.count) { task, scratch in
      let (buckets, counts) = part(task)
      let first = pieces[task % pieces.count].lowerBound
      let order = order[task / pieces.count * padded..<(task / pieces.count + 1) * padded]
      for index in 0..<buckets.count {
        let bucket = Int(buckets.base[index])
        order[Int(counts.base[bucket])] = Int32(first + index)
        counts.base[bucket] += 1
      }
      scratch.lap(.sort)
    }
  }

  /// `[K, hashes * rotationWidth]` of one head: standard normal, or as given.
  func fillRotations(_ rotations: Matrix, head: Int, pass: AttentionPass) {
    if let given = pass.givenRotations {
      let count = rotations.rows * rotations.columns
      let start = (pass.firstHead + head) * count
      precondition(start + count <= given.count, "\(given.count) rotation entries are too few")
      rotations.dense.copy(from: Array(given[start..<start + count]))
    } else {
      pass.address.stream(.hashRotation, layer: pass.layer, head: pass.firstHead + head)
        .normal(into: rotations.dense)
    }
  }
}
