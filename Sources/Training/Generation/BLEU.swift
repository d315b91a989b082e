// BLEU of targets beside those that were wanted (Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine
// translation"), as sacrebleu 2 computes it by default (Post 2018, "A call for clarity in reporting BLEU scores").
import Foundation

/// Sums over targets that BLEU follows from.
public struct BLEU: Sendable, Equatable {
  /// What it is, as sacrebleu says it.
  public static let signature = "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp"
  private static let orders = 4

  /// Whole numbers: matches of each order, n-grams of each order that were written, words written, words wanted.
  private(set) var sums = [Double](repeating: 0, count: 2 * orders + 2)

  /// Nothing yet.
  public init() {}

  /// What others have summed.
  init(sums: ArraySlice<Double>) { self.sums = Array(sums) }

  /// Adds a target and the one that was wanted.
  public mutating func add(_ text: String, wanted: String) {
    let (own, other) = (Self.words(text), Self.words(wanted))
    for order in 1...Self.orders {
      let (grams, others) = (counts(own, order: order), counts(other, order: order))
      sums[order - 1] += Double(grams.reduce(0) { $0 + min($1.value, others[$1.key] ?? 0) })
      sums[Self.orders + order - 1] += Double(max(0, own.count - order + 1))
    }
    sums[2 * Self.orders] += Double(own.count)
    sums[2 * Self.orders + 1] += Double(other.count)
  }

  /// From 0 to 100.
  public var score: Double {
    let (written, wanted) = (sums[2 * Self.orders], sums[2 * Self.orders + 1])
    guard sums[2 * Self.orders - 1] > 0, sums[0] > 0 else { return 0 }
    var (logarithm, smoothing) = (0.0, 1.0)
    for order in 0..<Self.orders {
      let (matches, total) = (sums[order], sums[Self.orders + order])
      // An order without a match counts as half, a quarter ... of one.
      if matches == 0 { smoothing *= 2 }
      logarithm += log((matches > 0 ? matches : 1 / smoothing) / total) / Double(Self.orders)
    }
    return 100 * exp(logarithm + min(0, 1 - wanted / written))
  }

  /// The words of a line by the rules of mteval-v13a.
  static func words(_ text: String) -> [[Unicode.Scalar]] {
    var line = text.replacing("<skipped>", with: "")
    for (name, character) in [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")] {
      line = line.replacing(name, with: character)
    }
    var scalars = [" "] + Array(line.unicodeScalars) + [" "]
    func isDigit(_ scalar: Unicode.Scalar) -> Bool { ("0"..."9").contains(scalar) }
    func isPoint(_ scalar: Unicode.Scalar) -> Bool { scalar == "." || scalar == "," }
    scalars = scalars.flatMap { isSign($0) ? [" ", $0, " "] : [$0] }
    // A point stands for itself unless digits are on both sides of it; so does a dash after a digit.
    scalars = pairs(scalars) { !isDigit($0) && isPoint($1) ? [$0, " ", $1, " "] : nil }
    scalars = pairs(scalars) { isPoint($0) && !isDigit($1) ? [" ", $0, " ", $1] : nil }
    scalars = pairs(scalars) { isDigit($0) && $1 == "-" ? [$0, " ", $1, " "] : nil }
    return scalars.split(whereSeparator: \.properties.isWhitespace).map(Array.init)
  }

  /// Signs of ASCII but the apostrophe, point, comma, dash and blank.
  private static func isSign(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "{"..."~", "["..."`", "!"..."&", "("..."+", ":"..."@", "/": true
    default: false
    }
  }

  /// What becomes of neighbours, first to last; each is part of one change at most.
  private static func pairs(
    _ scalars: [Unicode.Scalar], _ change: (Unicode.Scalar, Unicode.Scalar) -> [Unicode.Scalar]?
  ) -> [Unicode.Scalar] {
    var (result, place) = ([Unicode.Scalar](), 0)
    while place < scalars.count {
      if place + 1 < scalars.count, let changed = change(scalars[place], scalars[place + 1]) {
        result += changed
        place += 2
      } else {
        result.append(scalars[place])
        place += 1
      }
    }
    return result
  }
}

/// How often each run of `order` items is in a sequence.
func counts<Item: Hashable>(_ items: [Item], order: Int) -> [ArraySlice<Item>: Int] {
  guard items.count >= order else { return [:] }
  return (0...items.count - order).reduce(into: [:]) {
    $0[items[$1..<$1 + order], default: 0] += 1
  }
}
