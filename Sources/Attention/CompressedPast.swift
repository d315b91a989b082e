// Compressed attention row by row: the rows of all complete blocks, and the block that is under way.
import Compute

/// What one head keeps.
struct CompressedPast: HeadPast {
  private let sizes: CompressedAttention
  private let matrices: [Matrix]
  /// `[block, K]`: keys and values of the present block as they are, and its keys scaled as a pass has them.
  private let keys, values: Packed<Float>
  private let window: ChunkWindow<Float>
  /// `[K, S]` and `[S, K]`, S whole panels; keys are scaled.
  private let rowKeys, rowValues: Packed<Float>

  /// Lends room for `length` positions.
  init(
    _ sizes: CompressedAttention, matrices: [Matrix], length: Int, headWidth: Int,
    from arena: ScratchArena
  ) {
    self.sizes = sizes
    self.matrices = matrices
    (keys, values) = (
      arena.strips(sizes.block, headWidth), arena.strips(sizes.block, headWidth)
    )
    window = ChunkWindow(chunk: sizes.block, before: 0, width: headWidth, from: arena)
    window.clear()
    let panel = CompressedAttention.panel
    let rows = (sizes.rowCount(length) + panel - 1) / panel * panel
    (rowKeys, rowValues) = (arena.strips(headWidth, rows), arena.strips(rows, headWidth))
    rowKeys.clear()
    rowValues.clear()
  }

  func enter(_ row: HeadRow, scratch: ScratchArena) {
    let place = row.position % sizes.block
    if place == 0 {
      if row.position > 0 { addRows(of: row.position / sizes.block - 1, scratch) }
      window.positions.fill(Int32.max)
    }
    let own = place..<place + 1
    window.positions[place] = Int32(row.position)
    scratch.frame {
      keys.rows(own).copy(from: row.turned(row.key, scratch))
      let key = scratch.matrix(1, row.key.columns)
      row.scaleKey(sharesQueryKey: false, into: key, scratch: scratch)
      window.keysAcross.setColumn(place, to: key.dense)
    }
    values.rows(own).copy(from: row.value)
    window.values.rows(own).copy(from: row.value)
  }

  /// Block `block` is complete.
  private func addRows(of block: Int, _ scratch: ScratchArena) {
    let width = keys.columns
    let own = block * sizes.rows..<(block + 1) * sizes.rows
    scratch.frame {
      let rows = scratch.matrix(sizes.rows, width)
      tileProduct(matrices[0].left, keys, into: rows.result)
      for (index, place) in own.enumerated() {
        Kernels.scale(rows.row(index), by: 1 / Float(width).squareRoot())
        rowKeys.setColumn(place, to: rows.row(index))
      }
      tileProduct(matrices[1].left, values, into: rows.result)
      rowValues.rows(own).copy(from: rows)
    }
  }

  func attend(_ row: HeadRow, scratch: ScratchArena) {
    let softmax = RowSoftmax(row, scratch: scratch)
    softmax.add(
      keysAcross: window.keysAcross, values: window.values.right, positions: window.positions,
      masksSelf: false)
    let positions = scratch.integers(CompressedAttention.panel)
    let seen = row.position / sizes.block * sizes.rows
    for panel in stride(from: 0, to: seen, by: CompressedAttention.panel) {
      let own = panel..<panel + CompressedAttention.panel
      for (index, place) in own.enumerated() {
        positions[index] = Int32((place / sizes.rows + 1) * sizes.block)
      }
      softmax.add(
        keysAcross: rowKeys.columns(own), values: rowValues.rows(own), positions: positions,
        masksSelf: false)
    }
    softmax.finish()
  }
}

extension CompressedAttention {
  /// Rows of all blocks, and a block.
  public func past(
    head: Int, length: Int, headWidth: Int, pass: AttentionPass, from arena: ScratchArena
  ) -> any HeadPast {
    CompressedPast(
      self, matrices: matrices(of: pass.parameters, head: pass.firstHead + head), length: length,
      headWidth: headWidth, from: arena)
  }
}
