// Products with few rows. Reading the right side is then all the work, so that threads share its columns instead of the rows.

/// One of several products with the same left side.
public struct ColumnProduct<Element: ProductElement> {
  let weights: Packed<Element>
  let result: ResultOperand
  let bias: View<Float>?
  let relu: Bool

  /// c = a b, ended as by `tileProduct`.
  public init(
    _ weights: Packed<Element>, into result: ResultOperand, bias: View<Float>? = nil,
    relu: Bool = false
  ) {
    self.weights = weights
    self.result = result
    self.bias = bias
    self.relu = relu
  }

  /// The part of some columns, which start at a strip.
  func columns(_ range: Range<Int>) -> ColumnProduct {
    ColumnProduct(
      weights.columns(range), into: result.columns(range), bias: bias?[range], relu: relu)
  }

  /// Computes it on the calling thread.
  public func run(_ left: LeftOperand<Element>) {
    tileProduct(left, weights, into: result, bias: bias, relu: relu)
  }
}

extension WorkerPool {
  // Multiplications that take as long as to hand half of them over.
  private static let leastShared = 1 << 15

  /// Products of one left side with the strips of all right sides shared out evenly; the bits are those of
  /// `tileProduct`.
  public func run<Element>(_ products: [ColumnProduct<Element>], left: LeftOperand<Element>) {
    let width = Packed<Element>.width
    let total = products.reduce(0) { $0 + $1.weights.stripCount }
    let work = total * width * left.columns * Element.numbers * left.rows
    let shares = work < Self.leastShared ? 1 : threadCount
    let share = (total + shares - 1) / shares
    run((total + share - 1) / share) { task, scratch in
      var first = 0
      for product in products {
        let count = product.weights.stripCount
        let own = (task * share - first..<(task + 1) * share - first).clamped(to: 0..<count)
        first += count
        guard !own.isEmpty else { continue }
        product.columns(
          own.lowerBound * width..<min(own.upperBound * width, product.result.columns)
        )
        .run(left)
      }
      scratch.lap(.projections)
    }
  }
}
