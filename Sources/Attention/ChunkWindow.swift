// The keys and values that the queries of one chunk see, fetched chunk by chunk into a ring, so that
// all products of a chunk run on memory of a few tens of kilobytes.
import Compute

/// A ring of `before + 1` slots, one chunk of the list in each.
///
/// A slot is a chunk rounded up to whole strips, W rows are all slots. Rows that pad a slot have
/// position `Int32.max`, which causality masks, and are zero.
struct ChunkWindow {
  let slots: Int
  let chunk: Int
  let slotRows: Int
  /// `[W]`: position of each row.
  let positions: View<Int32>
  /// `[W, K]`, scaled.
  let keys: Packed<Float>
  /// `[K, W]`, scaled.
  let keysAcross: Packed<Float>
  /// `[W, K]`.
  let values: Packed<Float>
  /// `[K, W]`, where gradients need it.
  let valuesAcross: Packed<Float>?

  /// Rows of all slots.
  var rows: Int { slots * slotRows }

  /// Lends a window for chunks of `chunk` positions and heads of `width` features.
  init(
    chunk: Int, before: Int, width: Int, forGradients: Bool = false, from arena: ScratchArena
  ) {
    self.chunk = chunk
    slots = before + 1
    slotRows = Self.slotRows(chunk: chunk)
    let rows = slots * slotRows
    positions = arena.integers(rows)
    keys = arena.strips(rows, width)
    keysAcross = arena.strips(width, rows)
    values = arena.strips(rows, width)
    valuesAcross = forGradients ? arena.strips(width, rows) : nil
    guard slotRows > chunk else { return }
    positions.fill(Int32.max)
    for matrix in [keys, keysAcross, values] + (valuesAcross.map { [$0] } ?? []) {
      matrix.runs.forEach { $0.fill(0) }
    }
  }

  static func slotRows(chunk: Int) -> Int {
    (chunk + Packed<Float>.width - 1) / Packed<Float>.width * Packed<Float>.width
  }

  /// Rows of the chunk in `slot`, padding left out.
  func rows(ofSlot slot: Int) -> Range<Int> { slot * slotRows..<slot * slotRows + chunk }

  /// Place of a chunk in the ring of those in sight.
  func slot(_ index: Int) -> Int { (index + slots - 1) % slots }

  /// Puts a head's keys, times their scales, and its values at `chunkPositions` in `slot`.
  func load(_ chunkPositions: View<Int32>, of head: AttentionHead, slot: Int) {
    let rows = rows(ofSlot: slot)
    positions[rows].copy(from: chunkPositions)
    gather(head.keys, rows: chunkPositions, scale: head.rows.keyScale, into: keys.rows(rows))
    gather(head.values, rows: chunkPositions, into: values.rows(rows))
    transpose(keys.rows(rows), into: keysAcross, columns: rows)
    if let valuesAcross { transpose(values.rows(rows), into: valuesAcross, columns: rows) }
  }
}

/// Writes the transpose of `rows` into the columns `columns` of `across`.
private func transpose(_ rows: Packed<Float>, into across: Packed<Float>, columns: Range<Int>) {
  for strip in 0..<rows.stripCount {
    let (features, matrix) = rows.strip(strip)
    across.rows(features).columns(columns).copy(transposing: matrix)
  }
}

/// Fetches rows by position into strips, times `scale` where there is one.
func gather(
  _ source: Matrix, rows index: View<Int32>, scale: Matrix? = nil, into strips: Packed<Float>
) {
  for strip in 0..<strips.stripCount {
    let (columns, matrix) = strips.strip(strip)
    Kernels.gather(source.columns(columns), rows: index, scale: scale, into: matrix)
  }
}
