// Products of bf16 numbers in blocks, as AMX adds them: the instruction against the written rule, at every level.
import CKernels
import Testing

@Suite("Kernels of bf16 products in blocks")
struct BlockKernelTests {
  /// Operands in strips, all of whose numbers are of one kind, and sums to go on from.
  private struct Operands {
    let rows: Int
    let columns: Int
    let pairs: Int
    /// Element (i, p) at `p / 32 * rows * 32 + i * 32 + p % 32`.
    let left: [UInt32]
    /// Element (p, j) at `j / 32 * pairs * 32 + p * 32 + j % 32`.
    let right: [UInt32]
    let sums: [Float]

    init(_ kind: PairKind, rows: Int, columns: Int, pairs: Int, _ dice: inout Dice) {
      func elements(_ count: Int) -> [UInt32] {
        (0..<count).map { _ in kind.half(&dice) | kind.half(&dice) << 16 }
      }
      (self.rows, self.columns, self.pairs) = (rows, columns, pairs)
      left = elements((pairs + 31) / 32 * 32 * rows)
      right = elements((columns + 31) / 32 * 32 * pairs)
      sums = (0..<rows * columns).map { _ in kind.sum(&dice) }
    }

    /// The product of some rows, strips of columns and blocks of k, going on from `sums`.
    func run(
      _ sums: inout [Float], rows: Range<Int>, columns: Range<Int>, pairs: Range<Int>
    ) {
      asFloats(left).withUnsafeBufferPointer { a in
        asFloats(right).withUnsafeBufferPointer { b in
          sums.withUnsafeMutableBufferPointer { c in
            guard let a = a.baseAddress, let b = b.baseAddress, let c = c.baseAddress else {
              return
            }
            let first = pairs.lowerBound
            let left = ck_left(
              base: a + rows.lowerBound * 32 + first / 32 * self.rows * 32 + first % 32,
              row_block: 1024, row: 32, k_block: self.rows * 32, k: 1)
            ck_product_blocks(
              left, b + columns.lowerBound / 32 * self.pairs * 32 + first * 32, self.pairs * 32,
              c + rows.lowerBound * self.columns + columns.lowerBound, self.columns, 32, rows.count,
              columns.count, pairs.count, 0, 1, nil, 0, nil, 0)
          }
        }
      }
    }

    func whole(level: Int32) -> [Float] {
      var out = sums
      atLevel(level) { run(&out, rows: 0..<rows, columns: 0..<columns, pairs: 0..<pairs) }
      return out
    }
  }

  private func expectSame(_ actual: [Float], _ expected: [Float], _ comment: Comment) {
    let wrong = actual.indices.filter { !agree(actual[$0], expected[$0]) }
    guard let first = wrong.first else { return }
    Issue.record(
      "\(comment): \(wrong.count) wrong, \(actual[first]) at \(first), not \(expected[first])")
  }

  @Test(
    "blocks of all kinds of numbers are those of the definition", arguments: PairKind.allCases,
    [2, 16, 23, 40])
  func definition(kind: PairKind, pairs: Int) {
    var dice = Dice(kind.rawValue + 7)
    for _ in 0..<20 {
      let own = Operands(kind, rows: 21, columns: 33, pairs: pairs, &dice)
      let expected = own.sums.indices.map { index in
        let (i, j) = index.quotientAndRemainder(dividingBy: own.columns)
        return PairOrder.blocks.sum(
          own.sums[index],
          (0..<pairs).map {
            (
              own.left[$0 / 32 * own.rows * 32 + i * 32 + $0 % 32],
              own.right[j / 32 * pairs * 32 + $0 * 32 + j % 32]
            )
          })
      }
      for level in kernelLevels { expectSame(own.whole(level: level), expected, "level \(level)") }
    }
  }

  @Test("bits do not follow from how rows, columns and blocks are cut", arguments: kernelLevels)
  func cuts(level: Int32) {
    var dice = Dice(19)
    let own = Operands(.alike, rows: 75, columns: 70, pairs: 83, &dice)
    let whole = own.whole(level: level)
    for (rows, columns, pairs) in [(1, 32, 83), (19, 64, 64), (32, 70, 16), (75, 70, 32)] {
      func parts(_ count: Int, _ size: Int) -> [Range<Int>] {
        stride(from: 0, to: count, by: size).map { $0..<min($0 + size, count) }
      }
      var out = own.sums
      atLevel(level) {
        for part in parts(own.rows, rows) {
          for strips in parts(own.columns, columns) {
            for blocks in parts(own.pairs, pairs) {
              own.run(&out, rows: part, columns: strips, pairs: blocks)
            }
          }
        }
      }
      expectSame(out, whole, "cut by \(rows), \(columns), \(pairs)")
    }
  }

  @Test(
    "the instruction gives the bits of its emulation",
    .enabled(
      if: String(cString: ck_level_name(ck_best_level())) == "amx",
      "this processor has no AMX, or the system does not grant it"), arguments: PairKind.allCases)
  func instruction(kind: PairKind) throws {
    var dice = Dice(kind.rawValue + 11)
    let own = Operands(kind, rows: 203, columns: 150, pairs: 1501, &dice)
    let emulation = try #require(
      kernelLevels.first { String(cString: ck_level_name($0)) == "avx512" })
    expectSame(own.whole(level: ck_best_level()), own.whole(level: emulation), "\(kind)")
  }
}
