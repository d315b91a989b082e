// Products of bf16 numbers bit for bit: what one step does and in which order steps follow is written down here once
// more, and every level, by the instruction or without, has to follow it.
import CKernels
import Testing

/// The arithmetic of bf16 products.
private enum Pairs {
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

private func asFloats(_ pairs: [UInt32]) -> [Float] { pairs.map(Float.init(bitPattern:)) }

/// The same bits, or two NaN.
private func agree(_ a: Float, _ b: Float) -> Bool {
  a.bitPattern == b.bitPattern || (a.isNaN && b.isNaN)
}

@Suite("Kernels of bf16 products")
struct PairKernelTests {
  /// What operands are like: any bits; of like size; with products near the smallest numbers; small, zero, infinite, NaN.
  enum Kind: UInt64, CaseIterable { case anything, alike, small, special }

  private func half(_ kind: Kind, _ dice: inout Dice) -> UInt32 {
    let bits = UInt32(dice.integer(below: 1 << 16))
    func exponent(_ first: Int, _ count: Int) -> UInt32 {
      bits & 0x807f | UInt32(first + dice.integer(below: count)) << 7
    }
    return switch kind {
    case .anything: bits
    case .alike: exponent(120, 12)
    case .small: exponent(40, 40)
    case .special: [exponent(0, 3), exponent(254, 2), bits & 0x8000][dice.integer(below: 3)]
    }
  }

  private func sum(_ kind: Kind, _ dice: inout Dice) -> Float {
    let bits = UInt32(truncatingIfNeeded: dice.next())
    let exponent: Int
    switch kind {
    case .anything: return Float(bitPattern: bits)
    case .alike: exponent = 115 + dice.integer(below: 20)
    case .small: exponent = dice.integer(below: 30)
    case .special: exponent = [0, 1, 2, 254, 255][dice.integer(below: 5)]
    }
    // Few digits are left often enough for ties and for numbers at the very edge.
    let digits: UInt32 = [0x7f_ffff, 0x7f_0000, 0, 1][dice.integer(below: 4)]
    return Float(bitPattern: bits & (0x8000_0000 | digits) | UInt32(exponent) << 23)
  }

  @Test("a step of every level is that of the definition", arguments: Kind.allCases)
  func steps(kind: Kind) {
    var dice = Dice(kind.rawValue)
    let size = 64
    for _ in 0..<80 {
      let a = (0..<size).map { _ in half(kind, &dice) | half(kind, &dice) << 16 }
      let b = (0..<size).map { _ in half(kind, &dice) | half(kind, &dice) << 16 }
      let c = (0..<size * size).map { _ in sum(kind, &dice) }
      let expected = c.indices.map { Pairs.term(c[$0], a[$0 / size], b[$0 % size]) }
      let (left, right) = (asFloats(a), asFloats(b))
      for level in kernelLevels {
        var out = c
        atLevel(level) {
          left.withUnsafeBufferPointer { left in
            // One pair of k: a row is one element, and two strips of one row each.
            ck_product_pairs(
              ck_left(base: left.baseAddress, row_block: 32, row: 1, k_block: 32, k: 1), right, 32,
              &out, size, 32, size, size, 1, 0, 1, nil, 0, nil, 0)
          }
        }
        let wrong = out.indices.filter { !agree(out[$0], expected[$0]) }
        guard let first = wrong.first else { continue }
        Issue.record(
          """
          level \(level): \(wrong.count) wrong; \(c[first].bitPattern) + \(a[first / size]) x \
          \(b[first % size]) is \(out[first].bitPattern), not \(expected[first].bitPattern)
          """)
        return
      }
    }
  }

  @Test("numbers at the edge of what is taken for zero", arguments: kernelLevels)
  func edge(level: Int32) {
    // The smallest normal number less 2^-150, which 24 digits can tell from it, and less 2^-151, a tie that becomes it.
    for (product, expected) in [(Float(0x1p-75), Float(0)), (0x1p-76, 0x1p-126)] {
      for shift in [UInt32(0), 16] {
        let a = [(product.bitPattern >> 16) << shift]
        let b = [(Float(-0x1p-75).bitPattern >> 16) << shift]
        var sum: [Float] = [0x1p-126]
        atLevel(level) {
          asFloats(a).withUnsafeBufferPointer {
            let left = ck_left(base: $0.baseAddress, row_block: 32, row: 1, k_block: 32, k: 1)
            let right = asFloats(b) + [Float](repeating: 0, count: 31)
            ck_product_pairs(left, right, 32, &sum, 1, 32, 1, 1, 1, 0, 1, nil, 0, nil, 0)
          }
        }
        #expect(sum == [expected])
      }
    }
  }

  @Test(
    "rounding is to the nearest, ties to even, of all kinds of numbers", arguments: kernelLevels)
  func rounding(level: Int32) {
    let ends: [UInt32] = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff]
    let numbers = (0..<UInt32(1 << 16)).flatMap { high in
      ends.map { Float(bitPattern: high << 16 | $0) }
    }
    let (rows, columns) = (numbers.count / 32, 32)
    var left = [UInt32](repeating: 0, count: rows * 32)
    var right = [UInt32](repeating: 0, count: rows / 2 * 32)
    var alone = [UInt16](repeating: 0, count: numbers.count)
    var widened = numbers
    atLevel(level) {
      ck_round_pairs(
        numbers, columns, 32, rows, columns, &left, rows * 32, &right, rows / 2 * 32)
      ck_halves(numbers, &alone, numbers.count)
      ck_widen(alone, &widened, alone.count)
    }
    #expect(alone == numbers.map { Pairs.rounded($0, inProducts: false) })
    #expect(widened.map(\.bitPattern) == alone.map { UInt32($0) << 16 })
    let expected = numbers.map { Pairs.rounded($0) }
    for i in 0..<rows {
      for j in 0..<columns {
        let across = UInt16(truncatingIfNeeded: left[i * 32 + j / 2] >> (UInt32(j % 2) * 16))
        let down = UInt16(truncatingIfNeeded: right[i / 2 * 32 + j] >> (UInt32(i % 2) * 16))
        let number = expected[i * columns + j]
        guard across != number || down != number else { continue }
        Issue.record("\(numbers[i * columns + j].bitPattern): \(across), \(down), not \(number)")
        return
      }
    }
  }

  /// `rows` x `depth` times `depth` x `columns`; depth in numbers.
  struct Case: CustomTestStringConvertible, Sendable {
    let rows: Int
    let columns: Int
    let depth: Int
    var testDescription: String { "\(rows) x \(columns) x \(depth)" }

    static let all = [
      (1, 1, 1), (1, 330, 1100), (3, 31, 5), (8, 32, 32), (13, 65, 33), (40, 96, 131),
      (37, 40, 1300), (7, 70, 2),
    ].map { Case(rows: $0.0, columns: $0.1, depth: $0.2) }

    func numbers(_ seed: UInt64, _ count: Int) -> [Float] {
      var dice = Dice(seed)
      return dice.floats(count, 2)
    }
    var a: [Float] { numbers(91, rows * depth) }
    var b: [Float] { numbers(92, depth * columns) }
    var old: [Float] { numbers(93, rows * columns) }
    var bias: [Float] { numbers(94, columns) }
    var gate: [Float] { numbers(95, rows * columns) }
  }

  /// How a sum begins and ends.
  enum End: CaseIterable { case set, add, chain, gated }

  private func pair(_ numbers: [Float], _ first: Int, _ second: Int?) -> UInt32 {
    UInt32(Pairs.rounded(numbers[first]))
      | (second.map { UInt32(Pairs.rounded(numbers[$0])) << 16 } ?? 0)
  }

  /// One running sum per block of pairs, blocks one after the other; a chain goes on over all of them.
  private func expected(_ c: Case, block: Int, _ end: End) -> [Float] {
    let (a, b, old, bias, gate) = (c.a, c.b, c.old, c.bias, c.gate)
    let pairs = (c.depth + 1) / 2
    let left = (0..<c.rows * pairs).map { index in
      let (i, p) = index.quotientAndRemainder(dividingBy: pairs)
      return pair(a, i * c.depth + 2 * p, 2 * p + 1 < c.depth ? i * c.depth + 2 * p + 1 : nil)
    }
    let right = (0..<pairs * c.columns).map { index in
      let (p, j) = index.quotientAndRemainder(dividingBy: c.columns)
      return pair(
        b, 2 * p * c.columns + j, 2 * p + 1 < c.depth ? (2 * p + 1) * c.columns + j : nil)
    }
    return (0..<c.rows * c.columns).map { index in
      let (i, j) = index.quotientAndRemainder(dividingBy: c.columns)
      var result: Float? = end == .add || end == .chain ? old[index] : nil
      for start in stride(from: 0, to: pairs, by: block) {
        var sum: Float = end == .chain ? result ?? 0 : 0
        for p in start..<min(start + block, pairs) {
          sum = Pairs.term(sum, left[i * pairs + p], right[p * c.columns + j])
        }
        result = end == .chain ? sum : result.map { Pairs.flushed(sum + $0) } ?? sum
      }
      guard let sum = result, end == .gated else { return result ?? 0 }
      let open = Pairs.value(Pairs.rounded(gate[index])) > 0
      return open ? max(Pairs.flushed(sum + bias[j]), 0) : 0
    }
  }

  /// Rounded for one role, the padding of strips poisoned.
  private func packed(_ numbers: [Float], rows: Int, columns: Int, left: Bool) -> Guarded<UInt32> {
    let (high, wide) = left ? (rows, (columns + 1) / 2) : ((rows + 1) / 2, columns)
    let result = Guarded(
      [UInt32](repeating: 0xffff_ffff, count: (wide + 31) / 32 * 32 * high), shift: 1)
    ck_round_pairs(
      numbers, columns, 32, rows, columns, left ? result.pointer : nil, high * 32,
      left ? nil : result.pointer, high * 32)
    #expect(result.isIntact)
    return result
  }

  @Test("every layout has the bits of the written order", arguments: Case.all)
  func bits(c: Case) {
    let pairs = (c.depth + 1) / 2
    let across = (0..<c.depth * c.rows).map { c.a[$0 % c.rows * c.depth + $0 / c.rows] }
    for (isTransposed, end) in [false, true].flatMap({ left in End.allCases.map { (left, $0) } }) {
      let expected = expected(c, block: isTransposed ? 128 : 256, end)
      for level in kernelLevels {
        let out = Guarded(c.old, shift: 2)
        atLevel(level) {
          let right = packed(c.b, rows: c.depth, columns: c.columns, left: false)
          let gate = packed(c.gate, rows: c.rows, columns: c.columns, left: true)
          let memory =
            isTransposed
            ? packed(across, rows: c.depth, columns: c.rows, left: false)
            : packed(c.a, rows: c.rows, columns: c.depth, left: true)
          let base = UnsafePointer<Float>(OpaquePointer(memory.pointer))
          let left =
            isTransposed
            ? ck_left(base: base, row_block: pairs * 32, row: 1, k_block: 1024, k: 32)
            : ck_left(base: base, row_block: 1024, row: 32, k_block: c.rows * 32, k: 1)
          let halves = UnsafePointer<UInt16>(OpaquePointer(gate.pointer))
          c.bias.withUnsafeBufferPointer { bias in
            ck_product_pairs(
              left, UnsafePointer(OpaquePointer(right.pointer)), pairs * 32, out.pointer,
              c.columns, 32, c.rows, c.columns, pairs, end == .add ? 1 : 0,
              end == .chain ? 1 : 0, end == .gated ? bias.baseAddress : nil,
              end == .gated ? 1 : 0, end == .gated ? halves : nil, c.rows * 32)
          }
          #expect(right.isIntact && gate.isIntact && memory.isIntact)
        }
        #expect(out.isIntact)
        #expect(
          sameBits(out.values, expected), "transposed \(isTransposed), \(end), level \(level)")
      }
    }
  }

  @Test("sums stay within the bound of single-precision summation", arguments: Case.all)
  func bound(c: Case) {
    let exact = { (x: Float) in Double(Pairs.value(Pairs.rounded(x))) }
    let (a, b) = (c.a.map(exact), c.b.map(exact))
    let actual = expected(c, block: 256, .set)
    for index in actual.indices {
      let (i, j) = index.quotientAndRemainder(dividingBy: c.columns)
      var (sum, size) = (0.0, 0.0)
      for k in 0..<c.depth {
        let product = a[i * c.depth + k] * b[k * c.columns + j]
        sum += product
        size += abs(product)
      }
      guard abs(Double(actual[index]) - sum) > Double(c.depth + 8) * 0x1p-24 * size else {
        continue
      }
      Issue.record("\(actual[index]) at \(i), \(j) instead of \(sum)")
      return
    }
  }

  @Test("transposed weights are the pairs of their transpose", arguments: kernelLevels)
  func transposed(level: Int32) {
    for (count, columns) in [(1, 1), (5, 3), (33, 65), (100, 130), (32, 64)] {
      var dice = Dice(96)
      let rows = dice.floats(count * columns, 2)
      let across = (0..<columns * count).map { rows[$0 % count * columns + $0 / count] }
      atLevel(level) {
        let expected = packed(across, rows: columns, columns: count, left: false)
        let pairs = (columns + 1) / 2
        let actual = Guarded([UInt32](repeating: 0, count: (count + 31) / 32 * 32 * pairs))
        ck_pairs_transposed(rows, columns, count, columns, actual.pointer, pairs * 32)
        #expect(actual.isIntact)
        for p in 0..<pairs {
          for j in 0..<count {
            let place = j / 32 * pairs * 32 + p * 32 + j % 32
            #expect(actual.pointer[place] == expected.pointer[place], "\(count) x \(columns)")
          }
        }
      }
    }
  }
}
