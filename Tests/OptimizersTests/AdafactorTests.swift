import Compute
import Foundation
import Optimizers
import Testing

@Suite("Adafactor")
struct AdafactorTests {
  private typealias Example = OptimizerExample
  private static let layout = Example.layout

  /// The paper's algorithms 4 and 5 on one tensor, in double precision; a vector has one row.
  private struct Reference {
    let rows, columns: Int
    var parameters: [Double]
    var squares: [Double]
    var rowSums: [Double]
    var columnSums: [Double]

    init(_ values: [Double], rows: Int, columns: Int) {
      (self.rows, self.columns, parameters) = (rows, columns, values)
      squares = values.map { _ in 0 }
      rowSums = [Double](repeating: 0, count: rows)
      columnSums = [Double](repeating: 0, count: columns)
    }

    private func rms(_ x: [Double]) -> Double {
      (x.reduce(0) { $0 + $1 * $1 } / Double(x.count)).squareRoot()
    }

    mutating func update(_ gradient: [Double], rate: Double, decay: Double, step: Int) {
      let beta = 1 - pow(Double(step), -0.8)
      let now = gradient.map { $0 * $0 + 1e-30 }
      var second = squares
      if rows == 1 {
        squares = zip(squares, now).map { beta * $0 + (1 - beta) * $1 }
        second = squares
      } else {
        for i in 0..<rows {
          let sum = now[i * columns..<(i + 1) * columns].reduce(0, +)
          rowSums[i] = beta * rowSums[i] + (1 - beta) * sum
        }
        for j in 0..<columns {
          let sum = (0..<rows).reduce(0) { $0 + now[$1 * columns + j] }
          columnSums[j] = beta * columnSums[j] + (1 - beta) * sum
        }
        let all = rowSums.reduce(0, +)
        second = (0..<rows).flatMap { i in columnSums.map { rowSums[i] * $0 / all } }
      }
      let update = zip(gradient, second).map { $0 / $1.squareRoot() }
      let scale = max(1e-3, rms(parameters)) / max(1, rms(update))
      parameters = zip(parameters, update).map { $0 - rate * (scale * $1 + decay * $0) }
    }
  }

  @Test("four steps agree with the paper's formulas in double precision, tensor by tensor")
  func reference() {
    let layout = Self.layout
    let settings = OptimizerSettings(kind: .adafactor, weightDecay: 0.1)
    let adafactor = Optimizer(settings: settings, layout: layout, ranges: [0..<layout.count])
    let parameters = Example.tensors(seed: 1)
    // Biases start at zero, where steps are as of a tensor of 1e-3.
    parameters.view[layout["dense.bias"].range].fill(0)
    let factored = ["words", "positions", "dense.weight", "out.weight", "square.weight", "logits"]
    var references = layout.slots.map { slot in
      let columns = factored.contains(slot.name) ? slot.shape.last ?? 0 : slot.count
      return Reference(
        parameters.view[slot.range].array.map(Double.init), rows: slot.count / columns,
        columns: columns)
    }
    for step in 1...4 {
      let gradients = Example.tensors(seed: UInt64(step) * 100)
      // A row that a batch does not show.
      gradients.view[layout["words"].offset + 70..<layout["words"].offset + 77].fill(0)
      let rate = 0.02 * Double(step)
      adafactor.update(
        parameters: parameters, gradients: gradients, rate: rate, gradientScale: 0.25, step: step)
      for (index, slot) in layout.slots.enumerated() {
        references[index].update(
          gradients.view[slot.range].array.map { 0.25 * Double($0) }, rate: rate,
          decay: slot.specification.decays ? 0.1 : 0, step: step)
      }
    }
    for (slot, reference) in zip(layout.slots, references) {
      let worst =
        zip(parameters.view[slot.range].array, reference.parameters)
        .map { abs(Double($0) - $1) }.max() ?? .nan
      // Values of about 1, four steps of a few roundings of 6e-8 each.
      #expect(worst < 2e-6, "\(slot.name): \(worst)")
    }
    let covered = Set(layout.slots.flatMap { Array($0.range) })
    #expect((0..<layout.count).allSatisfy { covered.contains($0) || parameters.view[$0] == 0 })
  }

  @Test("a matrix has a number for each row and column, a vector one for each element")
  func memory() {
    let layout = Self.layout
    let adafactor = Optimizer(
      settings: OptimizerSettings(kind: .adafactor), layout: layout, ranges: [0..<layout.count])
    #expect(adafactor.firstMoment.values.count == 0)
    let matrices = 256 + 7 + 12 + 5 + 33 + 65 + 70 + 40 + 16 + 16 + 256 + 30
    #expect(adafactor.secondMoment.values.count == matrices + 5 + 33 + 15 + 256)
    let pieces = OptimizerPieces(
      kind: .adafactor, layout: layout, ranges: [0..<layout.count])
    #expect(pieces.momentCount == adafactor.secondMoment.values.count)
  }
}
