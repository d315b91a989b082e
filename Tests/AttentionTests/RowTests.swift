// One row at a time, from what earlier rows left behind: what generation byte by byte computes. Its bits must be those
// of a pass over the whole sequence, or text is not what was trained.
import Attention
import Compute
import TestSupport
import Testing

@Suite("Rows by themselves")
struct RowTests {
  /// One head, its rows up to the present one, and what a row lends.
  private struct Head {
    let arena = ScratchArena()
    let queries, keys, values: Matrix
    let scale, out, maximum, sum: Matrix

    init(_ probe: AttentionProbe, head: Int) {
      let (length, width) = (probe.length, probe.width)
      let projected = probe.projected.map { [arena] values in
        let matrix = arena.matrix(length, width)
        matrix.dense.copy(from: probe.head(head, of: values))
        return matrix
      }
      queries = projected[0]
      keys = projected[projected.count - 2]
      values = projected[projected.count - 1]
      scale = arena.matrix(length, 1)
      out = arena.matrix(1, width)
      maximum = arena.matrix(1, 1)
      sum = arena.matrix(1, 1)
    }

    /// The row's output: `lists` are the positions it has at hand in each, and `softmax` says which it sees.
    func output(
      row: Int, lists: [[Int32]], isChain: Bool,
      softmax: (Matrix, View<Int32>, _ maximum: View<Float>, _ sum: View<Float>) -> Void
    ) -> [Float] {
      out.fill(0)
      maximum.fill(-.infinity)
      sum.fill(0)
      for list in lists {
        arena.frame {
          let positions = arena.integers(list.count)
          positions.copy(from: list)
          let keyRows = arena.matrix(list.count, keys.columns)
          let valueRows = arena.matrix(list.count, keys.columns)
          Kernels.gather(keys, rows: positions, scale: scale, into: keyRows)
          Kernels.gather(values, rows: positions, scale: nil, into: valueRows)
          let across = arena.strips(keys.columns, list.count)
          let packed = arena.strips(list.count, keys.columns)
          across.copy(transposing: keyRows)
          packed.copy(from: valueRows)
          let scores = arena.matrix(1, list.count)
          let (top, part) = (arena.floats(1), arena.floats(1))
          let partial = arena.matrix(1, keys.columns)
          let place = arena.integers(1)
          place[0] = 0
          tileProduct(queries.rows(row..<row + 1).left, across, into: scores.result)
          softmax(scores, positions, top, part)
          partial.fill(0)
          tileProduct(scores.left, packed, into: partial.result, continuing: isChain)
          Kernels.mergeRows(
            partial, maximum: top, sum: part, into: out, maximum: maximum, sum: sum, rows: place)
        }
      }
      Kernels.normalizeRows(out, by: sum)
      return out.dense.array
    }
  }

  @Test(
    "LSH attention with sight bucket: from the last members of each bucket, and the window",
    arguments: LSHAttention.examples.filter { $0.sight == .bucket }, [1, 70, 331])
  func bucket(sizes: LSHAttention, length: Int) {
    let probe = AttentionProbe(sizes, length: length, threads: 2)
    let whole = probe.forward()
    let columns = sizes.hashes * sizes.rotationWidth
    for number in 0..<probe.heads {
      let head = Head(probe, head: number)
      let arena = head.arena
      let rotations = arena.strips(probe.width, columns)
      let drawn = arena.matrix(probe.width, columns)
      drawn.dense.copy(
        from: probe.drawnRotations(head: number, hashes: sizes.hashes, buckets: sizes.buckets))
      rotations.copy(from: drawn)
      let rotated = arena.matrix(1, columns)
      let (bucket, first, end) = (arena.integers(1), arena.integers(1), arena.integers(1))
      first[0] = 0
      var members = [[Int32]](repeating: [], count: sizes.hashes * sizes.bucketCount)
      for row in 0..<length {
        let own = head.queries.rows(row..<row + 1)
        Kernels.keyScale(own, into: head.scale.rows(row..<row + 1))
        tileProduct(own.left, rotations, into: rotated.result)
        var lists: [[Int32]] = []
        for round in 0..<sizes.hashes {
          Kernels.hashBuckets(
            rotated.columns(round * sizes.rotationWidth..<(round + 1) * sizes.rotationWidth),
            factors: sizes.buckets.map(Int32.init), into: bucket)
          let index = round * sizes.bucketCount + Int(bucket[0])
          members[index].append(Int32(row))
          lists.append(members[index].suffix(sizes.chunk * sizes.chunksBefore + 1))
        }
        if sizes.window > 0 { lists.append((max(0, row - sizes.window)...row).map(Int32.init)) }
        let output = head.output(row: row, lists: lists, isChain: true) {
          end[0] = Int32($1.count)
          Kernels.runSoftmax(
            $0, first: first, end: end, lastResort: true, maximum: $2, sum: $3)
        }
        let expected = whole[probe.place(row: row, head: number)]
        #expect(output.bitPatterns == expected.bitPatterns, "row \(row), head \(number)")
      }
    }
  }

  @Test(
    "local attention: from a ring of chunks as wide as whole strips, empty places masked",
    arguments: [(8, 1), (32, 0), (33, 2), (64, 4)], [70, 331])
  func local(sizes: (chunk: Int, before: Int), length: Int) {
    let (chunk, slots) = (sizes.chunk, sizes.before + 1)
    let layer = LocalAttention(chunk: chunk, chunksBefore: sizes.before)
    let probe = AttentionProbe(layer, length: length, threads: 2)
    let whole = probe.forward()
    let width = Packed<Float>.width
    let slotRows = (chunk + width - 1) / width * width
    for number in 0..<probe.heads {
      let head = Head(probe, head: number)
      head.scale.fill(1 / Float(probe.width).squareRoot())
      let own = head.arena.integers(1)
      var ring = [Int32](repeating: .max, count: slots * slotRows)
      for row in 0..<length {
        let slot = (row / chunk + slots - 1) % slots * slotRows
        // What a chunk leaves behind is out of sight for the next one in its slot.
        if row % chunk == 0 {
          for place in slot..<slot + chunk { ring[place] = .max }
        }
        ring[slot + row % chunk] = Int32(row)
        own[0] = Int32(row)
        let output = head.output(row: row, lists: [ring], isChain: false) {
          Kernels.maskedSoftmax(
            $0, queryPositions: own, keyPositions: $1, masksSelf: false, maximum: $2, sum: $3)
        }
        let expected = whole[probe.place(row: row, head: number)]
        #expect(output.bitPatterns == expected.bitPatterns, "row \(row), head \(number)")
      }
    }
  }
}
