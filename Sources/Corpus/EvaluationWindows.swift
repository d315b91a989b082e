// Which bytes are scored in an evaluation.

/// Bytes that are scored together.
public struct EvaluationWindow: Sendable, Equatable {
  /// The inputs and, one further, as many targets.
  public let bytes: Range<Int>
  /// Where the context of its bytes may begin: the start of their stretch.
  public let reach: Int
}

extension ByteCorpus {
  /// Windows that score every byte of `split` exactly once, but for the first of each stretch.
  ///
  /// Window i of a stretch holds inputs [iS, iS + n) and the same places one further as targets, so it has n + 1
  /// bytes, scores n, and shares its last byte with the next window's first. n is `stride` but for
  /// the last window, which may be shorter. No window crosses the edge of a stretch.
  /// - `length`: inputs per training window, which decide what the stretches are. `stride`: bytes
  ///   scored per window, S, positive; nil for `length`.
  /// - `limit`: score only this many bytes from the start of the split; 0 scores all. Of sequences that are made up
  ///   whole ones are, and for 0 as many as are held out; of pairs likewise, each of which is a window.
  /// - Throws `CorpusError.splitTooShort` when the split has no byte to score.
  public func evaluationWindows(
    _ split: CorpusSplit, length: Int, stride: Int? = nil, limit: Int = 0
  ) throws(CorpusError) -> [EvaluationWindow] {
    let step = stride ?? length
    precondition(length > 0 && step > 0 && limit >= 0, "windows of \(step), limit \(limit)")
    let stretches = stretches(of: split, length: length)
    if let pairs, let places = stretches.first {
      let windows = pairs.evaluationWindows(places, limit: limit)
      if !windows.isEmpty { return windows }
    }
    var left = sequences?.whole(limit) ?? (limit == 0 ? Int.max : limit)
    var windows: [EvaluationWindow] = []
    for bytes in stretches {
      let scored = min(left, bytes.count - 1)
      for start in Swift.stride(from: 0, to: scored, by: step) {
        let first = bytes.lowerBound + start
        windows.append(
          EvaluationWindow(
            bytes: first..<(first + min(step, scored - start) + 1), reach: bytes.lowerBound))
      }
      left -= scored
    }
    guard !windows.isEmpty else {
      throw .splitTooShort(
        path: path, split: split, bytes: stretches.map(\.count).max() ?? 0, needed: 2)
    }
    return windows
  }
}
