// Local attention row by row: the ring of chunks in sight that a pass over the whole sequence walks with, filled in as rows
// come.
import Compute

/// The chunks in sight of one head.
struct LocalPast: HeadPast {
  private let window: ChunkWindow<Float>

  /// Lends an empty ring.
  init(chunk: Int, before: Int, headWidth: Int, from arena: ScratchArena) {
    window = ChunkWindow(chunk: chunk, before: before, width: headWidth, from: arena)
    window.clear()
  }

  /// The first row of a chunk puts the one that was in its place out of sight.
  func enter(_ row: HeadRow, scratch: ScratchArena) {
    let (chunk, place) = row.position.quotientAndRemainder(dividingBy: window.chunk)
    let rows = window.rows(ofSlot: window.slot(chunk))
    if place == 0 { window.positions[rows].fill(Int32.max) }
    let own = rows.lowerBound + place
    window.positions[own] = Int32(row.position)
    scratch.frame {
      let key = scratch.matrix(1, row.key.columns)
      row.scaleKey(sharesQueryKey: false, into: key, scratch: scratch)
      window.keysAcross.setColumn(own, to: key.dense)
    }
    window.values.rows(own..<own + 1).copy(from: row.value)
  }

  func attend(_ row: HeadRow, scratch: ScratchArena) {
    let softmax = RowSoftmax(row, scratch: scratch)
    softmax.add(
      keysAcross: window.keysAcross, values: window.values.right, positions: window.positions,
      masksSelf: false)
    softmax.finish()
  }
}

extension LocalAttention {
  /// A ring of chunks.
  public func past(
    head: Int, length: Int, headWidth: Int, pass: AttentionPass, from arena: ScratchArena
  ) -> any HeadPast {
    LocalPast(
      chunk: chunk, before: chunksBefore, headWidth: headWidth, from: arena)
  }
}
