// Gradients of weights over a block of positions, cut in tiles by size so that every element of a sum is added
// by one task and threads have tasks to share.

/// outputGradient^T input over a block of rows, a sum `[outputs, inputs]` that is set by the first block and added
/// to by others.
public struct WeightGradient<Element: ProductElement> {
  let outputGradient: Packed<Element>
  let input: Packed<Element>
  let sum: Matrix
  let tiles: [(outputs: Range<Int>, inputs: Range<Int>)]

  // A tile's part of `outputGradient` stays in a second-level cache; a gradient cut this small has tiles for all threads.
  private static var outputs: Int { 128 }
  private static var inputs: Int { 256 }

  /// Of `outputGradient` `[rows, outputs]` and `input` `[rows, inputs]`; traps when shapes disagree.
  public init(outputGradient: Factor<Element>, input: Factor<Element>, sum: Matrix) {
    precondition(
      outputGradient.rows == input.rows && outputGradient.columns == sum.rows
        && input.columns == sum.columns, "weight gradient of other shapes")
    self.outputGradient = outputGradient.right
    self.input = input.right
    self.sum = sum
    tiles = Tiling.ranges(sum.rows, by: Self.outputs).flatMap { outputs in
      Tiling.ranges(sum.columns, by: Self.inputs).map { (outputs, $0) }
    }
  }

  func add(tile: Int, isFirst: Bool) {
    let (outputs, inputs) = tiles[tile]
    tileProduct(
      outputGradient.columns(outputs).left.transposed, input.columns(inputs),
      into: sum.rows(outputs).columns(inputs).result, accumulate: !isFirst)
  }
}

extension WorkerPool {
  /// Adds all of `gradients`, or sets the sums where the block `isFirst`; `another` task runs at the same time.
  public func add<Element>(
    _ gradients: [WeightGradient<Element>], isFirst: Bool, another: () -> Void
  ) {
    let tiles = gradients.flatMap { gradient in gradient.tiles.indices.map { (gradient, $0) } }
    run(1 + tiles.count) { index, scratch in
      if index == 0 {
        another()
      } else {
        let (gradient, tile) = tiles[index - 1]
        gradient.add(tile: tile, isFirst: isFirst)
      }
      scratch.lap(.weightGradients)
    }
  }
}
