// A small layout, made-up numbers, and an optimizer's step as a whole, for all suites of this module.
import Compute
import Optimizers

enum OptimizerExample {
  /// Three groups; tall, wide and square matrices, and tensors that are no multiple of a cache line.
  static let layout = {
    var layout = ParameterLayout()
    func add(_ name: String, _ shape: [Int], _ kind: ParameterKind) {
      _ = layout.add(name, shape, kind, .constant(0))
    }
    _ = layout.addGroup("embeddings")
    add("words", [256, 7], .embedding)
    add("positions", [12, 1, 5], .table)
    _ = layout.addGroup("layers.0")
    add("norm.weight", [5], .vector)
    add("dense.weight", [33, 65], .matrix)
    add("dense.bias", [33], .vector)
    add("out.weight", [70, 40], .matrix)
    add("escapes", [3, 5], .vector)
    add("square.weight", [16, 16], .matrix)
    _ = layout.addGroup("head")
    add("logits", [256, 30], .output)
    add("logits.bias", [256], .vector)
    return layout
  }()

  /// The same numbers for every test, between -1 and 1.
  static func numbers(_ count: Int, seed: UInt64) -> [Float] {
    var state = seed
    return (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Float(Int64(bitPattern: state) >> 40) / Float(1 << 23)
    }
  }

  static func buffer(_ values: [Float]) -> Buffer<Float> {
    let buffer = Buffer<Float>(values.count)
    buffer.view.copy(from: values)
    return buffer
  }

  /// Numbers for the tensors of the layout, zeros in the padding between them.
  static func tensors(seed: UInt64) -> Buffer<Float> {
    let buffer = Buffer<Float>(layout.count)
    for slot in layout.slots {
      buffer.view[slot.range].copy(from: numbers(slot.count, seed: seed &+ UInt64(slot.offset)))
    }
    return buffer
  }

  /// The groups that each of `ranks` owns whole, dealt in turn.
  static func wholeGroups(rank: Int, ranks: Int) -> [Range<Int>] {
    layout.groups.enumerated().map { index, group in
      index % ranks == rank ? group.range : group.range.lowerBound..<group.range.lowerBound
    }
  }
}

extension Optimizer {
  /// One step on all pieces, in the order given.
  func update(
    parameters: Buffer<Float>, gradients: Buffer<Float>, rate: Double, gradientScale: Double = 1,
    step: Int, order: (Range<Int>) -> [Int] = Array.init
  ) {
    let arena = ScratchArena()
    for piece in order(0..<pieceCount) {
      arena.frame {
        update(
          piece: piece, parameters: parameters.view, gradients: gradients.view, rate: rate,
          gradientScale: gradientScale, step: step, scratch: arena)
      }
    }
  }
}
