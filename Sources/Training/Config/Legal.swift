// Which of a type's values a key takes, with the words that say so. A key of numbers cannot be declared
// without a range.

/// What bounds sizes, whatever they are of.
package enum ConfigLimits {
  /// Largest width or count: a machine can hold it, and products of two or three fit 64 bits.
  package static let size = 1 << 20
  /// Positions are 32-bit in the kernels; this leaves room for padding to chunks.
  package static let length = 1 << 27
}

extension [Int] {
  /// Whether the product of positive numbers reaches `bound`, without overflow on the way.
  func productReaches(_ bound: Int) -> Bool {
    var product = 1
    for factor in self {
      let (next, overflow) = product.multipliedReportingOverflow(by: factor)
      if overflow { return true }
      product = next
    }
    return product >= bound
  }
}

/// The values a key takes.
struct Legal<Value: Sendable>: Sendable {
  /// In words, for messages and for the reference.
  let text: String
  /// Whether a value is one of them; false for NaN.
  let contains: @Sendable (Value) -> Bool
  /// The first and the last of them, or all, where that can be said: what tests try.
  var examples: [Value] = []
  /// Values by the names that earlier programs gave them.
  var formerNames: [String: Value] = [:]
  /// Whether, for a list, its only entry will do.
  var takesEntry = false
}

extension Legal where Value == Int {
  /// Whole numbers; `zero` says what 0 stands for.
  static func from(_ low: Int, to high: Int, zero: String? = nil) -> Self {
    Legal(
      text: "a whole number from \(low) to \(high)" + (zero.map { ", 0 \($0)" } ?? ""),
      contains: { (low...high).contains($0) }, examples: [low, high])
  }
}

extension Legal where Value == Double {
  /// Numbers up to and including `high`; `zero` says what 0 stands for.
  static func from(_ low: Double, to high: Double, zero: String? = nil) -> Self {
    Legal(
      text: "a number from \(short(low)) to \(short(high))" + (zero.map { ", 0 \($0)" } ?? ""),
      contains: { (low...high).contains($0) }, examples: [low, high])
  }

  /// Numbers below `limit`.
  static func from(_ low: Double, below limit: Double) -> Self {
    Legal(
      text: "a number from \(short(low)) to below \(short(limit))",
      contains: { (low..<limit).contains($0) }, examples: [low, limit.nextDown])
  }

  private static func short(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e12 ? "\(Int(value))" : "\(value)"
  }
}

extension Legal where Value == Bool {
  /// Both.
  static var any: Self {
    Legal(text: "true or false", contains: { _ in true }, examples: [false, true])
  }
}

extension Legal where Value: ConfigChoice {
  /// Every case of the type.
  static var any: Self {
    let cases = Array(Value.allCases)
    return Legal(
      text: cases.map { ConfigValue.text($0.rawValue).toml }.joined(separator: " or "),
      contains: { _ in true }, examples: cases, formerNames: Value.formerNames)
  }
}

extension Legal where Value == String {
  /// Texts that are `what`.
  static func text(_ what: String, _ contains: @escaping @Sendable (String) -> Bool) -> Self {
    Legal(text: what, contains: contains)
  }

  /// Whether a text can name a folder or a corpus: letters, digits, `-`, `_` and `.`, not first.
  static func isName(_ text: String) -> Bool {
    let letters = text.utf8.allSatisfy {
      (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
        || [0x2D, 0x2E, 0x5F].contains($0)
    }
    return letters && !text.isEmpty && text.utf8.count <= 200 && !text.hasPrefix(".")
  }
}

/// Lists of `count` entries, each one of `entries`.
extension Legal {
  static func list<Entry>(
    _ count: ClosedRange<Int>, of entries: Legal<Entry>
  ) -> Legal where Value == [Entry] {
    let number =
      count.count == 1 ? "\(count.lowerBound)" : "\(count.lowerBound) to \(count.upperBound)"
    return Legal(
      text: "a list of \(number) entries, each \(entries.text)",
      contains: { count.contains($0.count) && $0.allSatisfy(entries.contains) },
      examples: entries.examples.map { [Entry](repeating: $0, count: max(1, count.lowerBound)) })
  }
}
