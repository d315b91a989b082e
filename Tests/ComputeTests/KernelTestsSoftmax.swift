// The masked softmax of score tiles, its gradient, the merging of tiles, and the cross-entropy.
import CKernels
import Glibc
import Testing

@Suite("Kernels of softmax and loss")
struct SoftmaxKernelTests {
  /// A tile in which keys come before, at and after the queries, with one query before all keys.
  struct Tile {
    let rows = 9
    let keys: Int
    let scores: [Float]
    let queries, keyPositions: [Int32]

    init(keys: Int, seed: UInt64 = 51) {
      var dice = Dice(seed)
      self.keys = keys
      scores = dice.floats(rows * keys, 4)
      keyPositions = (0..<keys).map { _ in 10 + Int32(dice.integer(below: keys + 3)) }
      queries =
        [5, 10, keyPositions[0]] + (0..<6).map { _ in 10 + Int32(dice.integer(below: keys + 3)) }
    }

    /// Logit of a score after masking; nil where the key is after the query, and not seen by all.
    func logit(
      _ score: Double, _ row: Int, _ key: Int, _ through: Int32, _ maskSelf: Bool
    ) -> Double? {
      if keyPositions[key] > max(queries[row], through) { return nil }
      return maskSelf && keyPositions[key] == queries[row] ? -1e5 : score
    }

    /// exp(logit - maximum) of a row, the maximum and the sum, in double precision.
    func row(
      _ i: Int, _ scores: [Double], _ through: Int32, _ maskSelf: Bool
    ) -> (e: [Double], max: Double, sum: Double) {
      let logits = (0..<keys).map { logit(scores[$0], i, $0, through, maskSelf) }
      let top = logits.compactMap { $0 }.max() ?? -1e9
      let e = logits.map { $0.map { exp($0 - top) } ?? 0 }
      return (e, top, e.reduce(0, +))
    }

    func scores(of i: Int) -> [Double] { scores[(i * keys)..<((i + 1) * keys)].map(Double.init) }
  }

  @Test(
    "probabilities agree with double precision under both masks",
    arguments: kernelLevels, awkwardSizes)
  func forward(level: Int32, keys: Int) {
    let tile = Tile(keys: keys)
    for (through, maskSelf) in [(Int32(-1), false), (-1, true), (20, true)] {
      let scores = Guarded(tile.scores, shift: 1)
      var top = [Float](repeating: 0, count: tile.rows)
      var sum = top
      atLevel(level) {
        ck_masked_softmax(
          scores.pointer, tile.rows, keys, tile.queries, tile.keyPositions, through,
          maskSelf ? 1 : 0, &top, &sum)
      }
      if through < 0 {
        #expect(top[0] == -1e9 && sum[0] == 0, "the first query is before all keys")
      }
      for i in 0..<tile.rows {
        let exact = tile.row(i, tile.scores(of: i), through, maskSelf)
        #expect(Double(top[i]) == exact.max)
        // exp is within 2 ulp (2.4e-7) and its argument, at most 8 in size, within half an ulp.
        let row = Array(scores.values[(i * keys)..<((i + 1) * keys)])
        #expect(worstError(row, exact.e, absolute: 1e-30, relative: 6e-7) <= 1)
        #expect(worstError([sum[i]], [exact.sum], absolute: 1e-30, relative: 2e-6) <= 1)
      }
      #expect(scores.isIntact)
    }
  }

  @Test(
    "the gradient of a tile is that of finite differences", arguments: kernelLevels, [1, 7, 33, 64])
  func backward(level: Int32, keys: Int) {
    let tile = Tile(keys: keys, seed: 52)
    var dice = Dice(53)
    let weights = dice.floats(tile.rows * keys)
    for (through, maskSelf) in [(Int32(-1), false), (-1, true), (20, true)] {
      var statistics: (max: [Float], sum: [Float], d: [Float]) = ([], [], [])
      var probabilities: [Double] = []
      var gradient: [Double] = []
      for i in 0..<tile.rows {
        let dp = weights[(i * keys)..<((i + 1) * keys)].map(Double.init)
        let exact = tile.row(i, tile.scores(of: i), through, maskSelf)
        let p = exact.e.map { exact.sum > 0 ? $0 / exact.sum : 0 }
        statistics.max.append(Float(exact.max))
        statistics.sum.append(Float(exact.sum))
        statistics.d.append(Float(zip(p, dp).reduce(0) { $0 + $1.0 * $1.1 }))
        probabilities += p
        gradient += differences(
          of: { scores in
            let row = tile.row(i, scores, through, maskSelf)
            guard row.sum > 0 else { return 0 }
            return zip(row.e, dp).reduce(0) { $0 + $1.0 / row.sum * $1.1 }
          }, at: tile.scores(of: i))
      }
      let scores = Guarded(tile.scores, shift: 1)
      let dp = Guarded(weights, shift: 3)
      atLevel(level) {
        ck_masked_softmax_backward(
          scores.pointer, dp.pointer, tile.rows, keys, tile.queries, tile.keyPositions,
          through, maskSelf ? 1 : 0, statistics.max, statistics.sum, statistics.d)
      }
      // Probabilities as in forward, with sum rounded and inverted; ds multiplies them by dp - d,
      // a difference of numbers below 2.
      #expect(worstError(scores.values, probabilities, absolute: 1e-9, relative: 2e-6) <= 1)
      #expect(worstError(dp.values, gradient, absolute: 1e-6) <= 1)
      for i in 0..<tile.rows {
        for j in 0..<keys {
          let (key, query) = (tile.keyPositions[j], tile.queries[i])
          if key > max(query, through) || (maskSelf && key == query) {
            #expect(dp.values[i * keys + j] == 0)
          }
        }
      }
      #expect(scores.isIntact && dp.isIntact)
    }
  }

  @Test("rows come out the same alone and together", arguments: kernelLevels, [7, 64, 100])
  func rowCuts(level: Int32, keys: Int) {
    let tile = Tile(keys: keys)
    func run(shift: Int, rowsPerCall: Int) -> [[UInt8]] {
      let forward = Guarded(tile.scores, shift: shift)
      let backward = Guarded(tile.scores, shift: shift)
      let dp = Guarded(tile.scores, shift: shift)
      let keyPositions = Guarded(tile.keyPositions, shift: shift)
      let top = Guarded([Float](repeating: 0, count: tile.rows))
      let sum = Guarded([Float](repeating: 0, count: tile.rows))
      for i in stride(from: 0, to: tile.rows, by: rowsPerCall) {
        let n = min(rowsPerCall, tile.rows - i)
        let queries = Array(tile.queries[i..<(i + n)])
        ck_masked_softmax(
          forward.pointer + i * keys, n, keys, queries, keyPositions.pointer, -1, 1,
          top.pointer + i, sum.pointer + i)
        ck_masked_softmax_backward(
          backward.pointer + i * keys, dp.pointer + i * keys, n, keys, queries,
          keyPositions.pointer, -1, 1, top.pointer + i, sum.pointer + i, sum.pointer + i)
      }
      return [forward, backward, dp, top, sum].map(\.bytes)
    }
    atLevel(level) {
      let whole = run(shift: 0, rowsPerCall: tile.rows)
      #expect(run(shift: 1, rowsPerCall: 1) == whole)
      #expect(run(shift: 2, rowsPerCall: 4) == whole)
    }
  }

  @Test("merged tiles are one softmax over all their keys", arguments: kernelLevels, awkwardSizes)
  func merge(level: Int32, width: Int) {
    let (tileKeys, tileCount, stride) = (12, 4, width + 1)
    var dice = Dice(54)
    let tiles = (0..<tileCount).map { Tile(keys: tileKeys, seed: 60 + UInt64($0)) }
    let queries = tiles[0].queries
    let rows = queries.count
    let values = (0..<tileCount).map { _ in dice.floats(tileKeys * width) }
    // Rows of the result in reverse order, beside one padding row that must be skipped.
    let index = (0..<rows).map { Int32(rows - 1 - $0) } + [Int32(rows)]
    let out = Guarded([Float](repeating: 0, count: rows * stride), shift: 1)
    var top = [Float](repeating: -.infinity, count: rows * 2)
    var sum = [Float](repeating: 0, count: rows * 2)
    var exact = (0..<rows).map { _ in (logits: [Double](), values: [[Double]]()) }
    for (tile, value) in zip(tiles, values) {
      var scores = tile.scores
      var tileTop = [Float](repeating: 0, count: rows + 1)
      var tileSum = tileTop
      atLevel(level) {
        ck_masked_softmax(
          &scores, rows, tileKeys, queries, tile.keyPositions, -1, 1, &tileTop, &tileSum)
      }
      var partial = [Float](repeating: .nan, count: (rows + 1) * width)
      for i in 0..<rows {
        for j in 0..<width {
          partial[i * width + j] = (0..<tileKeys).reduce(0) {
            $0 + scores[i * tileKeys + $1] * value[$1 * width + j]
          }
        }
        for key in 0..<tileKeys where tile.keyPositions[key] <= queries[i] {
          let own = tile.keyPositions[key] == queries[i]
          exact[i].logits.append(own ? -1e5 : Double(tile.scores[i * tileKeys + key]))
          exact[i].values.append((0..<width).map { Double(value[key * width + $0]) })
        }
      }
      atLevel(level) {
        ck_merge_rows(
          out.pointer, stride, &top, &sum, 2, index, rows + 1, width, Int32(rows), partial, tileTop,
          tileSum)
      }
    }
    #expect(top[(rows - 1) * 2] == -1e9 && sum[(rows - 1) * 2] == 0, "query 0 sees no key")
    sum[(rows - 1) * 2] = 1  // so that its zeros can be divided
    atLevel(level) { ck_normalize_rows(out.pointer, stride, rows, width, sum, 2) }
    for i in 0..<rows {
      let at = rows - 1 - i
      let logits = exact[i].logits
      let largest = logits.max() ?? -1e9
      let weights = logits.map { exp($0 - largest) }
      let total = weights.reduce(0, +)
      let expected = (0..<width).map { j in
        logits.isEmpty
          ? 0 : logits.indices.reduce(0) { $0 + weights[$1] * exact[i].values[$1][j] } / total
      }
      #expect(Double(top[at * 2]) == largest)
      // Up to 48 terms below 1, weighted with exponentials that are good to 6e-7 relatively.
      let row = Array(out.values[(at * stride)..<(at * stride + width)])
      #expect(worstError(row, expected, absolute: 3e-6) <= 1)
      #expect(out.values[at * stride + width] == 0)
    }
    #expect(out.isIntact)
  }

  @Test(
    "cross-entropy and its gradient agree with double precision",
    arguments: kernelLevels, [2, 7, 64, 100, 256, 258])
  func crossEntropy(level: Int32, classes: Int) {
    let (rows, stride) = (6, classes + 3)
    var dice = Dice(55)
    var logits = dice.floats(rows * stride, 6)
    for j in 0..<classes { logits[2 * stride + j] *= 1e4 }  // no overflow, however large
    for j in 0..<classes { logits[3 * stride + j] -= 300 }  // no underflow, all far below 0
    let targets = (0..<rows).map { $0 == 4 ? -1 : Int32(dice.integer(below: classes)) }
    var losses = [Float](repeating: -1, count: rows)
    var lossesAlone = losses
    let gradients = Guarded(logits, shift: 1)
    let untouched = Guarded(logits, shift: 2)
    atLevel(level) {
      ck_cross_entropy(gradients.pointer, stride, rows, classes, targets, 1, 0.25, &losses)
      ck_cross_entropy(untouched.pointer, stride, rows, classes, targets, 0, 0.25, &lossesAlone)
    }
    #expect(untouched.bytes == Guarded(logits).bytes)
    #expect(sameBits(losses, lossesAlone))
    for i in 0..<rows {
      let row = Array(gradients.values[(i * stride)..<(i * stride + classes)])
      #expect(
        Array(gradients.values[(i * stride + classes)..<((i + 1) * stride)])
          == Array(logits[(i * stride + classes)..<((i + 1) * stride)]))
      guard targets[i] >= 0 else {
        #expect(losses[i] == 0)
        #expect(row.allSatisfy { $0 == 0 })
        continue
      }
      func loss(_ x: [Double]) -> Double {
        let top = x.max() ?? 0
        return log(x.reduce(0) { $0 + exp($1 - top) }) + top - x[Int(targets[i])]
      }
      let x = logits[(i * stride)..<(i * stride + classes)].map(Double.init)
      // The logarithm and the difference of logits round at their size.
      #expect(worstError([losses[i]], [loss(x)], absolute: 2e-6, relative: 2e-7) <= 1)
      // A step of 1e-5 in logits of size 6e4 leaves 6e-7 of rounding in the differences. Otherwise
      // probabilities are good to a few 1e-7, times 0.25.
      let expected = differences(of: loss, at: x).map { 0.25 * $0 }
      #expect(worstError(row, expected, absolute: i == 2 ? 2e-6 : 5e-7) <= 1)
    }
  }

  @Test(
    "a logit that is NaN gives a loss that is NaN, wherever it stands", arguments: kernelLevels,
    [2, 7, 64, 100, 258])
  func crossEntropyOfNaN(level: Int32, classes: Int) {
    var dice = Dice(56)
    for place in Set([0, 1, classes / 2, classes - 1]) {
      for (target, value) in [(0, Float.nan), (classes - 1, -.nan), (0, .infinity)] {
        var logits = dice.floats(classes, 6)
        logits[place] = value
        var loss: [Float] = [0]
        atLevel(level) {
          ck_cross_entropy(&logits, classes, 1, classes, [Int32(target)], 1, 0.25, &loss)
        }
        #expect(loss[0].isNaN, "\(value) at \(place)")
        #expect(logits.contains { $0.isNaN })
      }
    }
  }

  @Test("a score that is NaN reaches sums, outputs and gradients", arguments: kernelLevels)
  func softmaxOfNaN(level: Int32) {
    let keys = 40
    var dice = Dice(57)
    for place in [0, 15, 16, 39] {
      let clean = dice.floats(keys, 4)
      var scores = clean
      scores[place] = .nan
      var (top, sum): ([Float], [Float]) = ([0], [0])
      var (out, maximum, total): ([Float], [Float], [Float]) = ([1], [2], [1])
      var (again, dp) = (clean, clean)
      atLevel(level) {
        let positions = (0..<keys).map { Int32($0) }
        ck_masked_softmax(&scores, 1, keys, [Int32(keys)], positions, -1, 0, &top, &sum)
        ck_merge_rows(&out, 1, &maximum, &total, 1, [0], 1, 1, 1, scores, top, sum)
        ck_masked_softmax_backward(
          &again, &dp, 1, keys, [Int32(keys)], positions, -1, 0, top, sum, [0])
      }
      #expect(sum[0].isNaN && total[0].isNaN, "NaN at \(place)")
      #expect(again.allSatisfy { $0.isNaN } && dp.allSatisfy { $0.isNaN }, "NaN at \(place)")
    }
  }
}
