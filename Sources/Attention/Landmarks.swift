// The landmarks of one head, and how queries choose blocks by them.
import Compute

/// Means of the keys of complete blocks, and means of groups of these.
///
/// K features. What a query chooses depends on itself and on the landmarks of blocks before its window, to the bit, so that
/// rows one by one choose as a pass does; of equal ones the earlier is chosen.
struct Landmarks {
  private let sizes: BlocksAttention
  /// `[K, M]`.
  private let blocks: Packed<Float>
  /// `[K, M / group]`.
  private let groups: Packed<Float>

  /// Queries that choose together.
  private static let tile = 128

  /// Room for the blocks of a sequence of `length` that may be chosen.
  init(_ sizes: BlocksAttention, length: Int, headWidth: Int, from arena: ScratchArena) {
    self.sizes = sizes
    blocks = arena.strips(headWidth, sizes.choosable(length))
    groups = arena.strips(headWidth, sizes.grouped(sizes.choosable(length)) / sizes.group)
  }

  /// Floats of it.
  static func count(_ sizes: BlocksAttention, _ length: Int, _ headWidth: Int) -> Int {
    let blocks = sizes.choosable(length)
    return Packed<Float>.count(headWidth, blocks)
      + Packed<Float>.count(headWidth, sizes.grouped(blocks) / sizes.group)
  }

  /// Floats that `choose` lends.
  static func perThread(_ sizes: BlocksAttention, length: Int) -> Int {
    let blocks = sizes.choosable(length)
    let near = min(blocks, max(sizes.oneLevel / sizes.block, sizes.group))
    return min(tile, sizes.block) * (near + blocks / sizes.group) + sizes.group + sizes.groups
      + 2 * max(sizes.top, sizes.groups) + 100
  }

  /// Number of groups that have means.
  var groupCount: Int { groups.columns }

  /// Block `index` is complete: from its keys `[block, K]` follow its landmark and `joined`, the keys with it added.
  func complete(_ index: Int, keys: Matrix, into joined: Matrix, _ scratch: ScratchArena) {
    scratch.frame {
      let mean = scratch.floats(keys.columns)
      mean.fill(0)
      Kernels.addColumnSums(of: keys, to: mean)
      Kernels.scale(mean, by: 1 / Float(keys.rows))
      blocks.setColumn(index, to: mean)
      joined.copy(from: keys)
      for row in 0..<joined.rows { Kernels.add(joined.row(row), mean) }
    }
  }

  /// The blocks of group `index` are complete.
  func completeGroup(_ index: Int, _ scratch: ScratchArena) {
    let own = blocks.columns(index * sizes.group..<(index + 1) * sizes.group)
    scratch.frame {
      let mean = scratch.floats(own.rows)
      for row in 0..<own.rows {
        var sum: Float = 0
        for strip in 0..<own.stripCount {
          for number in own.strip(strip).matrix.row(row).array { sum += number }
        }
        mean[row] = sum / Float(sizes.group)
      }
      groups.setColumn(index, to: mean)
    }
  }

  /// Writes what the queries `[n, K]`, all of block `index`, choose into `choice`, `[n, top]`.
  func choose(
    _ queries: Matrix, of index: Int, into choice: View<Int32>, _ scratch: ScratchArena
  ) {
    let candidates = sizes.windowStart(index)
    for rows in Tiling.ranges(queries.rows, by: Self.tile) {
      scratch.frame {
        choose(
          queries.rows(rows), among: candidates,
          into: choice[rows.lowerBound * sizes.top..<rows.upperBound * sizes.top], scratch)
      }
    }
    scratch.lap(.hash)
  }

  private func choose(
    _ queries: Matrix, among candidates: Int, into choice: View<Int32>, _ scratch: ScratchArena
  ) {
    let grouped = sizes.grouped(candidates)
    func scores(_ rows: Range<Int>, _ landmarks: Packed<Float>) -> Matrix {
      let scores = scratch.matrix(rows.count, landmarks.columns)
      if landmarks.columns > 0 {
        tileProduct(queries.rows(rows).left, landmarks, into: scores.result)
      }
      return scores
    }
    let all = 0..<queries.rows
    let near = scores(all, blocks.columns(grouped..<candidates))
    let far = scores(all, groups.columns(0..<grouped / sizes.group))
    for row in all {
      scratch.frame {
        var best = Best(choice[row * sizes.top..<(row + 1) * sizes.top], scratch)
        if grouped > 0 {
          let chosen = scratch.integers(sizes.groups)
          var bestGroups = Best(chosen, scratch)
          bestGroups.offer(far.row(row), from: 0)
          bestGroups.sort()
          for group in chosen.array.map(Int.init) where group >= 0 {
            let own = group * sizes.group..<(group + 1) * sizes.group
            scratch.frame {
              best.offer(
                scores(row..<row + 1, blocks.columns(own)).row(0), from: own.lowerBound)
            }
          }
        }
        best.offer(near.row(row), from: grouped)
        best.sort()
      }
    }
  }
}

/// The indices with the highest scores, of equal ones the lowest.
private struct Best {
  private let chosen: View<Int32>
  /// Their scores, descending.
  private let scores: View<Float>
  private var count = 0

  /// None yet; `chosen` is filled, and -1 what is left over.
  init(_ chosen: View<Int32>, _ scratch: ScratchArena) {
    self.chosen = chosen
    scores = scratch.floats(chosen.count)
    chosen.fill(-1)
  }

  /// Scores of the indices from `first` on, which are higher than all before.
  mutating func offer(_ offered: View<Float>, from first: Int) {
    for index in 0..<offered.count {
      let score = offered[index]
      // What is no number is not chosen.
      guard count < chosen.count ? score == score : score > scores[count - 1] else { continue }
      var place = min(count, chosen.count - 1)
      while place > 0, score > scores[place - 1] {
        scores[place] = scores[place - 1]
        chosen[place] = chosen[place - 1]
        place -= 1
      }
      scores[place] = score
      chosen[place] = Int32(first + index)
      count = min(count + 1, chosen.count)
    }
  }

  /// Puts the indices in ascending order.
  func sort() {
    for end in 1..<max(1, count) {
      let value = chosen[end]
      var place = end
      while place > 0, chosen[place - 1] > value {
        chosen[place] = chosen[place - 1]
        place -= 1
      }
      chosen[place] = value
    }
  }
}
