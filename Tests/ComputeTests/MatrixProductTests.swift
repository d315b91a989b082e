import CKernels
import Compute
import TestSupport
import Testing

@Suite("Products of tiles")
struct MatrixProductTests {
  /// A row-major matrix of made-up numbers.
  private func matrix(_ rows: Int, _ columns: Int, seed: UInt64) -> (Buffer<Float>, Matrix) {
    let buffer = Buffer<Float>(rows * columns)
    buffer.view.copy(from: madeUpNormals(rows * columns, seed: seed))
    return (buffer, Matrix(buffer.view, rows: rows, columns: columns))
  }

  /// The same numbers in strips, the padding poisoned: it must never reach a result.
  private func strips(_ matrix: Matrix) -> (Buffer<Float>, Packed<Float>) {
    let buffer = Buffer<Float>(Packed<Float>.count(matrix.rows, matrix.columns))
    buffer.view.fill(.nan)
    let strips = Packed(buffer.view, rows: matrix.rows, columns: matrix.columns)
    strips.copy(from: matrix)
    return (buffer, strips)
  }

  private func values(_ strips: Packed<Float>) -> [Float] {
    (0..<strips.rows).flatMap { row in strips.strips.flatMap { $0.matrix.row(row).array } }
  }

  /// a b in double.
  private func reference(_ a: Matrix, _ b: Matrix, transposingA: Bool = false) -> [Double] {
    let rows = transposingA ? a.columns : a.rows
    return (0..<rows).flatMap { i in
      (0..<b.columns).map { j in
        (0..<b.rows).reduce(0.0) { sum, k in
          sum + Double(transposingA ? a.row(k)[i] : a.row(i)[k]) * Double(b.row(k)[j])
        }
      }
    }
  }

  // Each of `depth` additions rounds a sum of at most some 10 sqrt(depth).
  private func limit(_ depth: Int) -> Double {
    Double(depth) * 10 * Double(depth).squareRoot() * 0x1p-24 + 1e-6
  }

  private static let sizes = [
    (1, 1, 1), (7, 5, 3), (8, 32, 32), (13, 40, 33), (64, 96, 300), (130, 70, 600),
  ]

  @Test(
    "every left side and result agrees with a reference, at every level", arguments: sizes,
    kernelLevels)
  func products(size: (rows: Int, columns: Int, depth: Int), level: Int32) {
    atLevel(level) { check(size.rows, size.columns, size.depth) }
  }

  private func check(_ rows: Int, _ columns: Int, _ depth: Int) {
    let a = matrix(rows, depth, seed: 1)
    let b = matrix(depth, columns, seed: 2)
    let across = matrix(depth, rows, seed: 3)
    let bStrips = strips(b.1)
    let aStrips = strips(a.1)
    let acrossStrips = strips(across.1)
    let expected = reference(a.1, b.1)
    let expectedAcross = reference(across.1, b.1, transposingA: true)
    let c = matrix(rows, columns, seed: 4)
    let old = c.0.view.array

    tileProduct(a.1.left, bStrips.1, into: c.1.result)
    #expect(largestDifference(c.0.view.array, expected) <= limit(depth))
    let straight = c.0.view.array
    tileProduct(aStrips.1.left, bStrips.1, into: c.1.result)
    #expect(c.0.view.array.bitPatterns == straight.bitPatterns)
    let inStrips = strips(c.1)
    tileProduct(aStrips.1.left, bStrips.1, into: inStrips.1.result)
    #expect(values(inStrips.1).bitPatterns == straight.bitPatterns)

    c.0.view.copy(from: old)
    tileProduct(acrossStrips.1.left.transposed, bStrips.1, into: c.1.result, accumulate: true)
    let sum = zip(expectedAcross, old).map { $0 + Double($1) }
    #expect(largestDifference(c.0.view.array, sum) <= limit(depth))
  }

  @Test(
    "bias, activation and gate are those of the finished sum", arguments: [31, 40, 96], [20, 700])
  func epilogue(columns: Int, depth: Int) {
    let rows = 21
    let a = matrix(rows, depth, seed: 5)
    let b = matrix(depth, columns, seed: 6)
    let bias = matrix(1, columns, seed: 7)
    let gateRows = matrix(rows, columns, seed: 8)
    let gate = strips(gateRows.1)
    let bStrips = strips(b.1)
    let plain = matrix(rows, columns, seed: 9)
    let c = strips(plain.1)
    tileProduct(a.1.left, bStrips.1, into: plain.1.result)
    tileProduct(
      a.1.left, bStrips.1, into: c.1.result, bias: bias.0.view, relu: true, gate: gate.1)
    let gates = values(gate.1)
    let expected = plain.0.view.array.enumerated().map { index, sum -> Float in
      let value = max(sum + bias.0.view[index % columns], 0)
      return gates[index] > 0 ? value : 0
    }
    #expect(values(c.1).bitPatterns == expected.bitPatterns)
    #expect(expected.contains { $0 > 0 } && expected.contains(0))
  }

  @Test("rows computed alone have the bits of the same rows in a larger product")
  func cuts() {
    let a = matrix(50, 90, seed: 10)
    let bRows = matrix(90, 64, seed: 11)
    let b = strips(bRows.1)
    let whole = matrix(50, 64, seed: 12)
    let parts = matrix(50, 64, seed: 13)
    tileProduct(a.1.left, b.1, into: whole.1.result)
    for rows in [0..<3, 3..<20, 20..<50] {
      tileProduct(a.1.rows(rows).left, b.1, into: parts.1.rows(rows).result)
    }
    #expect(parts.0.view.array.bitPatterns == whole.0.view.array.bitPatterns)
  }

  /// A matrix inside wider and longer memory, made-up numbers all around.
  private func window(_ rows: Int, _ columns: Int, seed: UInt64) -> (Buffer<Float>, Matrix) {
    let (buffer, whole) = matrix(rows + 3, columns + 5, seed: seed)
    return (buffer, whole.rows(2..<rows + 2).columns(3..<columns + 3))
  }

  @Test(
    "OpenBLAS, the second route, agrees with tiles on every left side, result and end of the sum",
    arguments: sizes, [false, true])
  func routes(size: (rows: Int, columns: Int, depth: Int), accumulate: Bool) {
    let (rows, columns, depth) = size
    let a = window(rows, depth, seed: 20)
    let across = window(depth, rows, seed: 21)
    let (aStrips, acrossStrips) = (strips(a.1), strips(across.1))
    let (bRows, gateRows) = (
      matrix(depth, columns, seed: 22), matrix(rows, columns, seed: 24)
    )
    let (b, gate) = (strips(bRows.1), strips(gateRows.1))
    let bias = matrix(1, columns, seed: 23)
    defer { withExtendedLifetime((a, across, aStrips, acrossStrips, b, gate)) {} }
    for left in [
      a.1.left, aStrips.1.left, across.1.left.transposed, acrossStrips.1.left.transposed,
    ] {
      for end in [false, true] {
        /// The memory of both results, what lies around the product included.
        func run(_ route: MatrixProducts) -> [Float] {
          let c = window(rows, columns, seed: 25)
          let inStrips = strips(c.1)
          inStrips.1.runs.forEach { $0.fill(0.5) }
          for result in [c.1.result, inStrips.1.result] {
            tileProduct(
              left, b.1, into: result, accumulate: accumulate, bias: end ? bias.0.view : nil,
              relu: end, gate: end ? gate.1 : nil, by: route)
          }
          return c.0.view.array + inStrips.0.view.array
        }
        let difference = largestDifference(run(.openblas), run(.tiles).map(Double.init))
        #expect(difference <= 2 * limit(depth))
      }
    }
  }

  @Test("OpenBLAS gives a part of a product the bits of the same part alone, from any thread")
  func threads() {
    let (a, bRows) = (window(256, 96, seed: 4), matrix(96, 80, seed: 5))
    let b = strips(bRows.1)
    defer { withExtendedLifetime((a, b)) {} }
    func run(threads: Int) -> [UInt32] {
      let c = matrix(256, 80, seed: 6)
      let tiles = Tiling.ranges(256, by: 32)
      WorkerPool(threadCount: threads).run(tiles.count) { index, _ in
        tileProduct(
          a.1.rows(tiles[index]).left, b.1, into: c.1.rows(tiles[index]).result, by: .openblas)
      }
      return c.0.view.array.bitPatterns
    }
    let alone = run(threads: 1)
    for _ in 0..<20 { #expect(run(threads: 3) == alone) }
  }

  @Test("packed weights hold the matrix and its transpose")
  func packing() {
    let engine = Engine(threads: 2)
    let weight = matrix(300, 50, seed: 14)
    let x = matrix(9, 50, seed: 15)
    let y = matrix(9, 300, seed: 16)
    let forward = engine.pack(weight.1, transposed: true)
    let backward = engine.pack(weight.1, transposed: false)
    let across = matrix(50, 300, seed: 17)
    for row in 0..<300 {
      for column in 0..<50 { across.1.row(column)[row] = weight.1.row(row)[column] }
    }
    tileProduct(x.1.left, forward, into: y.1.result)
    #expect(largestDifference(y.0.view.array, reference(x.1, across.1)) <= limit(50))
    let expected = reference(y.1, weight.1)
    tileProduct(y.1.left, backward, into: x.1.result)
    #expect(largestDifference(x.0.view.array, expected) <= 100 * limit(300))
  }
}
