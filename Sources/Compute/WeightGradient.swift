// Gradients of weights over a block of positions, cut in tiles by size so that every element of a sum is added
// by one task and threads have tasks to share.

/// sum `[outputs, inputs]` += outputGradient^T input, over a block of rows.
public struct WeightGradient {
  let outputGradient: Packed<Float>
  let input: Packed<Float>
  let sum: Matrix
  let tiles: [(outputs: Range<Int>, inputs: Range<Int>)]

  // A tile's part of `outputGradient` stays in a second-level cache; its width is for threads to share.
  private static let outputs = 128
  private static let inputs = 256

  /// Of `outputGradient` `[rows, outputs]` and `input` `[rows, inputs]`; traps when shapes disagree.
  public init(outputGradient: Packed<Float>, input: Packed<Float>, sum: Matrix) {
    precondition(
      outputGradient.rows == input.rows && outputGradient.columns == sum.rows
        && input.columns == sum.columns, "weight gradient of other shapes")
    self.outputGradient = outputGradient
    self.input = input
    self.sum = sum
    tiles = Tiling.ranges(sum.rows, by: Self.outputs).flatMap { outputs in
      Tiling.ranges(sum.columns, by: Self.inputs).map { (outputs, $0) }
    }
  }

  func add(tile: Int) {
    let (outputs, inputs) = tiles[tile]
    tileProduct(
      outputGradient.columns(outputs).leftTransposed, input.columns(inputs),
      into: sum.rows(outputs).columns(inputs).result, accumulate: true)
  }
}

extension WorkerPool {
  /// Adds all of `gradients`; `others` run at the same time, each as one task.
  public func add(_ gradients: [WeightGradient], others: [() -> Void]) {
    let tiles = gradients.flatMap { gradient in gradient.tiles.indices.map { (gradient, $0) } }
    run(others.count + tiles.count) { index, scratch in
      if index < others.count {
        others[index]()
      } else {
        let (gradient, tile) = tiles[index - others.count]
        gradient.add(tile: tile)
      }
      scratch.lap(.weightGradients)
    }
  }
}
