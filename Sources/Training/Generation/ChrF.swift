// chrF of targets beside those that were wanted (Popovic 2015, "chrF: character n-gram F-score for automatic MT evaluation"), as
// sacrebleu 2 computes it by default.

/// Sums over targets that chrF2 follows from.
public struct ChrF: Sendable, Equatable {
  /// What it is, as sacrebleu says it.
  public static let signature = "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no"
  private static let orders = 6
  /// How much more what was wanted counts than what was written.
  private static let beta = 2.0

  /// Whole numbers, of each order: n-grams written, wanted and both.
  private(set) var sums = [Double](repeating: 0, count: 3 * orders)

  /// Nothing yet.
  public init() {}

  /// What others have summed.
  init(sums: ArraySlice<Double>) { self.sums = Array(sums) }

  /// Adds a target and the one that was wanted.
  public mutating func add(_ text: String, wanted: String) {
    func characters(_ text: String) -> [Unicode.Scalar] {
      text.unicodeScalars.filter { !$0.properties.isWhitespace }
    }
    let (own, other) = (characters(text), characters(wanted))
    for order in 1...Self.orders {
      let (grams, others) = (counts(own, order: order), counts(other, order: order))
      // An order that the wanted target has not is none.
      if !others.isEmpty { sums[3 * order - 3] += Double(max(0, own.count - order + 1)) }
      sums[3 * order - 2] += Double(max(0, other.count - order + 1))
      sums[3 * order - 1] += Double(grams.reduce(0) { $0 + min($1.value, others[$1.key] ?? 0) })
    }
  }

  /// From 0 to 100: of the means over orders of both shares.
  public var score: Double {
    var (precision, recall) = (0.0, 0.0)
    for order in 0..<Self.orders where sums[3 * order] > 0 && sums[3 * order + 1] > 0 {
      precision += sums[3 * order + 2] / sums[3 * order]
      recall += sums[3 * order + 2] / sums[3 * order + 1]
    }
    guard precision + recall > 0 else { return 0 }
    // Both are sums over as many orders.
    let orders = (0..<Self.orders).count { sums[3 * $0] > 0 && sums[3 * $0 + 1] > 0 }
    let factor = Self.beta * Self.beta
    return 100 * (1 + factor) * precision * recall / (factor * precision + recall)
      / Double(orders)
  }
}
