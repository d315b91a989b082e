// The n-gram tables' part of a step: every rank gets the gradients of all windows' logits, and moves the rows that any of
// them has looked up. Tables are equal on all ranks, so no rows travel.
import Communication
import Compute
import Corpus
import Optimizers
import Reformer

/// Gradients of a step's windows for the tables, and their update.
///
/// B windows of L positions, as the step's stage has them; V vocabulary.
final class NGramStep {
  private let tables: NGramTables
  private let optimizer: RowAdagrad
  private let vocabulary: Int
  /// `[B, L, tables]`, for the stage whose steps have most positions.
  private let rows: Buffer<Int32>
  /// `[B, L, V]`, likewise.
  private let logits: Buffer<Float>

  /// Nil where the model has no tables.
  init?(_ config: RunConfig, tables: NGramTables) {
    guard !tables.tables.isEmpty else { return nil }
    self.tables = tables
    optimizer = RowAdagrad(rate: config.optimizer.ngramRate)
    vocabulary = config.model.vocabulary
    let positions = Self.positions(config)
    rows = Buffer(positions * tables.tables.count)
    logits = Buffer(positions * vocabulary)
  }

  /// Where a window leaves what it has.
  func gradient(_ sample: Sample) -> NGramGradient {
    let positions = sample.place * sample.length..<(sample.place + 1) * sample.length
    let count = tables.tables.count
    return NGramGradient(
      rows: rows.view[positions.lowerBound * count..<positions.upperBound * count],
      logits: logits(positions))
  }

  private func logits(_ positions: Range<Int>) -> Matrix {
    Matrix(
      logits.view[positions.lowerBound * vocabulary..<positions.upperBound * vocabulary],
      rows: positions.count, columns: vocabulary)
  }

  /// Brings the windows of all ranks together, of a step of `stage`, and moves the rows of `parameters`.
  func update(
    parameters: View<Float>, stage: Stage, communicator: any Communicator, pool: WorkerPool
  ) throws(CommunicationError) {
    let ranks = communicator.size
    func blocks(_ perWindow: Int) -> [Range<Int>] {
      (0..<ranks).map { rank in
        let windows = stage.windows(rank: rank, ranks: ranks)
        return windows.lowerBound * perWindow..<windows.upperBound * perWindow
      }
    }
    let count = tables.tables.count
    let rows = rows.view[0..<stage.stepBytes * count]
    let gradients = logits(0..<stage.stepBytes)
    try communicator.gather(rows, blocks: blocks(stage.length * count))
    try communicator.gather(gradients.dense, blocks: blocks(stage.length * vocabulary))
    optimizer.update(
      tables.tables.map {
        (Matrix(parameters, $0.logits), parameters[$0.squares.range])
      }, lookups: rows, gradients: gradients, pool: pool)
  }

  /// Bytes of the buffers, for the memory plan.
  static func bufferBytes(_ config: RunConfig) -> Int {
    let orders = config.model.ngrams.orders.count
    return orders == 0 ? 0 : positions(config) * 4 * (config.model.vocabulary + orders)
  }

  private static func positions(_ config: RunConfig) -> Int {
    config.stages.map(\.stepBytes).max() ?? 0
  }
}
