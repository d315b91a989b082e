import Compute
import Foundation
import Optimizers
import TestSupport
import Testing

/// Matrices of doubles, row by row, for formulas as they stand in the papers.
struct DoubleMatrix {
  let rows, columns: Int
  var values: [Double]

  subscript(row: Int, column: Int) -> Double { values[row * columns + column] }

  var transposed: DoubleMatrix {
    DoubleMatrix(
      rows: columns, columns: rows,
      values: (0..<columns).flatMap { j in (0..<rows).map { self[$0, j] } })
  }

  static func * (a: DoubleMatrix, b: DoubleMatrix) -> DoubleMatrix {
    DoubleMatrix(
      rows: a.rows, columns: b.columns,
      values: (0..<a.rows).flatMap { i in
        (0..<b.columns).map { j in (0..<a.columns).reduce(0) { $0 + a[i, $1] * b[$1, j] } }
      })
  }

  static func + (a: DoubleMatrix, b: DoubleMatrix) -> DoubleMatrix {
    DoubleMatrix(rows: a.rows, columns: a.columns, values: zip(a.values, b.values).map(+))
  }

  static func * (a: Double, b: DoubleMatrix) -> DoubleMatrix {
    DoubleMatrix(rows: b.rows, columns: b.columns, values: b.values.map { a * $0 })
  }

  /// Jordan's five rounds, from the left: X = a X + (b A + c A A) X, A = X X^T.
  var orthogonalised: DoubleMatrix {
    let norm = values.reduce(0) { $0 + $1 * $1 }.squareRoot()
    var x = (1 / norm) * self
    for _ in 0..<5 {
      let gram = x * x.transposed
      x = 3.4445 * x + (-4.7750 * gram + 2.0315 * (gram * gram)) * x
    }
    return x
  }
}

@Suite("Muon")
struct MuonTests {
  private typealias Example = OptimizerExample
  private static let layout = Example.layout
  private static let settings = OptimizerSettings(
    kind: .muon, epsilon: 1e-6, momentum: 0.9, weightDecay: 0.1)

  @Test("three steps agree with the formulas in double precision, matrices and the rest")
  func reference() {
    let layout = Self.layout
    let muon = Optimizer(settings: Self.settings, layout: layout, ranges: [0..<layout.count])
    let adam = Optimizer(
      settings: OptimizerSettings(epsilon: 1e-6, weightDecay: 0.1), layout: layout,
      ranges: [0..<layout.count])
    let start = Example.tensors(seed: 1)
    let parameters = Example.buffer(start.view.array)
    let plain = Example.buffer(start.view.array)
    let matrices = layout.slots.filter { $0.specification.kind == .matrix }
    #expect(matrices.count == 3)
    func matrix(_ flat: Buffer<Float>, _ slot: Slot) -> DoubleMatrix {
      DoubleMatrix(
        rows: slot.shape[0], columns: slot.shape[1],
        values: flat.view[slot.range].array.map(Double.init))
    }
    var p = matrices.map { matrix(start, $0) }
    var m = p.map { 0 * $0 }
    for step in 1...3 {
      let gradients = Example.tensors(seed: UInt64(step) * 100)
      let rate = 0.01 * Double(step)
      muon.update(
        parameters: parameters, gradients: gradients, rate: rate, gradientScale: 0.25, step: step)
      adam.update(
        parameters: plain, gradients: gradients, rate: rate, gradientScale: 0.25, step: step)
      for (index, slot) in matrices.enumerated() {
        let g = 0.25 * matrix(gradients, slot)
        m[index] = 0.9 * m[index] + 0.1 * g
        let update = (0.1 * g + 0.9 * m[index]).orthogonalised
        let scale = 0.2 * Double(slot.shape.max() ?? 0).squareRoot()
        p[index] = p[index] + -rate * (scale * update + 0.1 * p[index])
      }
    }
    for (index, slot) in matrices.enumerated() {
      let worst =
        zip(parameters.view[slot.range].array, p[index].values)
        .map { abs(Double($0) - $1) }.max() ?? .nan
      // Small singular values grow by up to 3.4^5 = 490, and so do their roundings of 6e-8; three steps of 0.05.
      #expect(worst < 1e-5, "\(slot.name): \(worst)")
    }
    for slot in layout.slots where slot.specification.kind != .matrix {
      #expect(parameters.view[slot.range].array == plain.view[slot.range].array, "\(slot.name)")
    }
    // Adam's second moment is kept where Adam is.
    #expect(muon.firstMoment.ranges.joined().count == layout.count - Self.padding)
    #expect(
      muon.secondMoment.values.count == muon.firstMoment.values.count
        - matrices.reduce(0) { $0 + $1.count })
  }

  /// Behind matrices, up to the next cache line; there nothing is kept.
  private static let padding = layout.slots.filter { $0.specification.kind == .matrix }
    .reduce(0) { $0 + (16 - $1.count % 16) % 16 }

  @Test("a step turns and stretches no vector much, and is as long as Adam's")
  func orthogonal() {
    let layout = Self.layout
    let muon = Optimizer(
      settings: OptimizerSettings(kind: .muon), layout: layout, ranges: [0..<layout.count])
    let parameters = Buffer<Float>(layout.count)
    muon.update(parameters: parameters, gradients: Example.tensors(seed: 5), rate: 1, step: 1)
    for slot in layout.slots where slot.specification.kind == .matrix && slot.shape[0] != 16 {
      let (rows, columns) = (slot.shape[0], slot.shape[1])
      var step = DoubleMatrix(
        rows: rows, columns: columns, values: parameters.view[slot.range].array.map(Double.init))
      let square = step.values.reduce(0) { $0 + $1 * $1 } / Double(slot.count)
      // The shorter side's singular values, each within 0.68 and 1.21, make a root mean square of 0.2 times as much.
      #expect(abs(square.squareRoot() / 0.2 - 0.93) < 0.28, "\(slot.name)")
      if rows < columns { step = step.transposed }
      let vector = DoubleMatrix(
        rows: step.columns, columns: 1,
        values: Example.numbers(step.columns, seed: 9).map(Double.init))
      func length(_ x: DoubleMatrix) -> Double { x.values.reduce(0) { $0 + $1 * $1 }.squareRoot() }
      let stretch =
        length(step * vector) / length(vector) / 0.2
        / Double(max(rows, columns)).squareRoot()
      #expect(abs(stretch - 0.93) < 0.28, "\(slot.name): \(stretch)")
    }
  }

  @Test("without a gradient matrices only decay")
  func noGradient() {
    let layout = Self.layout
    let muon = Optimizer(
      settings: OptimizerSettings(kind: .muon, weightDecay: 0.5), layout: layout,
      ranges: [0..<layout.count])
    let parameters = Buffer<Float>(layout.count)
    parameters.view.fill(1)
    muon.update(
      parameters: parameters, gradients: Buffer(layout.count), rate: 0.5, step: 1)
    for slot in layout.slots where slot.specification.kind == .matrix {
      #expect(Set(parameters.view[slot.range].array) == [0.75], "\(slot.name)")
    }
  }

  @Test("a rank that owns part of a matrix is a mistake of ours")
  func partOfMatrix() async {
    await #expect(processExitsWith: .failure) {
      let layout = OptimizerExample.layout
      let middle = layout["dense.weight"].offset + 1024
      _ = Optimizer(
        settings: OptimizerSettings(kind: .muon), layout: layout, ranges: [0..<middle])
    }
  }
}
