// Error bounds of the elementary functions over their whole range, at every level at once: the levels
// must agree to the bit, so the bounds are looked at once.
import CKernels
import Glibc
import Testing

@Suite("Elementary functions")
struct FunctionKernelTests {
  typealias Function = (UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int) -> Void

  /// The worst of `error` over the floats whose bits are `first`, `first + step` and so on through `last`.
  ///
  /// Records an issue where a level's bits differ from those of the others.
  private func worst(
    of function: Function, bits first: UInt32, through last: UInt32, step: Int,
    error: (_ x: Float, _ y: Float) -> Double
  ) -> Double {
    var worst = 0.0
    var next = Int(first)
    while next <= Int(last) {
      let count = min(4096, (Int(last) - next) / step + 1)
      let points = (0..<count).map { Float(bitPattern: UInt32(next + $0 * step)) }
      next += count * step
      let results = kernelLevels.map { level in
        var y = [Float](repeating: 0, count: count)
        atLevel(level) { function(points, &y, count) }
        return y
      }
      for other in results.dropFirst() where !sameBits(other, results[0]) {
        Issue.record("levels differ between \(points[0]) and \(points[count - 1])")
      }
      for (x, y) in zip(points, results[0]) {
        let distance = error(x, y)
        worst = distance.isNaN ? .infinity : max(worst, distance)
      }
    }
    return worst
  }

  /// Distance from an exact value in units of the last place of the float nearest to it.
  private func ulps(_ y: Float, _ exact: Double) -> Double {
    abs(Double(y) - exact) / Double(Float(exact).ulp)
  }

  private static let negative: UInt32 = 0x8000_0000

  @Test("exp is within 2 ulp from -87 to 88")
  func exponential() {
    for (sign, limit) in [(UInt32(0), Float(88)), (Self.negative, 87)] {
      let worst = worst(
        of: ck_exp, bits: sign, through: limit.bitPattern | sign, step: 521
      ) { ulps($1, exp(Double($0))) }
      #expect(worst <= 2)
    }
    // Every float between 1 and 2, where a whole step of the reduction lies.
    let dense = worst(of: ck_exp, bits: Float(1).bitPattern, through: Float(2).bitPattern, step: 7)
    {
      ulps($1, exp(Double($0)))
    }
    #expect(dense <= 2)
  }

  @Test("log is within 1 ulp over all positive normal numbers, and where it crosses 0")
  func logarithm() {
    let all = worst(
      of: ck_log, bits: Float.leastNormalMagnitude.bitPattern,
      through: Float.greatestFiniteMagnitude.bitPattern, step: 1021
    ) { ulps($1, log(Double($0))) }
    #expect(all <= 1)
    let dense = worst(
      of: ck_log, bits: Float(0.7).bitPattern, through: Float(1.42).bitPattern, step: 11
    ) { $0 == 1 ? Double($1.magnitude) : ulps($1, log(Double($0))) }
    #expect(dense <= 1)
    var limits: [Float] = [.infinity, .nan, -.nan]
    ck_log(limits, &limits, 3)
    #expect(limits[0] == .infinity && limits[1].isNaN && limits[2].isNaN)
  }

  @Test("erf is within 2e-7 everywhere, and odd")
  func errorFunction() {
    for sign in [0, Self.negative] {
      let worst = worst(
        of: ck_erf, bits: sign, through: Float.infinity.bitPattern | sign, step: 1021
      ) { abs(Double($1) - erf(Double($0))) }
      #expect(worst <= 2e-7)
    }
    let dense = worst(
      of: ck_erf, bits: Float(0.5).bitPattern, through: Float(4.5).bitPattern, step: 23
    ) { abs(Double($1) - erf(Double($0))) }
    #expect(dense <= 2e-7)
    var limits: [Float] = [.nan, 0, -0.0]
    ck_erf(limits, &limits, 3)
    #expect(limits[0].isNaN && limits[1] == 0 && limits[2] == 0)
  }

  @Test("sine and cosine of all angles are within 1.2e-7")
  func sineAndCosine() {
    var worst = 0.0
    let count = 4096
    // An odd step: over the passes every residue of the low bits comes up.
    let step = 4099
    for start in stride(from: 0, to: 1 << 32, by: count * step) {
      let turns = (0..<count).map { UInt32(truncatingIfNeeded: start + $0 * step) }
      let results = kernelLevels.map { level in
        var (s, c) = ([Float](repeating: 0, count: count), [Float](repeating: 0, count: count))
        atLevel(level) { ck_sine_cosine(turns, &s, &c, count) }
        return (s, c)
      }
      for other in results.dropFirst() {
        #expect(sameBits(other.0, results[0].0) && sameBits(other.1, results[0].1))
      }
      let (sines, cosines) = results[0]
      for (i, turn) in turns.enumerated() {
        let angle = 2 * Double.pi * Double(turn) * 0x1p-32
        let errors = (abs(Double(sines[i]) - sin(angle)), abs(Double(cosines[i]) - cos(angle)))
        worst = max(worst, errors.0, errors.1)
      }
    }
    #expect(worst <= 1.2e-7)
  }
}

/// Our functions in double precision against those of the C library, which are within 1 ulp themselves (0.55
/// in glibc).
@Suite("Functions in double precision")
struct DoubleFunctionTests {
  private func ulps(_ y: Double, _ other: Double) -> Double {
    y == other ? 0 : abs(y - other) / other.ulp
  }

  private func uniform(_ dice: inout Dice, _ limit: Double) -> Double {
    (Double(dice.next() >> 11) * 0x1p-53 * 2 - 1) * limit
  }

  private let count = 1_000_000

  @Test("exp over all numbers with a finite result, down to the smallest")
  func exponential() {
    var dice = Dice(71)
    var worst = 0.0
    for i in 0..<count {
      let x = uniform(&dice, [745, 1, 1e-5][i % 3])
      worst = max(worst, ulps(ck_double_exp(x), exp(x)))
    }
    #expect(worst <= 1)
    #expect(ck_double_exp(710) == .infinity && ck_double_exp(.infinity) == .infinity)
    #expect(ck_double_exp(-746) == 0 && ck_double_exp(-.infinity) == 0)
    #expect(ck_double_exp(.nan).isNaN && ck_double_exp(0) == 1)
    #expect(ulps(ck_double_exp(709.78), exp(709.78)) <= 1)
  }

  @Test("log over all positive numbers, and near 1")
  func logarithm() {
    var dice = Dice(72)
    var worst = 0.0
    for i in 0..<count {
      let all = Double(bitPattern: dice.next() % Double.infinity.bitPattern)
      let near = 1 + uniform(&dice, 0.5) * Double(sign: .plus, exponent: -(i % 50), significand: 1)
      for x in [all, near] { worst = max(worst, ulps(ck_double_log(x), log(x))) }
    }
    #expect(worst <= 1)
    #expect(ck_double_log(0) == -.infinity && ck_double_log(.infinity) == .infinity)
    #expect(ck_double_log(-1).isNaN && ck_double_log(.nan).isNaN && ck_double_log(1) == 0)
    let smallest = Double.leastNonzeroMagnitude
    #expect(ulps(ck_double_log(smallest), log(smallest)) <= 1)
  }

  @Test("powers over the whole range, and those of Adam")
  func power() {
    var dice = Dice(73)
    var worst = 0.0
    for i in 0..<count {
      let base = exp(uniform(&dice, i % 2 == 0 ? 1 : 700))
      let exponent = uniform(&dice, 740) / max(1e-3, log(base).magnitude)
      let exact = pow(base, exponent)
      if exact.isNormal { worst = max(worst, ulps(ck_double_pow(base, exponent), exact)) }
      let beta = 1 - pow(10, -5 * Double(dice.next() >> 11) * 0x1p-53)
      let step = Double(1 + dice.integer(below: 100_000))
      if pow(beta, step).isNormal {
        worst = max(worst, ulps(ck_double_pow(beta, step), pow(beta, step)))
      }
    }
    #expect(worst <= 1)
    for (x, y) in [
      (0, 3), (0, 0), (0, -1), (1, .nan), (0.5, 1e300), (2, 1e300), (0.5, -1e300), (3, 0),
      (.infinity, -1), (.infinity, 2), (0.9, .infinity), (1.5, -.infinity),
    ] as [(Double, Double)] {
      #expect(ck_double_pow(x, y) == pow(x, y), "\(x) ^ \(y)")
    }
    #expect(ck_double_pow(-1, 2).isNaN && ck_double_pow(.nan, 1).isNaN)
  }

  @Test("sine and cosine up to 2^27, and next to the multiples of a quarter turn")
  func sineAndCosine() {
    var dice = Dice(74)
    var worst = 0.0
    for i in 0..<count {
      let multiple = Double(dice.integer(below: 1 << (1 + i % 26))) * (Double.pi / 2)
      for x in [uniform(&dice, [0.1, 4, 1e4, 0x1p27][i % 4]), multiple, -multiple.nextUp] {
        worst = max(worst, ulps(ck_double_sin(x), sin(x)), ulps(ck_double_cos(x), cos(x)))
      }
    }
    #expect(worst <= 1)
    #expect(ck_double_sin(0x1p28).isNaN && ck_double_cos(.nan).isNaN)
    #expect(ck_double_sin(0) == 0 && ck_double_cos(0) == 1)
  }
}
