// Which bytes are scored in an evaluation.

extension ByteCorpus {
  /// Windows that score every byte of `split` but its first exactly once.
  ///
  /// Window i holds inputs [iL, iL + n) and the same places one further as targets, so it has n + 1
  /// bytes, scores n, and shares its last byte with the next window's first. n is `length` but for
  /// the last window, which may be shorter. Each window stands alone: no context is carried over.
  /// - `length`: inputs per window, L, positive.
  /// - `limit`: score only this many bytes from the start of the split; 0 scores all.
  /// - Throws `CorpusError.splitTooShort` when the split has no byte to score.
  public func evaluationWindows(_ split: CorpusSplit, length: Int, limit: Int = 0)
    throws(CorpusError) -> [Range<Int>]
  {
    precondition(length > 0 && limit >= 0, "windows of \(length), limit \(limit)")
    let bytes = range(of: split)
    guard bytes.count >= 2 else {
      throw .splitTooShort(path: path, split: split, bytes: bytes.count, needed: 2)
    }
    let scored = limit == 0 ? bytes.count - 1 : min(limit, bytes.count - 1)
    return stride(from: 0, to: scored, by: length).map { start in
      let first = bytes.lowerBound + start
      return first..<(first + min(length, scored - start) + 1)
    }
  }
}
