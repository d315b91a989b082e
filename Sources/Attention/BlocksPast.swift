// `blocks` row by row: all keys and values, and the landmarks of blocks before the window, by which a row chooses as a pass
// does.
import Compute

/// What one head keeps.
///
/// A row costs a product with each landmark, or with those of some groups and the means of all groups, and its window and
/// its choice, whatever the length.
struct BlocksPast: HeadPast {
  private let sizes: BlocksAttention
  private let landmarks: Landmarks
  /// `[length]`: every place.
  private let places: View<Int32>
  /// Keys of a window's blocks as they are, a ring.
  private let recent: Matrix
  /// `[length, K]`: scaled keys, with their landmarks added once their block has left the window; and values.
  private let keys, values: Matrix

  /// Lends room for `length` positions.
  init(_ sizes: BlocksAttention, length: Int, headWidth: Int, from arena: ScratchArena) {
    self.sizes = sizes
    landmarks = Landmarks(sizes, length: length, headWidth: headWidth, from: arena)
    places = arena.integers(length)
    for place in 0..<length { places[place] = Int32(place) }
    let blocks = (length - 1) / sizes.block + 1
    recent = arena.matrix(min(sizes.window, blocks) * sizes.block, headWidth)
    (keys, values) = (arena.matrix(length, headWidth), arena.matrix(length, headWidth))
  }

  func enter(_ row: HeadRow, scratch: ScratchArena) {
    let own = row.position..<row.position + 1
    let index = row.position / sizes.block
    if row.position % sizes.block == 0, index >= sizes.window {
      leaveWindow(index - sizes.window, scratch)
    }
    scratch.frame {
      let place = row.position % recent.rows
      recent.rows(place..<place + 1).copy(from: row.turned(row.key, scratch))
      row.scaleKey(sharesQueryKey: false, into: keys.rows(own), scratch: scratch)
    }
    values.rows(own).copy(from: row.value)
  }

  /// From now on block `index` can be chosen.
  private func leaveWindow(_ index: Int, _ scratch: ScratchArena) {
    let first = index * sizes.block
    let place = first % recent.rows
    let own = keys.rows(first..<first + sizes.block)
    landmarks.complete(
      index, keys: recent.rows(place..<place + sizes.block), into: own, scratch)
    Kernels.scale(own.dense, by: 1 / Float(keys.columns).squareRoot())
    let (group, rest) = (index + 1).quotientAndRemainder(dividingBy: sizes.group)
    if rest == 0, group <= landmarks.groupCount { landmarks.completeGroup(group - 1, scratch) }
  }

  func attend(_ row: HeadRow, scratch: ScratchArena) {
    let (softmax, index) = (RowSoftmax(row, scratch: scratch), row.position / sizes.block)
    let choice = scratch.integers(sizes.top)
    landmarks.choose(row.turned(row.query, scratch), of: index, into: choice, scratch)
    let window = sizes.windowStart(index) * sizes.block..<row.position + 1
    let chosen = choice.array.map(Int.init).filter { $0 >= 0 }.map {
      $0 * sizes.block..<($0 + 1) * sizes.block
    }
    for part in ([window] + chosen).flatMap({ SightList.cut($0, from: 0) }) {
      softmax.add(places[part], keys: keys, values: values, lastResort: false)
    }
    softmax.finish()
  }
}

extension BlocksAttention {
  /// All keys and values, and landmarks.
  public func past(
    head: Int, length: Int, headWidth: Int, pass: AttentionPass, from arena: ScratchArena
  ) -> any HeadPast {
    BlocksPast(self, length: length, headWidth: headWidth, from: arena)
  }
}
