// A fixed pattern row by row: the same lists as of a pass over the whole sequence, of which each row looks up its own runs.
import Compute

/// The keys and values of one head, and where each position stands in its lists.
struct PatternPast: HeadPast {
  private let lists: [SightList]
  /// `[lists, length]`: place of each position among the queries of a list; -1 where it is none of them.
  private let places: [View<Int32>]
  /// `[length, K]` side by side; keys are scaled.
  private let keys, values: Matrix

  /// Lends room for `length` positions.
  init(_ lists: [SightList], length: Int, headWidth: Int, from arena: ScratchArena) {
    self.lists = lists
    places = lists.map { list in
      let places = arena.integers(length)
      places.fill(-1)
      for place in 0..<list.queries.count { places[Int(list.queries[place])] = Int32(place) }
      return places
    }
    let rows = arena.matrix(length, 2 * headWidth)
    keys = rows.columns(0..<headWidth)
    values = rows.columns(headWidth..<2 * headWidth)
  }

  func enter(_ row: HeadRow, scratch: ScratchArena) {
    let own = row.position..<row.position + 1
    row.scaleKey(sharesQueryKey: false, into: keys.rows(own), scratch: scratch)
    values.rows(own).copy(from: row.value)
  }

  func attend(_ row: HeadRow, scratch: ScratchArena) {
    let softmax = RowSoftmax(row, scratch: scratch)
    for (list, places) in zip(lists, places) where places[row.position] >= 0 {
      let place = Int(places[row.position])
      let run = Int(list.first[place])..<Int(list.end[place])
      for part in SightList.cut(run, from: list.strand(ofQuery: place).lowerBound) {
        softmax.add(list.keys[part], keys: keys, values: values, lastResort: false)
      }
    }
    softmax.finish()
  }
}

extension PatternLayer {
  /// All keys and values, and the lists.
  public func past(
    head: Int, length: Int, headWidth: Int, pass: AttentionPass, from arena: ScratchArena
  ) -> any HeadPast {
    listedPast(head: head, length: length, headWidth: headWidth, pass: pass, from: arena)
  }

  /// The same, for kinds with something shorter where sizes allow it.
  func listedPast(
    head: Int, length: Int, headWidth: Int, pass: AttentionPass, from arena: ScratchArena
  ) -> any HeadPast {
    let choice = arena.integers(choiceCount(length: length))
    choose(choice, length: length, head: pass.firstHead + head, pass: pass)
    return PatternPast(
      lists(choice, length: length, from: arena), length: length, headWidth: headWidth,
      from: arena)
  }
}
