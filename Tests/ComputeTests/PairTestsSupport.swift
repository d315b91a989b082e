// What the tests of bf16 products share: their arithmetic written down once more, numbers of all kinds, products of all
// shapes.
import CKernels
import Testing

/// The arithmetic of bf16 products.
enum Pairs {
  /// A bf16 number's value.
  static func value(_ half: UInt16) -> Float { flushed(Float(bitPattern: UInt32(half) << 16)) }

  /// Numbers below the normal ones are zeros of their sign.
  static func flushed(_ x: Float) -> Float {
    x.isSubnormal ? Float(sign: x.sign, exponent: 0, significand: 0) : x
  }

  /// a b + c rounded once to 24 digits, as if there were no end to exponents; then what is too small is zero.
  static func step(_ a: Float, _ b: Float, _ c: Float) -> Float {
    let sum = c.addingProduct(a, b)
    guard abs(sum) < 0x1p-60, a != 0, b != 0 else { return flushed(sum) }
    // Far from where single precision ends, so that digits are complete.
    let far = (c * 0x1p60).addingProduct(a * 0x1p30, b * 0x1p30)
    return abs(far) < 0x1p-66 ? Float(sign: sum.sign, exponent: 0, significand: 0) : far * 0x1p-60
  }

  /// The sum with a pair of products: the second numbers first.
  static func term(_ sum: Float, _ a: UInt32, _ b: UInt32) -> Float {
    let half = { (x: UInt32, shift: UInt32) in value(UInt16(truncatingIfNeeded: x >> shift)) }
    let second = step(half(a, 16), half(b, 16), flushed(sum))
    return step(half(a, 0), half(b, 0), second)
  }

  /// The sum with a block of pairs of products: first numbers and second ones apart, each from zero, then both together.
  static func block(_ sum: Float, _ pairs: [(a: UInt32, b: UInt32)]) -> Float {
    let half = { (x: UInt32, shift: UInt32) in value(UInt16(truncatingIfNeeded: x >> shift)) }
    let parts = [UInt32(0), 16].map { shift in
      pairs.reduce(Float(0)) { step(half($1.a, shift), half($1.b, shift), $0) }
    }
    return flushed(flushed(sum) + flushed(parts[0] + parts[1]))
  }

  /// The nearest bf16 number, ties to even; products take numbers below the normal ones for zeros.
  static func rounded(_ x: Float, inProducts: Bool = true) -> UInt16 {
    guard !x.isNaN else { return UInt16(x.bitPattern >> 16) | 0x40 }
    let x = inProducts ? flushed(x) : x
    let below = Double(Float(bitPattern: x.bitPattern & 0xffff_0000))
    let above = UInt16((x.bitPattern >> 16) & 0x7fff) + 1  // away from zero
    // Beyond the largest number comes what would follow it, as in every rounding of IEEE 754.
    let next =
      above == 0x7f80 ? 0x1p128 : Double(Float(bitPattern: UInt32(above) << 16))
    let low = UInt16(x.bitPattern >> 16)
    guard x.isFinite else { return low }
    let (down, up) = (abs(Double(x)) - abs(below), next - abs(Double(x)))
    return down < up || (down == up && low % 2 == 0) ? low : low + 1
  }
}

func asFloats(_ pairs: [UInt32]) -> [Float] { pairs.map(Float.init(bitPattern:)) }

/// The same bits, or two NaN.
func agree(_ a: Float, _ b: Float) -> Bool {
  a.bitPattern == b.bitPattern || (a.isNaN && b.isNaN)
}

/// What operands are like: any bits; of like size; with products near the smallest numbers; small, zero, infinite, NaN.
enum PairKind: UInt64, CaseIterable {
  case anything, alike, small, special

  func half(_ dice: inout Dice) -> UInt32 {
    let bits = UInt32(dice.integer(below: 1 << 16))
    func exponent(_ first: Int, _ count: Int) -> UInt32 {
      bits & 0x807f | UInt32(first + dice.integer(below: count)) << 7
    }
    return switch self {
    case .anything: bits
    case .alike: exponent(120, 12)
    case .small: exponent(40, 40)
    case .special: [exponent(0, 3), exponent(254, 2), bits & 0x8000][dice.integer(below: 3)]
    }
  }

  func sum(_ dice: inout Dice) -> Float {
    let bits = UInt32(truncatingIfNeeded: dice.next())
    let exponent: Int
    switch self {
    case .anything: return Float(bitPattern: bits)
    case .alike: exponent = 115 + dice.integer(below: 20)
    case .small: exponent = dice.integer(below: 30)
    case .special: exponent = [0, 1, 2, 254, 255][dice.integer(below: 5)]
    }
    // Few digits are left often enough for ties and for numbers at the very edge.
    let digits: UInt32 = [0x7f_ffff, 0x7f_0000, 0, 1][dice.integer(below: 4)]
    return Float(bitPattern: bits & (0x8000_0000 | digits) | UInt32(exponent) << 23)
  }
}

/// `rows` x `depth` times `depth` x `columns`; depth in numbers.
struct PairCase: CustomTestStringConvertible, Sendable {
  let rows: Int
  let columns: Int
  let depth: Int
  var testDescription: String { "\(rows) x \(columns) x \(depth)" }

  static let all = [
    (1, 1, 1), (1, 330, 1100), (3, 31, 5), (8, 32, 32), (13, 65, 33), (40, 96, 131),
    (37, 40, 1300), (7, 70, 2),
  ].map { PairCase(rows: $0.0, columns: $0.1, depth: $0.2) }

  func numbers(_ seed: UInt64, _ count: Int) -> [Float] {
    var dice = Dice(seed)
    return dice.floats(count, 2)
  }
  var a: [Float] { numbers(91, rows * depth) }
  var b: [Float] { numbers(92, depth * columns) }
  var old: [Float] { numbers(93, rows * columns) }
  var bias: [Float] { numbers(94, columns) }
  var gate: [Float] { numbers(95, rows * columns) }

  /// The left side as pairs of columns, the right one as pairs of rows, row-major.
  var pairs: (left: [UInt32], right: [UInt32]) {
    let (a, b, count) = (a, b, (depth + 1) / 2)
    let left = (0..<rows * count).map { index in
      let (i, p) = index.quotientAndRemainder(dividingBy: count)
      return pair(a, i * depth + 2 * p, 2 * p + 1 < depth ? i * depth + 2 * p + 1 : nil)
    }
    let right = (0..<count * columns).map { index in
      let (p, j) = index.quotientAndRemainder(dividingBy: columns)
      return pair(
        b, 2 * p * columns + j, 2 * p + 1 < depth ? (2 * p + 1) * columns + j : nil)
    }
    return (left, right)
  }

  private func pair(_ numbers: [Float], _ first: Int, _ second: Int?) -> UInt32 {
    UInt32(Pairs.rounded(numbers[first]))
      | (second.map { UInt32(Pairs.rounded(numbers[$0])) << 16 } ?? 0)
  }
}

/// How a sum begins and ends.
enum PairEnd: CaseIterable { case set, add, chain, gated }

/// The order in which numbers are added.
enum PairOrder: CaseIterable {
  case pairs, blocks

  /// A sum that goes on over pairs of products.
  func sum(_ start: Float, _ pairs: [(a: UInt32, b: UInt32)]) -> Float {
    guard self == .blocks else { return pairs.reduce(start) { Pairs.term($0, $1.a, $1.b) } }
    return stride(from: 0, to: pairs.count, by: 16).reduce(start) { sum, first in
      Pairs.block(sum, Array(pairs[first..<min(first + 16, pairs.count)]))
    }
  }
}

extension PairCase {
  /// In pairs one running sum per part of k, parts one after the other; in blocks, or where it goes on from what is
  /// there, a sum is one chain.
  func expected(_ order: PairOrder, isTransposed: Bool, _ end: PairEnd) -> [Float] {
    let (old, bias, gate, elements) = (old, bias, gate, pairs)
    let count = (depth + 1) / 2
    let isChain = order == .blocks || end == .chain
    let part = isChain ? count : isTransposed ? 128 : 256
    return (0..<rows * columns).map { index in
      let (i, j) = index.quotientAndRemainder(dividingBy: columns)
      var result: Float? = end == .add ? old[index] : nil
      for start in stride(from: 0, to: count, by: part) {
        let terms = (start..<min(start + part, count)).map {
          (a: elements.left[i * count + $0], b: elements.right[$0 * columns + j])
        }
        let sum = order.sum(end == .chain ? old[index] : 0, terms)
        result = result.map { Pairs.flushed(sum + $0) } ?? sum
      }
      guard let sum = result, end == .gated else { return result ?? 0 }
      let open = Pairs.value(Pairs.rounded(gate[index])) > 0
      return open ? max(Pairs.flushed(sum + bias[j]), 0) : 0
    }
  }
}

/// Rounded for one role, the padding of strips poisoned.
func packed(_ numbers: [Float], rows: Int, columns: Int, left: Bool) -> Guarded<UInt32> {
  let (high, wide) = left ? (rows, (columns + 1) / 2) : ((rows + 1) / 2, columns)
  let result = Guarded(
    [UInt32](repeating: 0xffff_ffff, count: (wide + 31) / 32 * 32 * high), shift: 1)
  ck_round_pairs(
    numbers, columns, 32, rows, columns, left ? result.pointer : nil, high * 32,
    left ? nil : result.pointer, high * 32)
  #expect(result.isIntact)
  return result
}
