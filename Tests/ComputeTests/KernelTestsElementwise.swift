// Kernels that treat every element alone: the instruction-set switch, cuts and alignment, the
// exponential, activations, vectors, Adam.
import CKernels
import Glibc
import Testing

/// A kernel on some arrays of equal length, run on `count` elements from `start` on.
struct ElementwiseKernel: CustomTestStringConvertible, Sendable {
  typealias Arrays = [UnsafeMutablePointer<Float>]
  let name: String
  let arrays: Int
  let run: @Sendable (_ arrays: Arrays, _ start: Int, _ count: Int) -> Void

  var testDescription: String { name }

  init(
    _ name: String, arrays: Int,
    _ run: @escaping @Sendable (Arrays, _ start: Int, _ count: Int) -> Void
  ) {
    self.name = name
    self.arrays = arrays
    self.run = run
  }

  private static func integers(_ p: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<Int32> {
    UnsafeMutableRawPointer(p).assumingMemoryBound(to: Int32.self)
  }

  static let all = [
    Self("add", arrays: 2) { a, _, n in ck_add(a[0], a[1], n) },
    Self("scale", arrays: 1) { a, _, n in ck_scale(a[0], n, 1.7) },
    Self("weighted sum", arrays: 3) { a, _, n in ck_weighted_sum(a[0], 0.3, a[1], -1.7, a[2], n) },
    Self("weighted sum in place", arrays: 2) { a, _, n in
      ck_weighted_sum(a[0], 0.3, a[1], -1.7, a[0], n)
    },
    Self("multiply", arrays: 3) { a, _, n in ck_multiply(a[0], a[1], 0.7, a[2], n) },
    Self("stream to float", arrays: 2) { a, _, n in
      ck_stream_to_float(integers(a[0]), a[1], n, 0x1p-18)
    },
    Self("stream add", arrays: 2) { a, _, n in
      _ = ck_stream_add(integers(a[0]), a[1], n, 0x1p18)
    },
    Self("stream subtract", arrays: 2) { a, _, n in
      _ = ck_stream_subtract(integers(a[0]), a[1], n, 0x1p18)
    },
    Self("gelu", arrays: 2) { a, _, n in ck_gelu(a[0], a[1], n) },
    Self("gelu backward", arrays: 3) { a, _, n in ck_gelu_backward(a[0], a[1], a[2], n) },
    Self("exp", arrays: 2) { a, _, n in ck_exp(a[0], a[1], n) },
    Self("dropout", arrays: 1) { a, start, n in
      ck_dropout(a[0], n, 0x1234_5678_9ABC_DEF0, 1001 + UInt64(start), 1 << 30, 1.25)
    },
    Self("normal", arrays: 1) { a, start, n in ck_normal(a[0], n, 99, 1001 + UInt64(start)) },
    Self("Philox", arrays: 1) { a, start, n in
      let words = UnsafeMutableRawPointer(a[0]).assumingMemoryBound(to: UInt32.self)
      ck_philox(7, 1001 + UInt64(start), words, n)
    },
    Self("Adam", arrays: 4) { a, _, n in
      ck_scale(a[3], n, 0)  // a second moment is never negative
      ck_adam(a[0], a[1], a[2], a[3], n, 0.5, 1e-3, 0.9, 0.99, 1e-8, 0.1, 0.1, 0.01)
    },
    Self("halves, widened", arrays: 2) { a, _, n in
      var halves = [UInt16](repeating: 0, count: n)
      ck_halves(a[0], &halves, n)
      ck_widen(halves, a[1], n)
    },
    Self("follow", arrays: 2) { a, _, n in ck_follow(a[0], a[1], n, 0.3) },
  ]
}

@Suite("Kernels element by element")
struct ElementwiseKernelTests {
  @Test("levels have names, and a level the CPU lacks is refused")
  func levels() {
    #expect(kernelLevels.contains(ck_active_level()))
    #expect(
      kernelLevels.map { String(cString: ck_level_name($0)) }
        == Array(
          ["portable", "avx2", "avx512", "avx512-bf16", "amx"].prefix(kernelLevels.count)))
    #expect(ck_set_level(ck_best_level() + 1) == -1)
    #expect(ck_set_thread_level(ck_best_level() + 1) == -1)
    #expect(ck_set_level(-1) == -1)
    for level in kernelLevels {
      #expect(atLevel(level) { ck_active_level() } == level)
    }
  }

  @Test(
    "results depend neither on how the data are cut nor on where they lie",
    arguments: kernelLevels, ElementwiseKernel.all)
  func cuts(level: Int32, kernel: ElementwiseKernel) {
    let count = 1031
    var dice = Dice(1)
    let inputs = (0..<kernel.arrays).map { _ in dice.floats(count, 20) }
    atLevel(level) {
      let whole = inputs.map { Guarded($0) }
      kernel.run(whole.map(\.pointer), 0, count)
      for shift in 0..<4 {
        let parts = inputs.map { Guarded($0, shift: shift) }
        var start = 0
        // Sizes below, at and above the vector widths and the generator's chunk of 256.
        for size in [1, 2, 7, 16, 33, 300, 5, 64, 257, 3, count] where start < count {
          let n = min(size, count - start)
          kernel.run(parts.map { $0.pointer + start }, start, n)
          start += n
        }
        #expect(start == count)
        for (a, b) in zip(whole, parts) {
          #expect(a.bytes == b.bytes, "shift \(shift)")
          #expect(b.isIntact, "shift \(shift)")
        }
      }
    }
  }

  @Test("exp is 0 far below, infinite far above and NaN of NaN", arguments: kernelLevels)
  func exponentialLimits(level: Int32) {
    let points: [Float] = [-87.5, -1e5, -3e38, -.infinity, 88.5, 3e38, .infinity, .nan]
    var results = points
    atLevel(level) { ck_exp(points, &results, points.count) }
    #expect(results[..<4].allSatisfy { $0 == 0 })
    #expect(results[4..<7].allSatisfy { $0 == .infinity })
    #expect(results[7].isNaN)
  }

  @Test("gelu is x Phi(x) and its gradient the derivative of that", arguments: kernelLevels)
  func gelu(level: Int32) {
    let x = stride(from: Float(-12), through: 12, by: 0.0137).map { $0 }
    let ones = [Float](repeating: 1, count: x.count)
    var y = x
    var slope = x
    atLevel(level) {
      ck_gelu(x, &y, x.count)
      ck_gelu_backward(ones, x, &slope, x.count)
    }
    func exact(_ x: Double) -> Double { x * 0.5 * erfc(-x / 2.0.squareRoot()) }
    // erf is good to 2e-7, halved and times |x| <= 5 (beyond, erf rounds to 1); plus rounding of y.
    #expect(worstError(y, x.map { exact(Double($0)) }, absolute: 5e-7, relative: 3e-7) <= 1)
    let expected = x.map { differences(of: { exact($0[0]) }, at: [Double($0)])[0] }
    // Half of erf's error and a few roundings of numbers of size 1.
    #expect(worstError(slope, expected, absolute: 4e-7) <= 1)
  }

  @Test(
    "sums, products and biases agree with double precision", arguments: kernelLevels, awkwardSizes)
  func vectors(level: Int32, width: Int) {
    let rows = 5
    let stride = width + 3
    var dice = Dice(3)
    let a = dice.floats(rows * stride)
    let b = dice.floats(rows * stride)
    let start = dice.floats(width)
    var dots = [Float](repeating: 0, count: rows)
    var columns = start
    let squares = atLevel(level) {
      ck_row_dot(a, stride, b, stride, rows, width, &dots)
      ck_column_sum(a, stride, rows, width, &columns)
      return ck_sum_squares(a, a.count)
    }
    func row(_ x: [Float], _ i: Int) -> [Double] {
      x[(i * stride)..<(i * stride + width)].map(Double.init)
    }
    let exactDots = (0..<rows).map { i in zip(row(a, i), row(b, i)).reduce(0) { $0 + $1.0 * $1.1 } }
    // Sums of `width` terms below 1 in single precision, in at least 16 partial sums.
    #expect(worstError(dots, exactDots, absolute: 1e-7 * Double(width / 8 + 4)) <= 1)
    let exactColumns = (0..<width).map { j in
      (0..<rows).reduce(Double(start[j])) { $0 + Double(a[$1 * stride + j]) }
    }
    // Five additions of numbers below 6: half an ulp (2.4e-7) each.
    #expect(worstError(columns, exactColumns, absolute: 1.5e-6) <= 1)
    let exact = a.reduce(0.0) { $0 + Double($1) * Double($1) }
    // Squares of floats are exact in double; only the additions round.
    #expect(abs(squares - exact) <= 1e-15 * Double(a.count) * exact)
  }

  @Test(
    "weighted sums, products and squares of numbers agree with double precision",
    arguments: kernelLevels, awkwardSizes)
  func numbers(level: Int32, size: Int) {
    var dice = Dice(6)
    let (x, y, before) = (dice.floats(size), dice.floats(size), dice.floats(size))
    var (sum, product) = (x, x)
    var squares = before.map(Double.init)
    atLevel(level) {
      ck_weighted_sum(x, 0.3, y, -1.7, &sum, size)
      ck_multiply(x, y, 0.7, &product, size)
      ck_add_squares(x, &squares, size)
    }
    let pairs = zip(x, y).map { (Double($0), Double($1)) }
    // Two roundings of numbers of about 1 each.
    #expect(worstError(sum, pairs.map { 0.3 * $0 - 1.7 * $1 }, absolute: 3e-7) <= 1)
    #expect(worstError(product, pairs.map { 0.7 * $0 * $1 }, absolute: 2e-7) <= 1)
    // Squares of floats are exact in double.
    let exact = x.map { Double($0) * Double($0) }
    #expect(squares == zip(before, exact).map { Double($0) + $1 })
  }

  @Test("columns sum the same in one call and in a call per row", arguments: kernelLevels)
  func columnCuts(level: Int32) {
    let (rows, width) = (23, 37)
    var dice = Dice(4)
    let x = Guarded(dice.floats(rows * width), shift: 1)
    let whole = Guarded(dice.floats(width))
    let parts = Guarded(whole.values, shift: 3)
    atLevel(level) {
      ck_column_sum(x.pointer, width, rows, width, whole.pointer)
      for i in 0..<rows { ck_column_sum(x.pointer + i * width, width, 1, width, parts.pointer) }
    }
    #expect(whole.bytes == parts.bytes)
    #expect(parts.isIntact)
  }

  @Test("Adam follows its formula", arguments: kernelLevels, awkwardSizes)
  func adam(level: Int32, size: Int) {
    var dice = Dice(5)
    let start = (p: dice.floats(size), g: dice.floats(size), m: dice.floats(size))
    let startV = dice.floats(size).map { $0 * $0 }
    var (p, m, v) = (start.p, start.m, startV)
    atLevel(level) {
      ck_adam(&p, start.g, &m, &v, size, 0.25, 1e-2, 0.9, 0.98, 1e-2, 0.1, 0.19, 0.04)
    }
    var expected: (p: [Double], m: [Double], v: [Double]) = ([], [], [])
    for i in 0..<size {
      let g = Double(start.g[i]) * 0.25
      let mean = 0.9 * Double(start.m[i]) + 0.1 * g
      let square = 0.98 * Double(startV[i]) + 0.02 * g * g
      let step = mean / 0.19 / ((square / 0.04).squareRoot() + 1e-2) + 0.1 * Double(start.p[i])
      expected.p.append(Double(start.p[i]) - 1e-2 * step)
      expected.m.append(mean)
      expected.v.append(square)
    }
    // Single-precision constants (1 - beta2 = 0.02 is 3e-6 off relatively) and roundings; where v is
    // tiny the step is large, hence the relative part.
    #expect(worstError(m, expected.m, absolute: 5e-7) <= 1)
    #expect(worstError(v, expected.v, absolute: 5e-7) <= 1)
    #expect(worstError(p, expected.p, absolute: 1e-6, relative: 2e-5) <= 1)
  }
}
