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
  /// Bytes from one stream's start to the next one's.
  private var step: Int { windowsPerStream * context }

  /// Number of streams.
  package var streams: Int { count == 1 ? 1 : (scored + step - 1) / step }

  /// Places of the streams' first bytes, which nothing predicts.
  package var starts: [Int] { (0..<streams).map { $0 * step } }

  /// Windows that are coded side by side, one of each stream that has one left: their numbers, and inputs of each.
  ///
  /// Only the last one may be shorter than the others.
  package var rounds: some Sequence<[(window: Int, length: Int)]> {
    let (starts, scored, context) = (starts, scored, context)
    return (0..<windowsPerStream).lazy.map { round in
      starts.compactMap { start in
        let first = start + round * context
        let length = min(context, scored - first)
        return length > 0 ? (first / context, length) : nil
      }
    }
  }
}
