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

  /// Rows of all slots.
  var rows: Int { slots * slotRows }

  /// Lends a window for chunks of `chunk` positions and heads of `width` features.
  init(chunk: Int, before: Int, width: Int, from arena: ScratchArena) {
    self.chunk = chunk
    slots = before + 1
    slotRows = Self.slotRows(chunk: chunk)
    let rows = slots * slotRows
    positions = arena.integers(rows)
    keys = arena.strips(rows, width)
    keysAcross = arena.strips(width, rows)
    values = arena.strips(rows, width)
    guard slotRows > chunk else { return }
    positions.fill(Int32.max)
    for matrix in [keys, keysAcross, values] { matrix.runs.forEach { $0.fill(0) } }
  }

  /// Lends a matrix `[width, W]` that is zero where slots are padded.
  func across(width: Int, from arena: ScratchArena) -> Packed<Float> {
    let across = arena.strips(width, rows)
    if slotRows > chunk { across.runs.forEach { $0.fill(0) } }
    return across
  }

  static func slotRows(chunk: Int) -> Int {
    (chunk + Packed<Float>.width - 1) / Packed<Float>.width * Packed<Float>.width
  }

  /// Rows of the chunk in `slot`, padding left out.
  func rows(ofSlot slot: Int) -> Range<Int> { slot * slotRows..<slot * slotRows + chunk }

  /// Place of a chunk in the ring of those in sight.
  func slot(_ index: Int) -> Int { (index + slots - 1) % slots }

  /// Puts the keys, times their scales, and the values at `chunkPositions` in `slot`.
  func load(
    _ chunkPositions: View<Int32>, keys source: Matrix, scale: Matrix, values valueSource: Matrix,
    slot: Int
  ) {
    let rows = rows(ofSlot: slot)
    positions[rows].copy(from: chunkPositions)
    gather(source, rows: chunkPositions, scale: scale, into: keys.rows(rows))
    gather(valueSource, rows: chunkPositions, into: values.rows(rows))
    transpose(keys.rows(rows), into: keysAcross, columns: rows)
  }
}

/// Writes the transpose of `rows` into the columns `columns` of `across`.
func transpose(_ rows: Packed<Float>, into across: Packed<Float>, columns: Range<Int>) {
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
