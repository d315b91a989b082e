// Exact attention row by row: all keys and values, in the blocks in which a pass over the whole sequence takes them.
import Compute

/// The keys and values of one head.
struct FullPast: HeadPast {
  private let sharesQueryKey: Bool
  private let block: Int
  /// `[K, blocks]`, scaled.
  private let keysAcross: Packed<Float>
  /// `[blocks, K]`.
  private let values: Packed<Float>

  /// Lends room for `length` positions, in blocks of `block`.
  init(
    sharesQueryKey: Bool, length: Int, block: Int, headWidth: Int, from arena: ScratchArena
  ) {
    self.sharesQueryKey = sharesQueryKey
    self.block = block
    let rows = (length + block - 1) / block * block
    keysAcross = arena.strips(headWidth, rows)
    values = arena.strips(rows, headWidth)
  }

  /// The first row of a block clears the rest of it: what a later row will hold is masked, and must be finite.
  func enter(_ row: HeadRow, scratch: ScratchArena) {
    let position = row.position
    if position % block == 0 {
      let own = position..<position + block
      for part in [keysAcross.columns(own), values.rows(own)] { part.runs.forEach { $0.fill(0) } }
    }
    scratch.frame {
      let key = scratch.matrix(1, row.key.columns)
      row.scaleKey(sharesQueryKey: sharesQueryKey, into: key, scratch: scratch)
      keysAcross.setColumn(position, to: key.dense)
    }
    values.rows(position..<position + 1).copy(from: row.value)
  }

  func attend(_ row: HeadRow, scratch: ScratchArena) {
    let softmax = RowSoftmax(row, scratch: scratch)
    let positions = scratch.integers(block)
    for start in stride(from: 0, through: row.position, by: block) {
      let own = start..<start + block
      for index in 0..<block { positions[index] = Int32(start + index) }
      softmax.add(
        keysAcross: keysAcross.columns(own), values: values.rows(own), positions: positions,
        masksSelf: sharesQueryKey)
    }
    softmax.finish()
  }
}

extension FullAttention {
  /// All keys and values.
  public func past(
    head: Int, length: Int, headWidth: Int, pass: AttentionPass, from arena: ScratchArena
  ) -> any HeadPast {
    FullPast(
      sharesQueryKey: sharesQueryKey, length: length, block: Self.block, headWidth: headWidth,
      from: arena)
  }
}
