// The n-gram tables' part of a step: every rank gets the gradients of all windows' logits, and moves the rows that any of
// them has looked up. Tables are equal on all ranks, so no rows travel.
import Communication
import Compute
import Corpus
import Optimizers
import Reformer

/// Gradients of a step's windows for the tables, and their update.
///
/// B windows of L positions, V vocabulary.
final class NGramStep {
  private let tables: NGramTables
  private let optimizer: RowAdagrad
  private let length: Int
  private let batch: Int
  private let vocabulary: Int
  /// `[B, L, tables]`.
  private let rows: Buffer<Int32>
  /// `[B, L, V]`.
  private let logits: Buffer<Float>

  /// Nil where the model has no tables.
  init?(_ config: RunConfig, tables: NGramTables) {
    guard !tables.tables.isEmpty else { return nil }
    self.tables = tables
    optimizer = RowAdagrad(rate: config.optimizer.ngramRate)
    (length, batch) = (config.data.length, config.run.globalBatch)
    vocabulary = config.model.vocabulary
    rows = Buffer(batch * length * tables.tables.count)
    logits = Buffer(batch * length * vocabulary)
  }

  /// Where window `index` of the global batch leaves what it has.
  func gradient(_ index: Int) -> NGramGradient {
    let positions = index * length..<(index + 1) * length
    let count = tables.tables.count
    return NGramGradient(
      rows: rows.view[positions.lowerBound * count..<positions.upperBound * count],
      logits: all.rows(positions))
  }

  private var all: Matrix {
    Matrix(logits.view, rows: batch * length, columns: vocabulary)
  }

  /// Brings the windows of all ranks together and moves the rows of `parameters`.
  func update(
    parameters: View<Float>, communicator: any Communicator, pool: WorkerPool
  ) throws(CommunicationError) {
    let ranks = communicator.size
    func blocks(_ perWindow: Int) -> [Range<Int>] {
      (0..<ranks).map { rank in
        let windows = BatchPlan.samples(step: 0, globalBatch: batch, rank: rank, ranks: ranks)
        return windows.lowerBound * perWindow..<windows.upperBound * perWindow
      }
    }
    try communicator.gather(rows.view, blocks: blocks(length * tables.tables.count))
    try communicator.gather(logits.view, blocks: blocks(length * vocabulary))
    optimizer.update(
      tables.tables.map {
        (Matrix(parameters, $0.logits), parameters[$0.squares.range])
      }, lookups: rows.view, gradients: all, pool: pool)
  }

  /// Bytes of the buffers, for the memory plan.
  static func bufferBytes(_ config: RunConfig) -> Int {
    let orders = config.model.ngrams.orders.count
    return orders == 0
      ? 0 : config.run.globalBatch * config.data.length * 4 * (config.model.vocabulary + orders)
  }
}
