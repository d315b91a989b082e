// What the last n bytes say of the next one, learnt in tables of logits: a row per context, found by a hash, that is
// added to the logits of the output layer. A log-linear n-gram model trained together with the network (maximum entropy
// features with hashing, Mikolov et al. 2011, "Strategies for training large scale neural network language models").
// Rows depend on the input alone, so the reversible layers never meet them.
import Compute

/// The tables of a model.
///
/// V vocabulary.
public struct NGramTables: Sendable {
  /// One table of logits: its rows, and the sum of squared gradients that each has seen.
  public struct Table: Sendable {
    /// Bytes of context.
    public let order: Int
    /// `[rows, V]`.
    public let logits: Slot
    /// `[rows]`; belongs to the optimizer, and is kept where the rows are.
    public let squares: Slot

    /// Number of rows.
    public var rows: Int { logits.shape[0] }
  }

  /// In the order of the config.
  public let tables: [Table]
  private let vocabulary: Int

  init(_ config: ReformerConfig, layout: inout ParameterLayout) {
    vocabulary = config.vocabulary
    tables = config.ngrams.orders.map { order in
      // Contexts that all have a row of their own need no hash, nor more rows.
      var contexts = 1
      for _ in 0..<order { contexts = min(contexts * config.vocabulary, config.ngrams.rows) }
      let name = "ngrams.\(order)."
      return Table(
        order: order,
        logits: layout.add(
          table: ParameterSpecification(
            name + "weight", [contexts, config.vocabulary], .sparse, .constant(0))),
        squares: layout.add(
          table: ParameterSpecification(name + "squares", [contexts], .sparse, .constant(0))))
    }
  }

  /// The row of each table for each position of `tokens` `[L]`, into `rows` `[L, tables]`.
  ///
  /// Where a window begins contexts are as short as they are.
  func find(_ tokens: View<Int32>, into rows: View<Int32>) {
    precondition(rows.count == tokens.count * tables.count, "rows of another window")
    for (place, table) in tables.enumerated() {
      let isDirect = table.rows == power(table.order)
      for position in 0..<tokens.count {
        let context = max(0, position + 1 - table.order)..<position + 1
        rows[position * tables.count + place] = Int32(
          isDirect
            ? context.reduce(0) { $0 * vocabulary + Int(tokens[$1]) }
            : hash(tokens, context, order: table.order, rows: table.rows))
      }
    }
  }

  private func power(_ order: Int) -> Int? {
    var result = 1
    for _ in 0..<order {
      let (product, overflows) = result.multipliedReportingOverflow(by: vocabulary)
      if overflows { return nil }
      result = product
    }
    return result
  }

  /// Multiplied and folded byte by byte; the high bits of the last product choose the row.
  private func hash(
    _ tokens: View<Int32>, _ context: Range<Int>, order: Int, rows: Int
  ) -> Int {
    var state = UInt64(order) &* 0x9E37_79B9_7F4A_7C15
    for position in context {
      state = (state ^ UInt64(tokens[position] + 1)) &* 0xD6E8_FEB8_6659_FD93
      state ^= state >> 32
    }
    state = state &* 0x9FB2_1C65_1E98_DF25
    return Int(state.multipliedFullWidth(by: UInt64(rows)).high)
  }

  /// Adds the rows of positions `positions` to their logits `[positions, V]`.
  func add(
    _ rows: View<Int32>, positions: Range<Int>, to logits: Matrix, parameters: View<Float>
  ) {
    for (index, position) in positions.enumerated() {
      for (place, table) in tables.enumerated() {
        let start =
          table.logits.offset + Int(rows[position * tables.count + place]) * vocabulary
        Kernels.add(logits.row(index), parameters[start..<start + vocabulary])
      }
    }
  }
}

/// What a window leaves for the tables' optimizer: gradients of its logits, and the rows they belong to.
public struct NGramGradient {
  /// `[L, tables]`.
  public let rows: View<Int32>
  /// `[L, V]`: of the sum of the losses, not their mean.
  public let logits: Matrix

  /// Memory of these shapes.
  public init(rows: View<Int32>, logits: Matrix) {
    self.rows = rows
    self.logits = logits
  }
}
