// Compressed attention, after Linformer (Wang et al. 2020, "Linformer: self-attention with linear complexity"): a learnt
// matrix makes a few rows of the keys of many positions, another one of their values, and queries meet those rows.
//
// In the paper these matrices mix a whole sequence, later positions included, so that what it trains cannot generate: there
// is no causal mask that would let a part of a mixture through. Here each block of positions has rows of its own, seen
// only by the blocks after it, while a query meets the keys of its own block as they are, up to itself; all of that is one
// softmax. Cost grows with the square of the length as in full attention, but over block / rows.
import Compute

/// Causal attention to the own block, and to a few rows for each block before.
///
/// K features per head.
public struct CompressedAttention: AttentionLayer, Equatable {
  /// Positions of a block.
  public var block: Int
  /// Rows that stand for a block.
  public var rows: Int

  /// A layer with these sizes.
  public init(block: Int, rows: Int) {
    self.block = block
    self.rows = rows
  }

  /// `compressed`.
  public static let name = "compressed"
  /// Linformer's is another, and no part of it.
  public var isInHuggingFace: Bool { false }
  /// Blocks with and without padding to strips, with one row and several, and more rows than a window holds.
  public static let examples = [(16, 4), (5, 1), (33, 7), (4, 4)].map {
    CompressedAttention(block: $0.0, rows: $0.1)
  }

  /// At least a row, and no more than the block has.
  public var problem: String? {
    (1...1 << 16).contains(block) && (1...block).contains(rows)
      ? nil
      : "block \(block), rows \(rows); legal: 1 to \(1 << 16), and rows from 1 to the block"
  }

  /// Queries, keys and values are projected apart.
  public var projections: [String] { ["query", "key", "value"] }
  /// A row of a block is seen from the next block on.
  public var isStrictlyCausal: Bool { true }

  /// What makes rows of a block's keys and of its values: `[heads * rows, block]` each, and each row at first the mean
  /// of its part of the block.
  public func parameters(heads: Int, headWidth: Int) -> [ParameterSpecification] {
    ["key", "value"].map {
      ParameterSpecification(
        "\($0)_compression.weight", [heads * rows, block], .matrix, .averages(parts: rows))
    }
  }

  /// Blocks that a later one sees.
  func blocks(_ length: Int) -> Int { (length - 1) / block }
  /// Rows of all of them.
  func rowCount(_ length: Int) -> Int { blocks(length) * rows }
  /// Number of the first draw of a query's rows: after those of its own block.
  var firstRowDraw: Int { chunkSlotRows(block) }
  /// Draws of a query.
  func draws(_ length: Int) -> Int {
    let panels = (rowCount(length) + Self.panel - 1) / Self.panel
    return firstRowDraw + panels * Self.panel
  }

  /// Rows that queries meet at once.
  static let panel = 64
  /// Positions of a task: whole blocks.
  var run: Int { max(1, 256 / block) * block }

  /// Of keys up to each query in its block, of rows of blocks before, and of making these.
  public func operations(length: Int, features: Int) -> (scores: Double, hash: Double) {
    let (length, block, rows) = (Double(length), Double(block), Double(rows))
    let own = min(block, length) / 2
    let others = max(0, length - block) / 2 * rows / block
    return (2 * length * Double(features) * (own + others + rows), 0)
  }

  /// The own block up to the query, and the rows of those before.
  public func sight(length: Int, head: Int, saved: [SoftmaxRows]) -> Sight {
    let draws = draws(length)
    return Sight(
      keys: (0..<length).map { query in
        let own = query / block
        return (own * block...query).map {
          Sight.Key(
            position: $0, draw: query * draws + $0 - own * block, isLastResort: false)
        }
          + (0..<own * rows).map {
            Sight.Key(
              position: ($0 / rows + 1) * block - 1, draw: query * draws + firstRowDraw + $0,
              isLastResort: false, mixture: $0)
          }
      })
  }

  /// The rows of each block: its keys and its values, each times a matrix.
  public func mixtures(
    keys: [Double], values: [Double], head: Int, headWidth: Int, parameters: [[Double]]
  ) -> (keys: [Double], values: [Double]) {
    func mixed(_ numbers: [Double], _ weights: [Double]) -> [Double] {
      (0..<rowCount(numbers.count / headWidth)).flatMap { row in
        let (place, first) = (head * rows + row % rows, row / rows * block)
        return (0..<headWidth).map { feature in
          (0..<block).reduce(0) {
            $0 + weights[place * block + $1] * numbers[(first + $1) * headWidth + feature]
          }
        }
      }
    }
    return (mixed(keys, parameters[0]), mixed(values, parameters[1]))
  }

  /// Rows of all blocks; on the way back also their gradients, and those of the matrices by task.
  ///
  /// A thread has a tile of queries and a window of keys.
  public func scratch(length: Int, heads: Int, headWidth: Int) -> AttentionScratch {
    let (rows, window) = (rowCount(length), max(firstRowDraw, Self.panel))
    let tile = max(block, Tiling.tileRows)
    let strips = 2 * Packed<Float>.count(window, headWidth) + 2 * window * (headWidth + 32)
    return AttentionScratch(
      shared: heads
        * (length + 4 * rows * headWidth + tasks(length).count * 2 * self.rows * block),
      perThread: strips + 2 * tile * window + 2 * Packed<Float>.count(tile, headWidth)
        + 2 * window * headWidth + tile * headWidth + 4 * tile + 2 * window)
  }

  /// Blocks that one task makes rows of.
  func tasks(_ length: Int) -> [Range<Int>] { Tiling.ranges(blocks(length), by: 128) }
}
