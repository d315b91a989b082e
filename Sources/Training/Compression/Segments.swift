// How a text is cut for coding: in the windows that `evaluate` scores side by side, and these in as many streams as are
// coded at once.

/// The windows of a text and the streams they belong to.
///
/// Window w has the bytes from `w * context` on as inputs and those one further as targets; its last target is the next
/// window's first input. A stream is a run of windows, so that it knows its next window's first byte when it comes there.
package struct Segments: Equatable {
  /// Bytes of the text.
  package let count: Int
  /// Inputs of a window.
  package let context: Int
  /// Windows of each stream; the last one may have fewer.
  package let windowsPerStream: Int

  /// The windows of `count` bytes, in at most `streams` streams.
  package init(count: Int, context: Int, streams: Int) {
    self.count = count
    self.context = context
    let windows = (max(count - 1, 0) + context - 1) / context
    windowsPerStream = max(1, (windows + streams - 1) / streams)
  }

  /// Those of a file that was written so.
  package init(count: Int, context: Int, windowsPerStream: Int) {
    self.count = count
    self.context = context
    self.windowsPerStream = windowsPerStream
  }

  private var scored: Int { max(count - 1, 0) }

  /// Places of the streams' first bytes, which nothing predicts.
  package var starts: [Int] {
    count == 1 ? [0] : Array(stride(from: 0, to: scored, by: windowsPerStream * context))
  }

  /// Windows that are coded side by side, one of each stream that has one left: their numbers, and inputs of each.
  ///
  /// Only the last one may be shorter than the others.
  package var rounds: [[(window: Int, length: Int)]] {
    (0..<windowsPerStream).map { round in
      starts.compactMap { start in
        let first = start + round * context
        let length = min(context, scored - first)
        return length > 0 ? (first / context, length) : nil
      }
    }
  }
}
