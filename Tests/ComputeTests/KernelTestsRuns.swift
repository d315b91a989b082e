// The softmax of rows that see runs of keys, its gradient and its dropout: against double precision, and that no bit
// of a row follows from what lies outside its run or from where the run lies.
import CKernels
import Compute
import Glibc
import Testing

@Suite("Kernels of runs of keys")
struct RunKernelTests {
  /// Rows of which row i sees columns `first[i]` to before `end[i]`: up to its own key, which counts only where there is no
  /// other; or up to any, and the last row none.
  struct Tile {
    let rows = 9
    let keys: Int
    let first, end: [Int32]
    let isLastResort: Bool
    let scores, slopes: [Float]
    var lastResort: Int32 { isLastResort ? 1 : 0 }

    init(before: Int, lastResort: Bool) {
      var dice = Dice(71)
      keys = before + rows
      isLastResort = lastResort
      // The first row sees all before it, the second itself only.
      let first =
        [0, Int32(before + 1)] + (2..<9).map { Int32(dice.integer(below: before + 1 + $0)) }
      self.first = first
      end =
        lastResort
        ? (1...9).map { Int32(before + $0) }
        : first.dropLast().map { $0 + 1 + Int32(dice.integer(below: before + 9 - Int($0))) }
          + [first[8]]
      scores = dice.floats(9 * (before + 9), 4)
      slopes = dice.floats(9 * (before + 9))
    }

    func run(_ i: Int) -> Range<Int> {
      i * keys + Int(first[i])..<i * keys + Int(end[i])
    }
  }

  /// Everything the kernels make of a tile.
  private struct Result {
    var weights, probabilities, gradients, dropped: [Float]
    var top = [Float](repeating: 0, count: 9)
    var sum = [Float](repeating: 0, count: 9)

    init(_ tile: Tile, _ scores: [Float], queries: [Int32], keys: [Int32], d: [Float]) {
      let forward = Guarded(scores, shift: 1)
      ck_run_softmax(
        forward.pointer, tile.rows, tile.keys, tile.first, tile.end, tile.lastResort, &top, &sum)
      let again = Guarded(scores, shift: 2)
      let dp = Guarded(tile.slopes, shift: 3)
      ck_run_softmax_backward(
        again.pointer, dp.pointer, tile.rows, tile.keys, tile.first, tile.end, tile.lastResort, top,
        sum, d)
      let kept = Guarded(tile.slopes, shift: 1)
      ck_dropout_runs(
        kept.pointer, tile.rows, tile.keys, tile.first, tile.end, queries, keys, 1 << 20, 6, 5,
        99, 1 << 30, 4.0 / 3)
      #expect(forward.isIntact && again.isIntact && dp.isIntact && kept.isIntact)
      (weights, probabilities) = (forward.values, again.values)
      (gradients, dropped) = (dp.values, kept.values)
    }
  }

  @Test(
    "runs agree with double precision, and nothing outside them does anything",
    arguments: kernelLevels, ([0] + awkwardSizes).flatMap { [($0, true), ($0, false)] })
  func runs(level: Int32, size: (before: Int, lastResort: Bool)) {
    let tile = Tile(before: size.before, lastResort: size.lastResort)
    let queries = (0..<Int32(tile.rows)).map { 100 * $0 + 7 }
    let keys = (0..<Int32(tile.keys)).map { 31 * $0 }
    let d = (0..<Int32(tile.rows)).map { 0.1 * Float($0) }
    let result = atLevel(level) { Result(tile, tile.scores, queries: queries, keys: keys, d: d) }
    for i in 0..<tile.rows {
      let run = tile.run(i)
      var logits = tile.scores[run].map(Double.init)
      if tile.isLastResort { logits[logits.count - 1] = -1e5 }
      let top = logits.max() ?? -1e9
      #expect(Double(result.top[i]) == top)
      let weights = logits.map { exp($0 - top) }
      let sum = weights.reduce(0, +)
      // As for the masked softmax.
      #expect(worstError([result.sum[i]], [sum], absolute: 1e-30, relative: 2e-6) <= 1)
      #expect(
        worstError(Array(result.weights[run]), weights, absolute: 1e-30, relative: 6e-7) <= 1)
      let probabilities = weights.map { $0 / sum }
      #expect(
        worstError(
          Array(result.probabilities[run]), probabilities, absolute: 1e-9, relative: 2e-6) <= 1)
      var gradients = zip(probabilities, tile.slopes[run]).map {
        $0 * (Double($1) - Double(d[i]))
      }
      if tile.isLastResort { gradients[gradients.count - 1] = 0 }
      #expect(worstError(Array(result.gradients[run]), gradients, absolute: 1e-6) <= 1)
      for place in i * tile.keys..<(i + 1) * tile.keys {
        if run.contains(place) {
          let number = CounterRandom.pairNumber(
            query: Int(queries[i]), key: Int(keys[place % tile.keys]), length: 1 << 20, list: 5,
            of: 6)
          var bits: UInt32 = 0
          ck_philox(99, UInt64(number), &bits, 1)
          let expected = bits < 1 << 30 ? 0 : tile.slopes[place] * Float(4.0 / 3)
          #expect(result.dropped[place] == expected)
        } else {
          #expect(result.weights[place] == 0 && result.probabilities[place] == 0)
          #expect(result.gradients[place] == 0)
          #expect(result.dropped[place] == tile.slopes[place])
        }
      }
    }
  }

  @Test(
    "a row has the bits of its run alone", arguments: kernelLevels,
    [1, 7, 64, 257].flatMap { [($0, true), ($0, false)] })
  func alone(level: Int32, size: (before: Int, lastResort: Bool)) {
    let tile = Tile(before: size.before, lastResort: size.lastResort)
    atLevel(level) {
      var scores = tile.scores
      var top = [Float](repeating: 0, count: tile.rows)
      var sum = top
      ck_run_softmax(
        &scores, tile.rows, tile.keys, tile.first, tile.end, tile.lastResort, &top, &sum)
      for i in 0..<tile.rows {
        var own = Array(tile.scores[tile.run(i)])
        var (ownTop, ownSum): (Float, Float) = (0, 0)
        ck_run_softmax(
          &own, 1, own.count, [0], [Int32(own.count)], tile.lastResort, &ownTop, &ownSum)
        #expect(sameBits(own, Array(scores[tile.run(i)])))
        #expect(sameBits([ownTop, ownSum], [top[i], sum[i]]))
      }
    }
  }
}
