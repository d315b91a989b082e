import Compute
import Foundation
import Optimizers
import Testing

@Suite("Adam")
struct AdamTests {
  /// Three groups; the second tensor of the first is no multiple of a cache line.
  private static let layout = {
    var layout = ParameterLayout()
    func add(_ name: String, _ shape: [Int], _ kind: ParameterKind) {
      _ = layout.add(name, shape, kind, .constant(0))
    }
    _ = layout.addGroup("embeddings")
    add("words", [256, 7], .embedding)
    _ = layout.addGroup("layers.0")
    add("dense.weight", [33, 65], .matrix)
    add("dense.bias", [33], .vector)
    add("norm.weight", [5], .vector)
    _ = layout.addGroup("head")
    add("logits", [256, 300], .matrix)
    return layout
  }()

  /// The same numbers for every test, between -1 and 1.
  private static func numbers(_ count: Int, seed: UInt64) -> [Float] {
    var state = seed
    return (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Float(Int64(bitPattern: state) >> 40) / Float(1 << 23)
    }
  }

  private static func buffer(_ values: [Float]) -> Buffer<Float> {
    let buffer = Buffer<Float>(values.count)
    buffer.view.copy(from: values)
    return buffer
  }

  @Test("five steps agree with the formula in double precision")
  func reference() {
    let layout = Self.layout
    let settings = AdamSettings(beta1: 0.9, beta2: 0.98, epsilon: 1e-6, weightDecay: 0.1)
    let decay = Adam.decayRanges(of: layout)
    let adam = Adam(settings: settings, ranges: [0..<layout.count], decayRanges: decay)
    let start = Self.numbers(layout.count, seed: 1)
    let parameters = Self.buffer(start)
    var p = start.map(Double.init)
    var m = [Double](repeating: 0, count: layout.count)
    var v = m
    for step in 1...5 {
      let gradients = Self.buffer(Self.numbers(layout.count, seed: UInt64(step) + 1))
      let rate = 0.01 * Double(step)
      adam.update(
        parameters: parameters.view, gradients: gradients.view, rate: rate, gradientScale: 0.25,
        step: step)
      for i in 0..<layout.count {
        let g = Double(gradients.view[i]) * 0.25
        m[i] = 0.9 * m[i] + 0.1 * g
        v[i] = 0.98 * v[i] + 0.02 * g * g
        let mean = m[i] / (1 - pow(0.9, Double(step)))
        let root = (v[i] / (1 - pow(0.98, Double(step)))).squareRoot()
        let shrink = decay.contains { $0.contains(i) } ? 0.1 * p[i] : 0
        p[i] -= rate * (mean / (root + 1e-6) + shrink)
      }
    }
    let worst = (0..<layout.count).map { abs(Double(parameters.view[$0]) - p[$0]) }.max() ?? .nan
    // Values of about 1, five steps of a few roundings of 6e-8 each.
    #expect(worst < 2e-6)
    let moved = (0..<layout.count).map { abs(Double(parameters.view[$0] - start[$0])) }.max() ?? 0
    #expect(moved > 0.05)
  }

  @Test("the average is that of the parameters after each step, the later ones counting for more")
  func averages() {
    let layout = Self.layout
    let decay = 0.75
    let owned = [2048..<3072, 0..<1024]
    let adam = Adam(
      settings: AdamSettings(average: decay), ranges: owned,
      decayRanges: Adam.decayRanges(of: layout))
    let parameters = Self.buffer(Self.numbers(layout.count, seed: 1))
    var (sum, weights) = ([Double](repeating: 0, count: 2048), 0.0)
    for step in 1...6 {
      let gradients = Self.buffer(Self.numbers(layout.count, seed: UInt64(step) + 1))
      adam.update(
        parameters: parameters.view, gradients: gradients.view, rate: 0.1, gradientScale: 1,
        step: step)
      let now = owned.flatMap { parameters.view[$0].array }
      if step == 1 { #expect(adam.averages.view.array == now) }
      sum = zip(sum, now).map { $0 * decay + Double($1) }
      weights = weights * decay + 1
    }
    let (average, last) = (adam.averages.view.array, parameters.view.array)
    let worst = zip(average, sum).map { abs(Double($0) - $1 / weights) }.max() ?? .nan
    // Values of about 1, six roundings of 6e-8 each.
    #expect(worst < 1e-6)
    adam.swapAverages(parameters: parameters.view)
    #expect(owned.flatMap { parameters.view[$0].array } == average)
    #expect(parameters.view[1024..<2048].array == Array(last[1024..<2048]))
    #expect(
      adam.averages.view.array == owned.flatMap { last[$0] } && average != adam.averages.view.array)
    adam.swapAverages(parameters: parameters.view)
    #expect(parameters.view.array == last && adam.averages.view.array == average)
    #expect(Adam(settings: AdamSettings(), ranges: owned, decayRanges: []).averages.count == 0)
  }

  @Test("any cut into owned ranges gives the same bits", arguments: [2, 3, 5])
  func shards(ranks: Int) {
    let layout = Self.layout
    let settings = AdamSettings(weightDecay: 0.01)
    let decay = Adam.decayRanges(of: layout)
    let whole = Adam(settings: settings, ranges: [0..<layout.count], decayRanges: decay)
    let segments = layout.count / ParameterLayout.segment
    let shards = (0..<ranks).map { rank -> Adam in
      let bounds = [rank, rank + 1].map { $0 * segments / ranks * ParameterLayout.segment }
      let middle = (bounds[0] + bounds[1]) / 2 / 16 * 16
      // Two ranges, second half first: moments follow the order of the ranges.
      return Adam(
        settings: settings, ranges: [middle..<bounds[1], bounds[0]..<middle], decayRanges: decay)
    }
    let start = Self.numbers(layout.count, seed: 7)
    let (one, many) = (Self.buffer(start), Self.buffer(start))
    for step in 1...3 {
      let gradients = Self.buffer(Self.numbers(layout.count, seed: UInt64(step) + 10))
      whole.update(
        parameters: one.view, gradients: gradients.view, rate: 1e-2, gradientScale: 1, step: step)
      for shard in shards {
        for piece in (0..<shard.pieceCount).reversed() {
          shard.update(
            piece: piece, parameters: many.view, gradients: gradients.view, rate: 1e-2,
            gradientScale: 1, step: step)
        }
      }
    }
    #expect(one.view.array.map(\.bitPattern) == many.view.array.map(\.bitPattern))
    #expect(one.view.array != start)
    for shard in shards {
      var offset = 0
      for range in shard.ranges {
        let local = offset..<(offset + range.count)
        #expect(shard.firstMoment.view[local].array == whole.firstMoment.view[range].array)
        #expect(shard.secondMoment.view[local].array == whole.secondMoment.view[range].array)
        offset = local.upperBound
      }
    }
  }

  @Test("only owned places change")
  func ownership() {
    let layout = Self.layout
    let owned = 1024..<3072
    let adam = Adam(settings: AdamSettings(), ranges: [owned], decayRanges: [])
    let start = Self.numbers(layout.count, seed: 3)
    let parameters = Self.buffer(start)
    let gradients = Self.buffer(Self.numbers(layout.count, seed: 4))
    adam.update(
      parameters: parameters.view, gradients: gradients.view, rate: 0.1, gradientScale: 1, step: 1)
    let changed = (0..<layout.count).filter { parameters.view[$0] != start[$0] }
    #expect(changed == Array(owned))
    #expect(adam.firstMoment.count == owned.count)
  }

  @Test("weight decay shrinks matrices and leaves biases, gains and embeddings alone")
  func decayedSlots() {
    let layout = Self.layout
    let adam = Adam(
      settings: AdamSettings(weightDecay: 0.5), ranges: [0..<layout.count],
      decayRanges: Adam.decayRanges(of: layout))
    let parameters = Buffer<Float>(layout.count)
    parameters.view.fill(1)
    let gradients = Buffer<Float>(layout.count)
    adam.update(
      parameters: parameters.view, gradients: gradients.view, rate: 0.5, gradientScale: 1, step: 1)
    // No gradient: a decayed parameter of 1 becomes 1 - 0.5 * 0.5, exactly.
    for slot in layout.slots {
      let decays = ["dense.weight", "logits"].contains(slot.name)
      let values = Set(parameters.view[slot.range].array)
      #expect(values == [decays ? 0.75 : 1], "\(slot.name)")
    }
  }
}
