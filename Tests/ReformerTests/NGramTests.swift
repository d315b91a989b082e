import Attention
import Compute
import Reformer
import TestSupport
import Testing

@Suite("N-gram tables")
struct NGramTests {
  /// One row, rows for all contexts of one byte, and far fewer than there are contexts of three.
  private let config = smallConfig(
    [.local, .full], residualFractionBits: 22, ngrams: NGramSizes(orders: [0, 1, 3], rows: 31))

  private struct Lookups {
    let rows: Buffer<Int32>
    let logits: Buffer<Float>
    let gradient: NGramGradient

    init(_ config: ReformerConfig) {
      rows = Buffer(config.length * config.ngrams.orders.count)
      logits = Buffer(config.length * config.vocabulary)
      gradient = NGramGradient(
        rows: rows.view,
        logits: Matrix(logits.view, rows: config.length, columns: config.vocabulary))
    }
  }

  @Test("rows' gradients are the finite differences of the loss")
  func gradients() throws {
    let probe = try ModelProbe(config)
    let lookups = Lookups(config)
    try probe.step(ngrams: lookups.gradient)
    for (place, table) in probe.model.ngrams.tables.enumerated() {
      var claimed = [Float](repeating: 0, count: table.logits.count)
      for position in 0..<config.length {
        let row = Int(lookups.rows.view[position * 3 + place])
        for (column, value) in lookups.gradient.logits.row(position).array.enumerated() {
          // Of the sum over positions; the loss is their mean.
          claimed[row * config.vocabulary + column] += value / Float(config.length)
        }
      }
      let error = try GradientCheck.worstError(
        of: claimed, at: probe.parameters.view[table.logits.range], step: 4e-3, floor: 1e-3,
        seed: UInt64(place)
      ) { try probe.step() }
      #expect(error <= 3e-3, "order \(table.order)")
    }
  }

  @Test("a row is a function of its context: the same for the same bytes, another for other ones")
  func rows() throws {
    let probe = try ModelProbe(config)
    let lookups = Lookups(config)
    for index in probe.inputs.indices { probe.inputs[index] = Int32(index % 7) }
    try probe.step(ngrams: lookups.gradient)
    let rows = lookups.rows.view.array
    for position in 9..<config.length {
      #expect(rows[3 * position] == 0)
      #expect(rows[3 * position + 1] == Int32(position % 7))
      #expect(rows[3 * position + 2] == rows[3 * (position - 7) + 2])
    }
    #expect(Set((2..<9).map { rows[3 * $0 + 2] }).count > 3)
  }

  @Test("logits do not depend on later bytes, and the tables add to them")
  func causality() throws {
    let probe = try ModelProbe(config)
    let before = try probe.logits()
    probe.inputs[config.length - 1] = (probe.inputs[config.length - 1] + 1) % 23
    let after = try probe.logits()
    let earlier = (config.length - 1) * config.vocabulary
    #expect(before[..<earlier] == after[..<earlier])
    for table in probe.model.ngrams.tables { probe.parameters.view[table.logits.range].fill(0) }
    #expect(try probe.logits()[..<earlier] != before[..<earlier])
  }

  @Test(
    "sizes that cannot be are refused",
    arguments: [([-1], 10), ([33], 10), ([2, 2], 10), ([2], 0)])
  func wrong(orders: [Int], rows: Int) {
    let config = smallConfig([.full], ngrams: NGramSizes(orders: orders, rows: rows))
    #expect(throws: ReformerError.self) { try config.check() }
  }
}
