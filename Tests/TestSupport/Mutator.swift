// Damaged copies of good inputs, for readers that must survive anything: bytes changed, cut, repeated,
// mixed, and what readers of numbers and brackets stumble over put in.

/// A seeded source of damaged inputs; equal seeds give equal inputs.
public struct Mutator {
  private let samples: [[UInt8]]
  private let words: [[UInt8]]
  private var state: UInt64

  /// Numbers at the edges of types, brackets, escapes and bytes that are no text.
  private static let pitfalls: [[UInt8]] =
    [
      "0", "-1", "9223372036854775807", "-9223372036854775808", "18446744073709551616", "1e999",
      "-1e-999", "nan", "inf", "0x7fffffff", "1_000", "1.5", "null", "true", "{}", "[]", "[[[[[[[[",
      "{\"a\":{\"a\":{\"a\":", "\"", "\\u0000", "\\uD800", "\\\"", "\n", "\r\n", ",", ":", "=", "#",
      "1979-05-27T07:32:00Z", "'''", "\"\"\"",
    ].map { Array($0.utf8) }
    + [[0], [0xFF], [0xC3, 0x28], [0xF0, 0x9F, 0x98, 0x80], [UInt8](repeating: 0xFF, count: 8)]

  /// Mutations of `samples`, in which `words` of their language are put as well.
  public init(samples: [[UInt8]], words: [String], seed: UInt64) {
    self.samples = samples
    self.words = Self.pitfalls + words.map { Array($0.utf8) }
    state = seed
  }

  /// The next input: a sample with one to eight changes.
  public mutating func next() -> [UInt8] {
    var input = samples[below(samples.count)]
    for _ in 0...below(8) { change(&input) }
    return input
  }

  private mutating func change(_ input: inout [UInt8]) {
    let place = below(input.count + 1)
    let end = min(input.count, place + below(24))
    switch below(9) {
    case 0, 1: if place < input.count { input[place] ^= 1 << UInt8(below(8)) }
    case 2: if place < input.count { input[place] = UInt8(below(256)) }
    case 3, 4: input.replaceSubrange(place..<end, with: words[below(words.count)])
    case 5: input.insert(contentsOf: words[below(words.count)], at: place)
    case 6: input.removeSubrange(place..<end)
    case 7: input.insert(contentsOf: input[place..<end], at: below(input.count + 1))
    default:
      // The start of one sample and the end of another, or just the start.
      let other = samples[below(samples.count)]
      let rest = below(4) == 0 ? other.count : min(place, other.count)
      input = Array(input[..<place] + other[rest...])
    }
  }

  /// A number below `bound` (xorshift64*, Vigna 2016).
  private mutating func below(_ bound: Int) -> Int {
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    return Int((state &* 0x2545_F491_4F6C_DD1D) >> 33) % max(bound, 1)
  }
}
