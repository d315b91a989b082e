// The element-wise sums of this module, cut in tiles that stay in a core's cache. No element's result
// depends on the cut, so neither tiles nor threads show in the bits.
import Compute

enum ParallelLoops {
  /// Elements per task.
  static let tile = 16 * ParameterLayout.segment

  /// Calls `body` with the parts of `range`, on the threads of `pool` if there is one.
  static func tiles(of range: Range<Int>, on pool: WorkerPool?, _ body: (Range<Int>) -> Void) {
    tiles(of: range, on: pool) { tile, _ in body(tile) }
  }

  /// The same with scratch, taken back after each part.
  static func tiles(
    of range: Range<Int>, on pool: WorkerPool?, _ body: (Range<Int>, ScratchArena) -> Void
  ) {
    let count = (range.count + tile - 1) / tile
    func part(_ index: Int) -> Range<Int> {
      let start = range.lowerBound + index * tile
      return start..<min(start + tile, range.upperBound)
    }
    if let pool {
      pool.run(count) { index, scratch in
        body(part(index), scratch)
        scratch.lap(.reduction)
      }
    } else {
      let scratch = ScratchArena()
      for index in 0..<count { scratch.frame { body(part(index), scratch) } }
    }
  }
}
