// How the rows of a pass are cut, on both ways, and how sums over them are formed. A sum over positions starts at zero
// for each tile of 128 rows (64 in short windows); tiles are added one after the other over a span of 16,384 rows, and
// spans one after the other. So no chain of single-precision additions is longer than 128 up to 2^21 positions, and none
// depends on threads.
import Compute

extension Pass {
  /// Rows of a tile.
  var tileRows: Int { Tiling.tileRows(length: length) }

  /// Calls `body` once for each tile of rows, on all threads; a pass over few rows is one tile, and shares out its
  /// products instead.
  func eachTile(_ body: (Range<Int>, ScratchArena) -> Void) {
    guard !sharesProducts else { return engine.scratch.frame { body(rows, engine.scratch) } }
    let tiles = Tiling.ranges(rows, by: isNarrow ? Self.narrowTileRows : tileRows)
    engine.pool.run(tiles.count) { body(tiles[$0], $1) }
  }

  /// Zeroes what `eachBlock` adds to: of `slots` all but weights, which it sets.
  ///
  /// Called once by each part of the model before its gradients.
  func begin(_ slots: [Slot], gradients: View<Float>) {
    for slot in slots where isInSpans || !slot.specification.kind.multiplies {
      zero(gradients[slot.range])
    }
  }

  /// Whether sums are formed span by span beside the gradients, and then added to these.
  private var isInSpans: Bool { rows.count > Tiling.spanRows }

  private func zero(_ values: View<Float>) {
    let pieces = Tiling.ranges(values.count, by: 1 << 16)
    engine.pool.run(pieces.count) { piece, _ in values[pieces[piece]].fill(0) }
  }

  /// Calls `body` for each block of rows, in order; what it adds to the block's sums enters `gradients`.
  ///
  /// Weights are set by the first block: `body` adds to each element of theirs once per block and pass.
  /// `slots`: neighbours in the layout, all that `body` adds to. Scratch that `body` lends ends with its block.
  func eachBlock(
    of slots: [Slot], gradients: View<Float>, _ body: (RowBlock) -> Void
  ) {
    guard let first = slots.first, let last = slots.last else { return }
    let range = first.offset..<last.range.upperBound
    let spans = Tiling.ranges(rows, by: Tiling.spanRows)
    engine.scratch.frame {
      let own = isInSpans ? engine.scratch.floats(range.count) : nil
      let pieces = Tiling.ranges(range.count, by: 1 << 16)
      for span in spans {
        if let own { zero(own) }
        let sums = ParameterSums(values: own ?? gradients[range], first: range.lowerBound)
        for block in Tiling.ranges(span, by: Tiling.blockRows) {
          engine.scratch.frame {
            body(
              RowBlock(
                rows: block, tileRows: tileRows, isFirst: !isInSpans && block.lowerBound == 0,
                slots: slots, sums: sums, engine: engine))
          }
        }
        guard let own else { continue }
        engine.pool.run(pieces.count) { piece, scratch in
          Kernels.add(gradients[range][pieces[piece]], own[pieces[piece]])
          scratch.lap(.weightGradients)
        }
      }
    }
  }
}

/// Where gradients of some parameters are summed.
struct ParameterSums {
  let values: View<Float>
  /// Place in the layout of the first value.
  let first: Int

  /// The sum of a tensor.
  func vector(_ slot: Slot) -> View<Float> {
    values[slot.offset - first..<slot.range.upperBound - first]
  }

  /// The sum of a matrix.
  func matrix(_ slot: Slot) -> Matrix {
    Matrix(vector(slot), rows: slot.shape[0], columns: slot.count / slot.shape[0])
  }
}

/// A tile of a block on the way back.
struct RowTile {
  /// In the sequence.
  let rows: Range<Int>
  /// In the block.
  let place: Range<Int>
  fileprivate let partials: [(slot: Slot, sum: View<Float>)]

  /// The tile's own sum of a vector, zero at first.
  func partial(_ slot: Slot) -> View<Float> {
    guard let partial = partials.first(where: { $0.slot.offset == slot.offset }) else {
      preconditionFailure("no sums of \(slot.name)")
    }
    return partial.sum
  }

  /// Adds the columns of `x` `[rows, slot]` to the tile's sum.
  func add(_ x: Packed<Float>, to slot: Slot) {
    let sums = partial(slot)
    for (columns, matrix) in x.strips { Kernels.addColumnSums(of: matrix, to: sums[columns]) }
  }
}

/// Rows whose activations are in memory together on the way back.
struct RowBlock {
  /// In the sequence.
  let rows: Range<Int>
  /// Where the gradients of its parameters are summed.
  let sums: ParameterSums
  /// Whether weights have no sum yet.
  private let isFirst: Bool
  private let tiles: [RowTile]
  private let engine: Engine

  fileprivate init(
    rows: Range<Int>, tileRows: Int, isFirst: Bool, slots: [Slot], sums: ParameterSums,
    engine: Engine
  ) {
    self.rows = rows
    self.isFirst = isFirst
    self.sums = sums
    self.engine = engine
    let vectors = slots.filter { $0.specification.kind == .vector }
    tiles = Tiling.ranges(rows, by: tileRows).map { tile in
      RowTile(
        rows: tile, place: tile.lowerBound - rows.lowerBound..<tile.upperBound - rows.lowerBound,
        partials: vectors.map { slot in
          let sum = engine.scratch.floats(slot.count)
          sum.fill(0)
          return (slot, sum)
        })
    }
  }

  /// Calls `body` once for each tile, on all threads.
  func eachTile(_ body: (RowTile, ScratchArena) -> Void) {
    engine.pool.run(tiles.count) { body(tiles[$0], $1) }
  }

  /// Calls `body` once for each tile, first to last, on the calling thread.
  ///
  /// Each is a task of its own: of a cancelled pass, whose tiles may never have been computed, none is run.
  func eachTileInOrder(_ body: (RowTile, ScratchArena) -> Void) {
    for tile in tiles { engine.pool.run(1) { body(tile, $1) } }
  }

  /// Adds the gradients of weights over the block, and what its tiles have for vectors.
  func add<Element>(_ weights: [WeightGradient<Element>]) {
    engine.pool.add(weights, isFirst: isFirst) {
      for tile in tiles {
        for (slot, sum) in tile.partials { Kernels.add(sums.vector(slot), sum) }
      }
    }
  }
}
