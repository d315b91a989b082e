// Addressed random numbers: Philox against its published vectors, dropout, normal numbers.
import CKernels
import Glibc
import Testing

@Suite("Kernels of random numbers")
struct RandomKernelTests {
  @Test("the generator gives the published blocks of Philox 4x32-10")
  func knownAnswers() {
    // Random123 distribution, known-answer file: counter, key, result.
    let known: [([UInt32], [UInt32], [UInt32])] = [
      ([0, 0, 0, 0], [0, 0], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
      (
        [.max, .max, .max, .max], [.max, .max],
        [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
      ),
      (
        [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0],
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
      ),
    ]
    for (counter, key, result) in known {
      var block: [UInt32] = [0, 0, 0, 0]
      ck_philox_block(counter, key, &block)
      #expect(block == result)
    }
  }

  @Test(
    "numbers are the words of the blocks, wherever the stream is entered", arguments: kernelLevels,
    [0, 1, 2, 3, 1021, (1 << 34) - 70, (1 << 62) + 3] as [UInt64])
  func words(level: Int32, first: UInt64) {
    let key: UInt64 = 0x0123_4567_89AB_CDEF
    let count = 300
    let expected = (0..<count).map { i in
      let number = first + UInt64(i)
      let block = number >> 2
      var out: [UInt32] = [0, 0, 0, 0]
      ck_philox_block(
        [UInt32(truncatingIfNeeded: block), UInt32(block >> 32), 0, 0],
        [UInt32(truncatingIfNeeded: key), UInt32(key >> 32)], &out)
      return out[Int(number & 3)]
    }
    let numbers = Guarded([UInt32](repeating: 0, count: count), shift: 1)
    atLevel(level) { ck_philox(key, first, numbers.pointer, count) }
    #expect(numbers.values == expected)
    #expect(numbers.isIntact)
  }

  @Test("dropout drops what its number says, and as often as asked", arguments: kernelLevels)
  func dropout(level: Int32) {
    let count = 1 << 16
    let rate = 0.1
    let threshold = UInt32(rate * 0x1p32)
    var dice = Dice(21)
    let start = dice.floats(count).map { abs($0) + 0.5 }
    var x = start
    var numbers = [UInt32](repeating: 0, count: count)
    atLevel(level) {
      ck_dropout(&x, count, 5, 77, threshold, 1.25)
      ck_philox(5, 77, &numbers, count)
    }
    #expect(x == zip(start, numbers).map { $1 < threshold ? 0 : $0 * 1.25 })
    let dropped = Double(x.count { $0 == 0 })
    // Five standard deviations of a binomial count.
    let sigma = (Double(count) * rate * (1 - rate)).squareRoot()
    #expect(abs(dropped - Double(count) * rate) <= 5 * sigma)
  }

  @Test("normal numbers are Box and Muller's, with mean 0 and variance 1", arguments: kernelLevels)
  func normal(level: Int32) {
    let count = 1 << 16
    var x = [Float](repeating: 0, count: count)
    var numbers = [UInt32](repeating: 0, count: count)
    atLevel(level) {
      ck_normal(&x, count, 3, 40)
      ck_philox(3, 40, &numbers, count)
    }
    var expected: [Double] = []
    for i in stride(from: 0, to: count, by: 2) {
      let radius = (-2 * log((Double(numbers[i]) + 0.5) * 0x1p-32)).squareRoot()
      let angle = 2 * Double.pi * Double(numbers[i + 1]) * 0x1p-32
      expected += [radius * cos(angle), radius * sin(angle)]
    }
    // Near u = 1, where the radius vanishes, u is rounded to 24 bits: an error of 6e-8 in r^2, so
    // up to 2.5e-4 in r itself at r = 0. Elsewhere it is a few roundings of numbers below 7.
    let clear = x.indices.filter { expected[$0 & ~1].magnitude + expected[$0 | 1].magnitude > 0.05 }
    #expect(clear.count > count * 99 / 100)
    #expect(worstError(clear.map { x[$0] }, clear.map { expected[$0] }, absolute: 4e-6) <= 1)
    #expect(worstError(x, expected, absolute: 3e-4) <= 1)

    let n = Double(count)
    let mean = x.reduce(0) { $0 + Double($1) } / n
    let variance = x.reduce(0) { $0 + Double($1) * Double($1) } / n - mean * mean
    // Five standard deviations: 1 / sqrt(n) for the mean, sqrt(2 / n) for the variance.
    #expect(abs(mean) <= 5 / n.squareRoot())
    #expect(abs(variance - 1) <= 5 * (2 / n).squareRoot())
  }
}
