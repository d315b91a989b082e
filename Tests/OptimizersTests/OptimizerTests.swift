// What holds for every optimizer.
import Compute
import Optimizers
import Testing

@Suite("Optimizers")
struct OptimizerTests {
  private typealias Example = OptimizerExample
  private static let layout = Example.layout

  @Test(
    "groups dealt to ranks give the same bits in any order of pieces, moments and averages included",
    arguments: OptimizerKind.allCases, [1, 2, 3])
  func ranks(kind: OptimizerKind, ranks: Int) {
    let layout = Self.layout
    let settings = OptimizerSettings(kind: kind, weightDecay: 0.01, average: 0.5)
    let whole = Optimizer(settings: settings, layout: layout, ranges: [0..<layout.count])
    let shards = (0..<ranks).map {
      Optimizer(
        settings: settings, layout: layout, ranges: Example.wholeGroups(rank: $0, ranks: ranks))
    }
    let start = Example.tensors(seed: 7)
    let (one, many) = (Example.buffer(start.view.array), Example.buffer(start.view.array))
    for step in 1...3 {
      let gradients = Example.tensors(seed: UInt64(step) * 10)
      whole.update(parameters: one, gradients: gradients, rate: 1e-2, step: step)
      for shard in shards {
        shard.update(
          parameters: many, gradients: gradients, rate: 1e-2, step: step, order: { $0.reversed() })
      }
    }
    #expect(one.view.array.map(\.bitPattern) == many.view.array.map(\.bitPattern))
    for slot in layout.slots {
      #expect(one.view[slot.range].array != start.view[slot.range].array, "\(slot.name)")
    }
    func kept(_ optimizer: Optimizer) -> [[Int: UInt32]] {
      optimizer.shards.map { shard in
        Dictionary(
          uniqueKeysWithValues: zip(
            shard.ranges.joined(), shard.values.view.array.map(\.bitPattern)))
      }
    }
    let parts = shards.map(kept)
    for (index, expected) in kept(whole).enumerated() {
      let all = parts.map { $0[index] }.reduce(into: [:]) { $0.merge($1) { $1 &- $0 } }
      #expect(all == expected, "\(whole.shards[index].name)")
    }
  }

  @Test(
    "a step goes against the gradient, and the rate scales it", arguments: OptimizerKind.allCases)
  func descent(kind: OptimizerKind) {
    let layout = Self.layout
    let gradients = Example.tensors(seed: 3)
    func moved(rate: Double) -> [Double] {
      let optimizer = Optimizer(
        settings: OptimizerSettings(kind: kind), layout: layout, ranges: [0..<layout.count])
      let (start, parameters) = (Example.tensors(seed: 1), Example.tensors(seed: 1))
      optimizer.update(parameters: parameters, gradients: gradients, rate: rate, step: 1)
      return zip(parameters.view.array, start.view.array).map { Double($0) - Double($1) }
    }
    let (short, long) = (moved(rate: 0.01), moved(rate: 0.02))
    for slot in layout.slots {
      let along = zip(slot.range.map { short[$0] }, gradients.view[slot.range].array)
        .reduce(0) { $0 + $1.0 * Double($1.1) }
      #expect(along < 0, "\(slot.name)")
      // Two roundings of numbers of about 1.
      #expect(slot.range.allSatisfy { abs(long[$0] - 2 * short[$0]) < 4e-7 }, "\(slot.name)")
    }
  }

  @Test(
    "weight decay shrinks matrices and leaves biases, gains and embeddings alone",
    arguments: OptimizerKind.allCases)
  func decayedSlots(kind: OptimizerKind) {
    let layout = Self.layout
    let optimizer = Optimizer(
      settings: OptimizerSettings(kind: kind, weightDecay: 0.5), layout: layout,
      ranges: [0..<layout.count])
    let parameters = Buffer<Float>(layout.count)
    parameters.view.fill(1)
    optimizer.update(parameters: parameters, gradients: Buffer(layout.count), rate: 0.5, step: 1)
    // No gradient: a decayed parameter of 1 becomes 1 - 0.5 * 0.5, exactly.
    for slot in layout.slots {
      let decays = ["dense.weight", "out.weight", "square.weight", "logits"].contains(slot.name)
      let values = Set(parameters.view[slot.range].array)
      #expect(values == [decays ? 0.75 : 1], "\(slot.name)")
    }
  }

  @Test(
    "shares stay between 0 and 1, and their averages too", arguments: OptimizerKind.allCases)
  func shares(kind: OptimizerKind) throws {
    var layout = ParameterLayout()
    _ = layout.addGroup("layers.0")
    let bias = layout.add("bias", [5], .vector, .constant(0))
    let shares = layout.add("span", [5], .share, .constant(0))
    let weight = layout.add("weight", [8, 9], .matrix, .constant(0))
    let optimizer = Optimizer(
      settings: OptimizerSettings(kind: kind, average: 0.5), layout: layout,
      ranges: [0..<layout.count])
    let (parameters, gradients) = (Buffer<Float>(layout.count), Buffer<Float>(layout.count))
    for slot in [bias, shares] {
      parameters.view[slot.range].copy(from: [0, 0.4, 1, 0, 1])
      gradients.view[slot.range].copy(from: [1, 1, -1, -1, 1])
    }
    gradients.view[weight.range].fill(1)
    optimizer.update(parameters: parameters, gradients: gradients, rate: 0.1, step: 1)
    let (free, kept) = (
      parameters.view[bias.range].array, parameters.view[shares.range].array
    )
    #expect(free[0] < 0 && free[2] > 1)
    #expect(kept == free.map { min(max($0, 0), 1) } && 0..<0.4 ~= kept[1] && kept[3] > 0)
    #expect(parameters.view[weight.range].array.allSatisfy { $0 < 0 })
    optimizer.swapAverages(parameters: parameters.view)
    #expect(parameters.view[shares.range].array == kept)
  }

  @Test(
    "the average is that of the parameters after each step, the later ones counting for more",
    arguments: OptimizerKind.allCases)
  func averages(kind: OptimizerKind) throws {
    let layout = Self.layout
    let decay = 0.75
    // The last group before the first: averages follow the order of the ranges.
    let owned = [layout.groups[2].range, layout.groups[0].range]
    let optimizer = Optimizer(
      settings: OptimizerSettings(kind: kind, average: decay), layout: layout, ranges: owned)
    let kept = try #require(optimizer.averages)
    let parameters = Example.tensors(seed: 1)
    let places = owned.flatMap(Array.init)
    let numbers = Set(layout.slots.flatMap { Array($0.range) })
    var (sum, weights) = ([Double](repeating: 0, count: places.count), 0.0)
    for step in 1...6 {
      optimizer.update(
        parameters: parameters, gradients: Example.tensors(seed: UInt64(step) * 10), rate: 0.1,
        step: step)
      let now = places.map { parameters.view[$0] }
      if step == 1 { #expect(kept.values.view.array == now) }
      sum = zip(sum, now).map { $0 * decay + Double($1) }
      weights = weights * decay + 1
    }
    let (average, last) = (kept.values.view.array, parameters.view.array)
    let worst = zip(average, sum).map { abs(Double($0) - $1 / weights) }.max() ?? .nan
    // Values of about 1, six roundings of 6e-8 each.
    #expect(worst < 1e-6)
    optimizer.swapAverages(parameters: parameters.view)
    #expect(
      zip(places, average).allSatisfy { !numbers.contains($0) || parameters.view[$0] == $1 })
    #expect(
      parameters.view[layout.groups[1].range].array == Array(last[layout.groups[1].range]))
    #expect(kept.values.view.array != average)
    optimizer.swapAverages(parameters: parameters.view)
    #expect(parameters.view.array == last && kept.values.view.array == average)
    #expect(
      Optimizer(settings: OptimizerSettings(kind: kind), layout: layout, ranges: owned).averages
        == nil)
  }

  @Test("scratch is what the plan says", arguments: OptimizerKind.allCases)
  func scratch(kind: OptimizerKind) {
    let layout = Self.layout
    let optimizer = Optimizer(
      settings: OptimizerSettings(kind: kind), layout: layout, ranges: [0..<layout.count])
    let (parameters, gradients) = (Example.tensors(seed: 1), Example.tensors(seed: 2))
    let arena = ScratchArena()
    for piece in 0..<optimizer.pieceCount {
      arena.frame {
        optimizer.update(
          piece: piece, parameters: parameters.view, gradients: gradients.view, rate: 0.1,
          gradientScale: 1, step: 1, scratch: arena)
      }
    }
    withExtendedLifetime((parameters, gradients)) {}
    let planned = OptimizerPieces(kind: kind, layout: layout, ranges: [0..<layout.count])
      .scratchCount
    // Each loan is rounded up to a cache line.
    #expect(
      arena.highWaterBytes - 4 * planned <= 3 * 64 && 4 * planned - arena.highWaterBytes <= 128)
  }
}
