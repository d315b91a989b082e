// A window row by row: a ring of the rows that it reaches, whatever the length, and global ones beside it.
import Compute

/// The last keys and values of one head that a window reaches.
///
/// A row sees itself and the `window - 1` before it that are 1, 2, ... dilations away and not global, and all earlier
/// global ones, which are the first of the sequence; a global one sees every earlier one.
struct WindowPast: HeadPast {
  private let window: Int
  private let dilation: Int
  private let global: Int
  private let edge: SoftEdge?
  /// Rows of the ring.
  private let reach: Int
  /// `[global + reach, K]` side by side, global rows first; keys are scaled.
  private let keys, values: Matrix

  /// Lends room for as many of `length` positions as matter.
  init(
    window: Int, dilation: Int = 1, global: Int = 0, edge: SoftEdge? = nil, length: Int,
    headWidth: Int, from arena: ScratchArena
  ) {
    // Beyond the length there is nothing to see, and sizes may be so large that their product overflows.
    let dilation = min(dilation, length)
    (self.window, self.dilation, self.edge) = (min(window, length), dilation, edge)
    self.global = min(global, length)
    reach = min((self.window - 1) * dilation + 1, length)
    let rows = arena.matrix(self.global + reach, 2 * headWidth)
    keys = rows.columns(0..<headWidth)
    values = rows.columns(headWidth..<2 * headWidth)
  }

  /// The row at a position.
  private func place(_ position: Int) -> Int {
    position < global ? position : global + position % reach
  }

  func enter(_ row: HeadRow, scratch: ScratchArena) {
    let own = place(row.position)..<place(row.position) + 1
    row.scaleKey(sharesQueryKey: false, into: keys.rows(own), scratch: scratch)
    values.rows(own).copy(from: row.value)
  }

  func attend(_ row: HeadRow, scratch: ScratchArena) {
    let softmax = RowSoftmax(row, scratch: scratch)
    // Positions `step` apart, counted from `first` on, cut as in a pass over the whole sequence.
    func add(_ places: Range<Int>, from first: Int, by step: Int) {
      for part in SightList.cut(places, from: 0) {
        scratch.frame {
          let seen = scratch.integers(part.count)
          for (index, number) in part.enumerated() {
            seen[index] = Int32(place(first + number * step))
          }
          softmax.add(
            seen, keys: keys, values: values, lastResort: false,
            fading: edge.map { ($0, first + part.lowerBound * step) })
        }
      }
    }
    let position = row.position
    if position < global {
      add(0..<position + 1, from: 0, by: 1)
    } else {
      // The positions of its residue class that are not global, from the first one on.
      let number = (position - global) / dilation
      let first = position - number * dilation
      add(max(0, number + 1 - window)..<number + 1, from: first, by: dilation)
      add(0..<global, from: 0, by: 1)
    }
    softmax.finish()
  }
}

extension SlidingAttention {
  /// A ring, as long as the window, and global rows; all rows where these go on coming.
  public func past(
    head: Int, length: Int, headWidth: Int, pass: AttentionPass, from arena: ScratchArena
  ) -> any HeadPast {
    guard globalEvery == 0 else {
      return listedPast(head: head, length: length, headWidth: headWidth, pass: pass, from: arena)
    }
    return WindowPast(
      window: window, dilation: dilation[(pass.firstHead + head) % dilation.count],
      global: global, length: length, headWidth: headWidth, from: arena)
  }
}

extension MemoryAttention {
  /// A ring of the rows that one sees: those that are carried over in streams are earlier rows.
  public func past(
    head: Int, length: Int, headWidth: Int, pass: AttentionPass, from arena: ScratchArena
  ) -> any HeadPast {
    WindowPast(window: rows + 1, length: length, headWidth: headWidth, from: arena)
  }
}

extension SpanAttention {
  /// A ring as long as the head's sight.
  public func past(
    head: Int, length: Int, headWidth: Int, pass: AttentionPass, from arena: ScratchArena
  ) -> any HeadPast {
    let own = pass.firstHead + head
    let edge = SoftEdge(span: span(head: own, pass: pass), ramp: ramp, from: arena)
    return WindowPast(
      window: edge.window, edge: edge, length: length, headWidth: headWidth, from: arena)
  }
}
