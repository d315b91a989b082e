import Compute
import Foundation
import Optimizers
import Testing

@Suite("Adam")
struct AdamTests {
  private typealias Example = OptimizerExample
  private static let layout = Example.layout

  /// Whether weight decay applies at a place, padding behind a matrix included.
  private static func decays(_ place: Int) -> Bool {
    layout.slots.contains {
      $0.specification.decays && ($0.offset..<($0.range.upperBound + 15) / 16 * 16).contains(place)
    }
  }

  @Test("five steps agree with the formula in double precision")
  func reference() {
    let layout = Self.layout
    let settings = OptimizerSettings(beta1: 0.9, beta2: 0.98, epsilon: 1e-6, weightDecay: 0.1)
    let adam = Optimizer(settings: settings, layout: layout, ranges: [0..<layout.count])
    let start = Example.numbers(layout.count, seed: 1)
    let parameters = Example.buffer(start)
    var p = start.map(Double.init)
    var m = [Double](repeating: 0, count: layout.count)
    var v = m
    let decays = (0..<layout.count).map(Self.decays)
    for step in 1...5 {
      let gradients = Example.buffer(Example.numbers(layout.count, seed: UInt64(step) + 1))
      let rate = 0.01 * Double(step)
      adam.update(
        parameters: parameters, gradients: gradients, rate: rate, gradientScale: 0.25, step: step)
      for i in 0..<layout.count {
        let g = Double(gradients.view[i]) * 0.25
        m[i] = 0.9 * m[i] + 0.1 * g
        v[i] = 0.98 * v[i] + 0.02 * g * g
        let mean = m[i] / (1 - pow(0.9, Double(step)))
        let root = (v[i] / (1 - pow(0.98, Double(step)))).squareRoot()
        p[i] -= rate * (mean / (root + 1e-6) + (decays[i] ? 0.1 * p[i] : 0))
      }
    }
    let worst = (0..<layout.count).map { abs(Double(parameters.view[$0]) - p[$0]) }.max() ?? .nan
    // Values of about 1, five steps of a few roundings of 6e-8 each.
    #expect(worst < 2e-6)
    let moved = (0..<layout.count).map { abs(Double(parameters.view[$0] - start[$0])) }.max() ?? 0
    #expect(moved > 0.05)
  }

  @Test("any cut into owned ranges gives the same bits", arguments: [2, 3, 5])
  func shards(ranks: Int) {
    let layout = Self.layout
    let settings = OptimizerSettings(weightDecay: 0.01)
    let whole = Optimizer(settings: settings, layout: layout, ranges: [0..<layout.count])
    let segments = layout.count / ParameterLayout.segment
    let shards = (0..<ranks).map { rank -> Optimizer in
      let bounds = [rank, rank + 1].map { $0 * segments / ranks * ParameterLayout.segment }
      let middle = (bounds[0] + bounds[1]) / 2 / 16 * 16
      // Two ranges, second half first: moments follow the order of the ranges.
      return Optimizer(
        settings: settings, layout: layout, ranges: [middle..<bounds[1], bounds[0]..<middle])
    }
    let start = Example.numbers(layout.count, seed: 7)
    let (one, many) = (Example.buffer(start), Example.buffer(start))
    for step in 1...3 {
      let gradients = Example.buffer(Example.numbers(layout.count, seed: UInt64(step) + 10))
      whole.update(parameters: one, gradients: gradients, rate: 1e-2, step: step)
      for shard in shards {
        shard.update(
          parameters: many, gradients: gradients, rate: 1e-2, step: step, order: { $0.reversed() })
      }
    }
    #expect(one.view.array.map(\.bitPattern) == many.view.array.map(\.bitPattern))
    #expect(one.view.array != start)
    func moments(_ shard: LayoutShard) -> [Int: Float] {
      Dictionary(uniqueKeysWithValues: zip(shard.ranges.joined(), shard.values.view.array))
    }
    for (name, part) in [("first", \Optimizer.firstMoment), ("second", \.secondMoment)] {
      let cut = shards.map { moments($0[keyPath: part]) }.reduce(into: [:]) {
        $0.merge($1, uniquingKeysWith: +)
      }
      #expect(cut == moments(whole[keyPath: part]) && cut.count == layout.count, "\(name)")
    }
  }

  @Test("only owned places change")
  func ownership() {
    let layout = Self.layout
    let owned = 1024..<3072
    let adam = Optimizer(settings: OptimizerSettings(), layout: layout, ranges: [owned])
    let start = Example.numbers(layout.count, seed: 3)
    let parameters = Example.buffer(start)
    let gradients = Example.buffer(Example.numbers(layout.count, seed: 4))
    adam.update(parameters: parameters, gradients: gradients, rate: 0.1, step: 1)
    let changed = (0..<layout.count).filter { parameters.view[$0] != start[$0] }
    #expect(changed == Array(owned))
    #expect(adam.firstMoment.values.count == owned.count)
  }
}
