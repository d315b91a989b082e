// The fixed-point residual streams: rounding, range, and that subtracting undoes adding.
import CKernels
import Testing

@Suite("Kernels of the residual streams")
struct StreamKernelTests {
  /// Contributions that stress the rounding: ties, the end of the fraction bits, huge and tiny ones.
  static let hardValues: [Float] = {
    var values: [Float] = [
      0, -0.0, 0.5, 1.5, 2.5, 3.5, 0.49999997, 0.50000006, 1e-30, .leastNonzeroMagnitude,
    ]
    for exponent in 20..<31 {
      let power = Float(sign: .plus, exponent: exponent, significand: 1)
      values += [power, power.nextDown, power.nextUp, power + 0.5, power - 0.5, power + 1.5]
    }
    return values + values.map { -$0 }
  }()

  @Test("adding rounds to nearest even as Swift does", arguments: kernelLevels)
  func rounding(level: Int32) {
    let f = Self.hardValues
    var x = [Int32](repeating: 0, count: f.count)
    let violations = atLevel(level) { ck_stream_add(&x, f, f.count, 1) }
    #expect(violations == 0)
    #expect(x == f.map { Int32($0.rounded(.toNearestOrEven)) })
  }

  @Test("subtracting undoes adding bit for bit", arguments: kernelLevels, awkwardSizes + [4096])
  func inverse(level: Int32, size: Int) {
    var dice = Dice(11)
    let start = (0..<size).map { _ in Int32(truncatingIfNeeded: dice.next() >> 33) - (1 << 30) }
    let f = (0..<size).map { i in
      i % 3 == 0
        ? Self.hardValues[dice.integer(below: Self.hardValues.count)] * 0x1p-18 : dice.float(4000)
    }
    let x = Guarded(start, shift: 1)
    atLevel(level) {
      let violations = ck_stream_add(x.pointer, f, size, 0x1p18)
      #expect(size < 64 || x.values != start)
      // Elements that would leave the range stay, when adding; subtracting from them may succeed,
      // so they are left out here. The trainer stops at the first violation.
      let moved: [Bool] = (0..<size).map { i in
        let change: Double = (Double(f[i]) * 0x1p18).rounded(.toNearestOrEven)
        return Double(start[i]) + change == Double(x.values[i])
      }
      #expect(moved.count { !$0 } == violations)
      _ = ck_stream_subtract(x.pointer, f, size, 0x1p18)
      for i in 0..<size where moved[i] { #expect(x.values[i] == start[i]) }
    }
    #expect(x.isIntact)
  }

  @Test("what does not fit is counted and left alone", arguments: kernelLevels)
  func violations(level: Int32) {
    let f: [Float] = [
      .nan, .infinity, -.infinity, 0x1p31, -0x1p31, 3e38, 1, -1, 5, 0x1p30, -0x1p30, 7, 1, -1,
    ]
    let start: [Int32] = [
      1, 2, 3, 4, 5, 6, .max, .min, 9, 0x4000_0000, -0x4000_0001, 12, .max - 1, .min + 1,
    ]
    let sums: [Int32] = [
      1, 2, 3, 4, 5, 6, .max, .min, 14, 0x4000_0000, -0x4000_0001, 19, .max, .min,
    ]
    var added = start
    var subtracted = start
    // f * 2 overflows single precision for 3e38; the violation must not depend on that.
    let counts = atLevel(level) {
      (
        ck_stream_add(&added, f, f.count, 1),
        ck_stream_subtract(&subtracted, f.map { -$0 }, f.count, 1)
      )
    }
    #expect(counts.0 == 10)
    #expect(counts.1 == 10)
    #expect(added == sums)
    #expect(subtracted == sums)
    var one: [Int32] = [5]
    #expect(atLevel(level) { ck_stream_add(&one, [3e38], 1, 2) } == 1)
    #expect(one == [5])
  }

  @Test("all levels add and read the same bits", arguments: awkwardSizes)
  func levelsAgree(size: Int) {
    var dice = Dice(12)
    let f = dice.floats(size, 8000)
    let results = kernelLevels.map { level in
      atLevel(level) {
        var x = [Int32](repeating: 12345, count: size)
        _ = ck_stream_add(&x, f, size, 0x1p18)
        var values = [Float](repeating: 0, count: size)
        ck_stream_to_float(x, &values, size, 0x1p-18)
        #expect(sameBits(values, x.map { Float($0) * 0x1p-18 }))
        return x
      }
    }
    #expect(results.allSatisfy { $0 == results[0] })
  }
}
