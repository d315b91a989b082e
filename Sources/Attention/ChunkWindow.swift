// The keys and values that the queries of one chunk see, fetched chunk by chunk into a ring, so that
// all products of a chunk run on memory of a few tens of kilobytes.
import Compute

/// A ring of `before + 1` slots, one chunk of the list in each.
///
/// A slot is a chunk rounded up to whole strips, W rows are all slots. Rows that pad a slot have
/// position `Int32.max`, which causality masks, and are zero.
struct ChunkWindow<Element: ProductElement> {
  let slots: Int
  let chunk: Int
  let slotRows: Int
  /// `[W]`: position of each row.
  let positions: View<Int32>
  /// `[W, K]`, scaled.
  let keys: Factor<Element>
  /// `[K, W]`, scaled.
  let keysAcross: Packed<Element>
  /// `[W, K]`.
  let values: Factor<Element>
  /// `[K, W]`, where gradients need it, which then read no `values` as they are.
  let valuesAcross: Packed<Element>?

  /// Rows of all slots.
  var rows: Int { slots * slotRows }

  /// Lends a window for chunks of `chunk` positions and heads of `width` features.
  init(
    chunk: Int, before: Int, width: Int, forGradients: Bool = false, from arena: ScratchArena
  ) {
    self.chunk = chunk
    slots = before + 1
    slotRows = chunkSlotRows(chunk)
    let rows = slots * slotRows
    positions = arena.integers(rows)
    keys = arena.factor(rows, width, forGradients ? .both : .left)
    keysAcross = arena.strips(Element.count(width), rows, of: Element.self)
    values = arena.factor(rows, width, forGradients ? .left : .right)
    valuesAcross =
      forGradients ? arena.strips(Element.count(width), rows, of: Element.self) : nil
    guard slotRows > chunk else { return }
    clear()
  }

  /// Leaves nothing in any slot.
  func clear() {
    positions.fill(Int32.max)
    keys.clear()
    keysAcross.clear()
    values.clear()
    valuesAcross?.clear()
  }

  /// Rows of the chunk in `slot`, padding left out.
  func rows(ofSlot slot: Int) -> Range<Int> { slot * slotRows..<slot * slotRows + chunk }

  /// Place of a chunk in the ring of those in sight.
  func slot(_ index: Int) -> Int { (index + slots - 1) % slots }

  /// Puts a head's keys, times their scales, and its values at `chunkPositions` in `slot`.
  func load(
    _ chunkPositions: View<Int32>, of head: AttentionHead, slot: Int, _ scratch: ScratchArena
  ) {
    let rows = rows(ofSlot: slot)
    positions[rows].copy(from: chunkPositions)
    let (keys, values) = (keys.rows(rows), values.rows(rows))
    keys.fill(scratch) {
      gather(head.keys, rows: chunkPositions, scale: head.rows.keyScale, into: $0)
    }
    values.fill(scratch) { gather(head.values, rows: chunkPositions, into: $0) }
    keysAcross.columns(rows).copy(transposing: keys.gate)
    valuesAcross?.columns(rows).copy(transposing: values.gate)
  }
}

/// Rows of a slot for chunks of `chunk` positions.
func chunkSlotRows(_ chunk: Int) -> Int {
  (chunk + Packed<Float>.width - 1) / Packed<Float>.width * Packed<Float>.width
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
