// Products of bf16 numbers bit for bit: what one step does and in which order steps follow is written down here once
// more, and every level, by the instruction or without, has to follow it.
import CKernels
import Testing

@Suite("Kernels of bf16 products")
struct PairKernelTests {
  @Test(
    "a step of every level is that of the definition", arguments: PairKind.allCases,
    PairOrder.allCases)
  func steps(kind: PairKind, order: PairOrder) {
    var dice = Dice(kind.rawValue)
    let size = 64
    let product = order == .pairs ? ck_product_pairs : ck_product_blocks
    for _ in 0..<80 {
      let a = (0..<size).map { _ in kind.half(&dice) | kind.half(&dice) << 16 }
      let b = (0..<size).map { _ in kind.half(&dice) | kind.half(&dice) << 16 }
      let c = (0..<size * size).map { _ in kind.sum(&dice) }
      let expected = c.indices.map { order.sum(c[$0], [(a[$0 / size], b[$0 % size])]) }
      let (left, right) = (asFloats(a), asFloats(b))
      for level in kernelLevels {
        var out = c
        atLevel(level) {
          left.withUnsafeBufferPointer { left in
            // One pair of k: a row is one element, and two strips of one row each.
            product(
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

  @Test(
    "every layout has the bits of the written order", arguments: PairCase.all, PairOrder.allCases)
  func bits(c: PairCase, order: PairOrder) {
    let product = order == .pairs ? ck_product_pairs : ck_product_blocks
    let pairs = (c.depth + 1) / 2
    let across = (0..<c.depth * c.rows).map { c.a[$0 % c.rows * c.depth + $0 / c.rows] }
    let ends = [false, true].flatMap { left in PairEnd.allCases.map { (left, $0) } }
    for (isTransposed, end) in ends {
      let expected = c.expected(order, isTransposed: isTransposed, end)
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
            product(
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

  @Test(
    "sums stay within the bound of single-precision summation", arguments: PairCase.all,
    PairOrder.allCases)
  func bound(c: PairCase, order: PairOrder) {
    let exact = { (x: Float) in Double(Pairs.value(Pairs.rounded(x))) }
    let (a, b) = (c.a.map(exact), c.b.map(exact))
    let actual = c.expected(order, isTransposed: false, .set)
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
