// Products of tiles bit for bit: the order of their sums is written down here once more, with a fused
// multiply-add of the standard library, and every layout, cut and level has to follow it.
import CKernels
import Testing

@Suite("Kernels of products")
struct ProductKernelTests {
  /// `rows` x `depth` times `depth` x `columns`.
  struct Case: CustomTestStringConvertible, Sendable {
    let rows: Int
    let columns: Int
    let depth: Int
    var testDescription: String { "\(rows) x \(columns) x \(depth)" }

    static let all = [
      (1, 1, 1), (1, 330, 700), (3, 31, 5), (8, 32, 32), (13, 65, 33), (40, 96, 130), (37, 40, 700),
    ].map { Case(rows: $0.0, columns: $0.1, depth: $0.2) }

    func a() -> [Float] { numbers(81, rows * depth) }
    func b() -> [Float] { numbers(82, depth * columns) }
    func old() -> [Float] { numbers(83, rows * columns) }

    private func numbers(_ seed: UInt64, _ count: Int) -> [Float] {
      var dice = Dice(seed)
      return dice.floats(count, 2)
    }

    /// One running sum per block of k, in order; blocks are added one after the other.
    func expected(block: Int, adding old: [Float]? = nil) -> [Float] {
      let (a, b) = (a(), b())
      return (0..<rows * columns).map { index in
        let (i, j) = index.quotientAndRemainder(dividingBy: columns)
        var result = old?[index]
        for start in stride(from: 0, to: depth, by: block) {
          var sum: Float = 0
          for k in start..<min(start + block, depth) {
            sum.addProduct(a[i * depth + k], b[k * columns + j])
          }
          result = result.map { sum + $0 } ?? sum
        }
        return result ?? 0
      }
    }
  }

  /// How the left side lies in memory.
  enum Left: CaseIterable { case rows, strips, transposed }

  /// A matrix in strips, the padding poisoned.
  private func strips(_ matrix: [Float], rows: Int, columns: Int) -> Guarded<Float> {
    let result = Guarded([Float](repeating: .nan, count: (columns + 31) / 32 * rows * 32), shift: 1)
    ck_strips_from_rows(matrix, columns, rows, columns, result.pointer, rows * 32)
    #expect(result.isIntact)
    return result
  }

  private func result(
    _ c: Case, _ left: Left, add: Bool, inStrips: Bool, columnCuts: [Int], level: Int32
  ) -> [Float] {
    atLevel(level) {
      let right = strips(c.b(), rows: c.depth, columns: c.columns)
      let memory: Guarded<Float>
      let a: ck_left
      switch left {
      case .rows:
        memory = Guarded(c.a(), shift: 3)
        a = ck_left(
          base: memory.pointer, row_block: 32 * c.depth, row: c.depth, k_block: 32, k: 1)
      case .strips:
        memory = strips(c.a(), rows: c.rows, columns: c.depth)
        a = ck_left(base: memory.pointer, row_block: 1024, row: 32, k_block: c.rows * 32, k: 1)
      case .transposed:
        let count = (c.rows + 31) / 32 * c.depth * 32
        memory = Guarded([Float](repeating: .nan, count: count))
        ck_strips_transposed(c.a(), c.depth, c.rows, c.depth, memory.pointer, c.depth * 32)
        a = ck_left(base: memory.pointer, row_block: c.depth * 32, row: 1, k_block: 1024, k: 32)
      }
      let width = inStrips ? (c.columns + 31) / 32 * 32 : c.columns
      let (row, strip) = inStrips ? (32, c.rows * 32) : (c.columns, 32)
      let out = Guarded([Float](repeating: 0.5, count: c.rows * width), shift: 2)
      func place(_ i: Int, _ j: Int) -> Int { i * row + j / 32 * strip + j % 32 }
      let old = c.old()
      for i in 0..<c.rows {
        for j in 0..<c.columns { out.pointer[place(i, j)] = old[i * c.columns + j] }
      }
      var first = 0
      for cut in columnCuts + [c.columns] where cut > first && cut <= c.columns {
        ck_product(
          a, right.pointer + first / 32 * c.depth * 32, c.depth * 32, out.pointer + place(0, first),
          row, strip, c.rows, cut - first, c.depth, add ? 1 : 0, 0, nil, 0, nil, 0)
        first = cut
      }
      #expect(out.isIntact && memory.isIntact)
      return (0..<c.rows).flatMap { i in (0..<c.columns).map { out.values[place(i, $0)] } }
    }
  }

  @Test(
    "every layout and every cut of the columns has the bits of the written order",
    arguments: Case.all, kernelLevels)
  func bits(c: Case, level: Int32) {
    for left in Left.allCases {
      let block = left == .transposed ? 128 : 256
      for add in [false, true] {
        let expected = c.expected(block: block, adding: add ? c.old() : nil)
        for (inStrips, cuts) in [(false, []), (true, []), (false, [32, 64]), (true, [64])] {
          let actual = result(
            c, left, add: add, inStrips: inStrips, columnCuts: cuts, level: level)
          #expect(sameBits(actual, expected), "\(left), add \(add), strips \(inStrips), \(cuts)")
        }
      }
    }
  }

  @Test(
    "sums that go on are one chain, however k is cut and whatever zeros stand between",
    arguments: Case.all, kernelLevels)
  func chain(c: Case, level: Int32) {
    let (factors, others) = (c.a(), c.b())
    var expected = c.old()
    for (index, start) in expected.enumerated() {
      let (i, j) = index.quotientAndRemainder(dividingBy: c.columns)
      var sum = start
      for k in 0..<c.depth { sum.addProduct(factors[i * c.depth + k], others[k * c.columns + j]) }
      expected[index] = sum
    }
    // `before` rows of nothing, then the factors in two products.
    for (before, cut) in [(0, c.depth), (5, c.depth / 2), (300, c.depth / 3)] {
      let depth = before + c.depth
      let a = (0..<c.rows).flatMap { i in
        [Float](repeating: 0, count: before) + factors[i * c.depth..<(i + 1) * c.depth]
      }
      let b = [Float](repeating: 3, count: before * c.columns) + others
      var out = c.old()
      atLevel(level) {
        let left = Guarded(a)
        for part in [0..<before + cut, before + cut..<depth] where !part.isEmpty {
          let right = strips(
            Array(b[part.lowerBound * c.columns..<part.upperBound * c.columns]), rows: part.count,
            columns: c.columns)
          let operand = ck_left(
            base: left.pointer + part.lowerBound, row_block: 32 * depth, row: depth, k_block: 32,
            k: 1)
          ck_product(
            operand, right.pointer, part.count * 32, &out, c.columns, 32, c.rows, c.columns,
            part.count, 0, 1, nil, 0, nil, 0)
        }
      }
      #expect(sameBits(out, expected), "\(before) zeros, cut at \(cut)")
    }
  }
}
