// Rows by index, key scaling, hashing and sorting.
import CKernels
import Glibc
import Testing

@Suite("Kernels of rows by index, keys and hashes")
struct RowKernelTests {
  @Test(
    "gathering fetches and scales rows, and pads with zeros", arguments: kernelLevels, awkwardSizes)
  func gather(level: Int32, width: Int) {
    let (sourceRows, sourceStride) = (9, width + 2)
    var dice = Dice(41)
    let source = dice.floats(sourceRows * sourceStride)
    let scale = dice.floats(sourceRows * 3)
    let index: [Int32] = [3, 0, 8, 9, 3, 1000, 7, -1, .max]
    func expected(_ factor: (Int) -> Float) -> [Float] {
      index.flatMap { at in
        (0..<width).map { j in
          (0..<Int32(sourceRows)).contains(at)
            ? source[Int(at) * sourceStride + j] * factor(Int(at)) : 0
        }
      }
    }
    let plain = Guarded([Float](repeating: 7, count: index.count * width), shift: 1)
    let scaled = Guarded([Float](repeating: 7, count: index.count * width), shift: 2)
    atLevel(level) {
      ck_gather_rows(
        source, sourceStride, index, index.count, width, Int32(sourceRows), nil, 0, plain.pointer,
        width)
      ck_gather_rows(
        source, sourceStride, index, index.count, width, Int32(sourceRows), scale, 3,
        scaled.pointer, width)
    }
    #expect(plain.values == expected { _ in 1 })
    #expect(scaled.values == expected { scale[$0 * 3] })
    #expect(plain.isIntact && scaled.isIntact)
  }

  @Test(
    "rows by index laid across have one strip after the other", arguments: kernelLevels,
    [1, 15, 16, 33, 70])
  func gatherAcross(level: Int32, count: Int) {
    for width in awkwardSizes {
      let (sourceRows, stride) = (50, width + 3)
      var dice = Dice(43)
      let source = dice.floats(sourceRows * stride)
      let index = (0..<count).map { Int32($0 * 31 % sourceRows) }
      let strips = (count + 31) / 32
      let out = Guarded([Float](repeating: 7, count: strips * width * 32), shift: 3)
      atLevel(level) {
        ck_strips_gathered(
          source, stride, index, count, width, out.pointer, width * 32)
      }
      let seen = (0..<count).map { i in
        (0..<width).map { out.values[i / 32 * width * 32 + $0 * 32 + i % 32] }
      }
      #expect(seen == index.map { Array(source[Int($0) * stride..<Int($0) * stride + width]) })
      #expect(out.isIntact)
    }
  }

  @Test(
    "weighted rows are added in one chain, each with one rounding", arguments: kernelLevels,
    awkwardSizes)
  func weigh(level: Int32, width: Int) {
    let (sourceRows, stride) = (9, width + 2)
    var dice = Dice(44)
    let source = dice.floats(sourceRows * stride)
    let index: [Int32] = [3, 0, 8, 3, 3, 7, 1]
    let weights = dice.floats(index.count)
    let start = dice.floats(width)
    let out = Guarded(start, shift: 1)
    atLevel(level) {
      ck_add_weighted_rows(weights, source, stride, index, index.count, width, out.pointer)
    }
    var expected = start
    for (weight, at) in zip(weights, index) {
      for j in 0..<width { expected[j].addProduct(weight, source[Int(at) * stride + j]) }
    }
    #expect(sameBits(out.values, expected))
    #expect(out.isIntact)
  }

  @Test("scattering adds rows in order and skips padding", arguments: kernelLevels, awkwardSizes)
  func scatter(level: Int32, width: Int) {
    let (targetRows, stride) = (5, width + 2)
    var dice = Dice(42)
    let start = dice.floats(targetRows * stride)
    let index: [Int32] = [3, 0, 3, 5, 4, 99, -1]
    let source = dice.floats(index.count * width)
    let target = Guarded(start, shift: 1)
    atLevel(level) {
      ck_scatter_add_rows(
        target.pointer, stride, index, index.count, width, Int32(targetRows), source)
    }
    var expected = start
    for (i, at) in index.enumerated() where (0..<Int32(targetRows)).contains(at) {
      for j in 0..<width { expected[Int(at) * stride + j] += source[i * width + j] }
    }
    #expect(sameBits(target.values, expected))
    #expect(target.isIntact)
  }

  @Test(
    "features are exponentials by column, and the gradient is that of finite differences",
    arguments: kernelLevels, awkwardSizes)
  func featureColumns(level: Int32, width: Int) {
    let (rows, stride, top, floor) = (9, width + 1, Float(3), Float(1e-3))
    var dice = Dice(47)
    let x = dice.floats(rows * stride, 5)
    let weights = dice.floats(rows * stride)
    let shift = dice.floats(width)
    let (most, sums) = (
      Guarded([Float](repeating: 0, count: width), shift: 1),
      Guarded([Float](repeating: 0, count: width), shift: 3)
    )
    let (features, gradient) = (Guarded(x, shift: 1), Guarded(weights, shift: 2))
    atLevel(level) {
      ck_column_maximum(x, stride, rows, width, most.pointer)
      ck_column_exp(features.pointer, stride, rows, width, shift, top, floor)
      ck_column_exp_backward(
        gradient.pointer, stride, features.pointer, stride, rows, width, top, floor, sums.pointer)
    }
    for j in 0..<width {
      let column = (0..<rows).map { x[$0 * stride + j] }
      #expect(most.values[j] == column.max())
      func exact(_ x: Double) -> Double {
        exp(min(x - Double(shift[j]), Double(top))) + Double(floor)
      }
      var sum = 0.0
      for (i, number) in column.enumerated() {
        // Exponents of up to 6 are rounded once.
        #expect(
          worstError(
            [features.values[i * stride + j]], [exact(Double(number))], absolute: 0,
            relative: 2e-6) <= 1)
        let weight = Double(weights[i * stride + j])
        let slope =
          number - shift[j] >= top ? 0 : weight * (exact(Double(number)) - Double(floor))
        sum += slope
        #expect(
          worstError(
            [gradient.values[i * stride + j]], [slope], absolute: 1e-6, relative: 2e-6) <= 1)
      }
      #expect(worstError([sums.values[j]], [sum], absolute: 1e-4, relative: 1e-5) <= 1)
    }
    #expect(most.isIntact && sums.isIntact && features.isIntact && gradient.isIntact)
  }

  static func keyScale(_ x: [Double]) -> Double {
    let mean = x.reduce(0) { $0 + $1 * $1 } / Double(x.count)
    return 1 / ((mean + 1e-6).squareRoot() * Double(x.count).squareRoot())
  }

  @Test(
    "keys get unit length, and the gradient is that of finite differences",
    arguments: kernelLevels, awkwardSizes)
  func keyScaling(level: Int32, width: Int) {
    let (rows, stride) = (6, width + 1)
    var dice = Dice(43)
    var x = dice.floats(rows * stride)
    for j in 0..<width { x[j] = 0 }  // a zero row: length 0, finite scale
    let dkey = dice.floats(rows * stride)
    var scale = [Float](repeating: 0, count: rows * 2)
    let dx = Guarded([Float](repeating: 0.5, count: rows * stride), shift: 1)
    atLevel(level) {
      ck_key_scale(x, stride, rows, width, &scale, 2)
      ck_key_scale_backward(
        dkey, stride, x, stride, nil, rows, width, Int32(rows), scale, 2, dx.pointer, stride)
    }
    for i in 0..<rows {
      let row = x[(i * stride)..<(i * stride + width)].map(Double.init)
      let weights = dkey[(i * stride)..<(i * stride + width)].map(Double.init)
      let exact = Self.keyScale(row)
      // A sum of squares, a square root and a division: a few roundings.
      #expect(worstError([scale[i * 2]], [exact], absolute: 0, relative: 1e-6) <= 1)
      guard i > 0 else { continue }  // at 0 the scale is so curved that differences mean little
      let gradient = differences(
        of: { x in
          let s = Self.keyScale(x)
          return zip(x, weights).reduce(0) { $0 + $1.0 * s * $1.1 }
        }, at: row)
      // Terms of size scale * 1 that may cancel, and 0.5 to which they are added.
      #expect(
        worstError(
          Array(dx.values[(i * stride)..<(i * stride + width)]), gradient.map { $0 + 0.5 },
          absolute: 1e-6 * max(1, exact)) <= 1)
    }
    #expect(dx.isIntact)
  }

  static func bucket(_ row: [Float], _ factors: [Int32]) -> Int32 {
    var (bucket, weight, start) = (Int32(0), Int32(1), 0)
    for factor in factors {
      let half = Int(factor) / 2
      let part = Array(row[start..<(start + half)])
      let signed = part + part.map { -$0 }
      var best = 0
      for i in signed.indices where signed[i] > signed[best] { best = i }
      bucket += weight * Int32(best)
      weight *= factor
      start += half
    }
    return bucket
  }

  @Test(
    "buckets are the first arg-max of [x; -x], factors combined", arguments: kernelLevels,
    [[2], [14], [32], [64, 128], [6, 2, 34], [200]] as [[Int32]])
  func hash(level: Int32, factors: [Int32]) {
    let width = factors.reduce(0) { $0 + Int($1) / 2 }
    let (rows, stride) = (200, width + 3)
    var dice = Dice(44)
    // Few different values, so that most rows have ties; the first row is all zeros.
    let coarse = (0..<(rows * stride)).map { i in
      i < stride ? 0 : Float(dice.integer(below: 5)) - 2
    }
    let fine = dice.floats(rows * stride)
    for values in [coarse, fine] {
      let rotated = Guarded(values, shift: 1)
      var buckets = [Int32](repeating: -1, count: rows)
      atLevel(level) {
        ck_hash_buckets(rotated.pointer, stride, rows, factors, factors.count, &buckets)
      }
      let expected = (0..<rows).map { i in
        Self.bucket(Array(values[(i * stride)..<(i * stride + width)]), factors)
      }
      #expect(buckets == expected)
    }
  }

  @Test("a row without numbers still gets a bucket in range", arguments: kernelLevels)
  func hashOfNaN(level: Int32) {
    var bucket: Int32 = -1
    atLevel(level) { ck_hash_buckets([.nan, .nan, .nan], 3, 1, [6], 1, &bucket) }
    #expect(bucket == 0)
  }
}
