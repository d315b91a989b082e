// Which of a type's values a key takes, with the words that say so. A key of numbers cannot be declared
// without a range.

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
      examples: entries.examples.map { [Entry](repeating: $0, count: count.lowerBound) })
  }
}
