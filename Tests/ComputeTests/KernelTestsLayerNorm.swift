// Layer normalisation, forward and backward, against double precision and finite differences.
import CKernels
import Testing

@Suite("Kernels of layer normalisation")
struct LayerNormKernelTests {
  static let epsilon: Float = 1e-5

  /// Rows of `width` numbers with their gain and bias, and what the loss weighs the outputs with.
  struct Case {
    let rows: Int
    let width: Int
    let stride: Int
    let x, gain, bias, dy: [Float]

    init(rows: Int, width: Int, padding: Int = 5) {
      var dice = Dice(UInt64(31 + width))
      self.rows = rows
      self.width = width
      stride = width + padding
      // Far from zero mean, as deep streams are.
      x = dice.floats(rows * stride, 2).map { $0 + 3 }
      gain = dice.floats(width).map { $0 + 1 }
      bias = dice.floats(width)
      dy = dice.floats(rows * stride)
    }

    func row(_ values: [Float], _ i: Int) -> [Double] {
      values[(i * stride)..<(i * stride + width)].map(Double.init)
    }
  }

  static func reference(
    _ x: [Double], _ gain: [Double], _ bias: [Double]
  ) -> (out: [Double], mean: Double, rstd: Double) {
    let mean = x.reduce(0, +) / Double(x.count)
    let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(x.count)
    let rstd = 1 / (variance + Double(epsilon)).squareRoot()
    return (x.indices.map { (x[$0] - mean) * rstd * gain[$0] + bias[$0] }, mean, rstd)
  }

  @Test("forward agrees with double precision", arguments: kernelLevels, awkwardSizes)
  func forward(level: Int32, width: Int) {
    let c = Case(rows: 5, width: width)
    let out = Guarded([Float](repeating: 0, count: c.rows * width), shift: 1)
    var mean = [Float](repeating: 0, count: c.rows)
    var rstd = mean
    atLevel(level) {
      ck_layernorm_forward(
        c.x, c.stride, c.rows, width, c.gain, c.bias, Self.epsilon, out.pointer, width, &mean, &rstd
      )
    }
    for i in 0..<c.rows {
      let exact = Self.reference(c.row(c.x, i), c.gain.map(Double.init), c.bias.map(Double.init))
      // Sums of numbers up to 5, so the mean is off by some 1e-7 * 5; that is amplified by rstd.
      let tolerance = 2e-6 * max(1, exact.rstd)
      let row = Array(out.values[(i * width)..<((i + 1) * width)])
      #expect(worstError(row, exact.out, absolute: tolerance) <= 1)
      #expect(worstError([mean[i]], [exact.mean], absolute: 1e-6) <= 1)
      #expect(worstError([rstd[i]], [exact.rstd], absolute: 0, relative: 1e-5) <= 1)
    }
    #expect(out.isIntact)
  }

  @Test("backward agrees with finite differences", arguments: kernelLevels, [2, 7, 33, 64, 100])
  func backward(level: Int32, width: Int) {
    let c = Case(rows: 11, width: width)
    var out = c.x
    var mean = [Float](repeating: 0, count: c.rows)
    var rstd = mean
    let dx = Guarded([Float](repeating: 0.5, count: c.rows * c.stride), shift: 3)
    let dgain = Guarded([Float](repeating: 0.25, count: width), shift: 1)
    let dbias = Guarded([Float](repeating: -0.25, count: width), shift: 2)
    atLevel(level) {
      ck_layernorm_forward(
        c.x, c.stride, c.rows, width, c.gain, c.bias, Self.epsilon, &out, c.stride, &mean, &rstd)
      ck_layernorm_backward(
        c.dy, c.stride, c.x, c.stride, c.rows, width, c.gain, mean, rstd, dx.pointer, c.stride,
        dgain.pointer, dbias.pointer)
    }
    var gainSums = [Double](repeating: 0.25, count: width)
    var biasSums = [Double](repeating: -0.25, count: width)
    for i in 0..<c.rows {
      let (x, dy) = (c.row(c.x, i), c.row(c.dy, i))
      let (gain, bias) = (c.gain.map(Double.init), c.bias.map(Double.init))
      func loss(_ x: [Double], _ gain: [Double], _ bias: [Double]) -> Double {
        zip(Self.reference(x, gain, bias).out, dy).reduce(0) { $0 + $1.0 * $1.1 }
      }
      let exact = differences(of: { loss($0, gain, bias) }, at: x).map { $0 + 0.5 }
      let row = Array(dx.values[(i * c.stride)..<(i * c.stride + width)])
      // The terms of dx are of size rstd and cancel; (x - mean) rstd is off by 1e-6 rstd or so.
      let tolerance = 4e-6 * max(1, Double(rstd[i] * rstd[i]))
      #expect(worstError(row, exact, absolute: tolerance) <= 1)
      let margin = dx.values[(i * c.stride + width)..<((i + 1) * c.stride)]
      #expect(margin.allSatisfy { $0 == 0.5 })
      let dg = differences(of: { loss(x, $0, bias) }, at: gain)
      let db = differences(of: { loss(x, gain, $0) }, at: bias)
      for j in 0..<width {
        gainSums[j] += dg[j]
        biasSums[j] += db[j]
      }
    }
    let largest = Double(rstd.max() ?? 0)
    #expect(worstError(dgain.values, gainSums, absolute: 1e-5 * max(1, largest)) <= 1)
    #expect(worstError(dbias.values, biasSums, absolute: 1e-5) <= 1)
    #expect(dx.isIntact && dgain.isIntact && dbias.isIntact)
  }

  @Test("rows come out the same alone and together", arguments: kernelLevels, [7, 64, 100])
  func rowCuts(level: Int32, width: Int) {
    let c = Case(rows: 13, width: width, padding: 0)
    let zeros = [Float](repeating: 0, count: c.rows * width)
    func run(shift: Int, rowsPerCall: Int) -> [[UInt8]] {
      let x = Guarded(c.x, shift: shift)
      let out = Guarded(zeros, shift: shift)
      let dx = Guarded(zeros, shift: shift)
      let statistics = (0..<2).map { _ in Guarded([Float](repeating: 0, count: c.rows)) }
      let sums = (0..<2).map { Guarded([Float](repeating: 0.1, count: width), shift: $0) }
      for i in stride(from: 0, to: c.rows, by: rowsPerCall) {
        let n = min(rowsPerCall, c.rows - i)
        let (mean, rstd) = (statistics[0].pointer + i, statistics[1].pointer + i)
        let at = i * width
        ck_layernorm_forward(
          x.pointer + at, width, n, width, c.gain, c.bias, Self.epsilon, out.pointer + at, width,
          mean, rstd)
        ck_layernorm_backward(
          out.pointer + at, width, x.pointer + at, width, n, width, c.gain, mean, rstd,
          dx.pointer + at, width, sums[0].pointer, sums[1].pointer)
      }
      return [out.bytes, dx.bytes] + (statistics + sums).map(\.bytes)
    }
    atLevel(level) {
      let whole = run(shift: 0, rowsPerCall: c.rows)
      #expect(run(shift: 1, rowsPerCall: 1) == whole)
      #expect(run(shift: 3, rowsPerCall: 5) == whole)
    }
  }
}
