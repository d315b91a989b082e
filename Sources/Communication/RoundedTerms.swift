// Gradients that travel as bf16 numbers: half the bytes, and a sum of rounded terms.
import Compute

/// What gradients are on their way to other ranks.
public enum Wire: String, Sendable, CaseIterable {
  /// Single precision, as they are.
  case fp32
  /// The nearest bf16 numbers.
  case bf16
}

/// The terms of a sum over ranks, each rounded to the nearest bf16 numbers (ties to even) before it is added.
///
/// A rank rounds its own term too, also where it owns the piece: so the sum does not depend on who owns what, only on
/// the number of ranks. Terms are added in single precision, in the order of `ReductionTree`.
final class RoundedTerms {
  // This rank's term of all groups, in the places of the layout.
  private let own: Buffer<UInt16>
  private let inbox: Inbox<UInt16>
  private let rank: Int
  private let pool: WorkerPool?

  /// Memory for the terms of `layout`, of which rank `rank` of `ranks` owns the pieces `owned`.
  init(
    layout: ParameterLayout, owned: [Range<Int>], rank: Int, ranks: Int, pool: WorkerPool?
  ) {
    own = Buffer<UInt16>(layout.count)
    inbox = Inbox(owned: owned, rank: rank, ranks: ranks)
    self.rank = rank
    self.pool = pool
  }

  /// Bytes of the same, of a rank that owns `owned` numbers.
  static func bytes(layout: ParameterLayout, owned: Int, ranks: Int) -> Int {
    (layout.count + (ranks - 1) * owned) * MemoryLayout<UInt16>.size
  }

  /// Rounds `range` of this rank's gradients.
  func round(_ gradients: View<Float>, _ range: Range<Int>) {
    ParallelLoops.tiles(of: range, on: pool) {
      Kernels.round(gradients[$0], into: own.view[$0])
    }
  }

  /// This rank's rounded term of a piece.
  func sent(_ piece: Range<Int>) -> View<UInt16> { own.view[piece] }

  /// Where the term of rank `source` for this rank's piece of `group` arrives.
  func received(group: Int, from source: Int) -> View<UInt16> { inbox[group, source] }

  /// Sets `sum`, this rank's piece of `group` at the places `piece`, to the sum over ranks.
  func add(group: Int, piece: Range<Int>, into sum: View<Float>) {
    let terms = inbox.terms(of: group, own: sent(piece))
    let segment = ParameterLayout.segment
    ParallelLoops.tiles(of: 0..<sum.count, on: pool) { tile, scratch in
      // A segment at a time, so that the partial sums stay in the first-level cache.
      var free: [View<Float>] = []
      func merge(_ earlier: View<Float>, _ later: View<Float>) -> View<Float> {
        Kernels.add(earlier, later)
        free.append(later)
        return earlier
      }
      for start in stride(from: tile.lowerBound, to: tile.upperBound, by: segment) {
        var tree = ReductionTree<View<Float>>()
        for term in terms {
          let widened = free.popLast() ?? scratch.floats(segment)
          Kernels.widen(term[start..<(start + segment)], into: widened)
          tree.push(widened, merge: merge)
        }
        guard let total = tree.fold(merge: merge) else { continue }
        sum[start..<(start + segment)].copy(from: total)
        free.append(total)
      }
    }
  }
}

/// Memory for what the other ranks send for the pieces that this one owns.
final class Inbox<Element: BitwiseCopyable> {
  private let memory: Buffer<Element>
  // By group and source; empty from this rank itself.
  private let slices: [[View<Element>]]
  private let rank: Int

  /// Room for the pieces `owned`, one of each group, from each other rank.
  init(owned: [Range<Int>], rank: Int, ranks: Int) {
    let memory = Buffer<Element>((ranks - 1) * owned.reduce(0) { $0 + $1.count })
    var offset = 0
    slices = owned.map { range in
      (0..<ranks).map { source in
        let count = source == rank ? 0 : range.count
        defer { offset += count }
        return memory.view[offset..<(offset + count)]
      }
    }
    self.memory = memory
    self.rank = rank
  }

  /// What `source` sends for the piece of `group`.
  subscript(group: Int, source: Int) -> View<Element> { slices[group][source] }

  /// The terms of all ranks for the piece of `group`, of which `own` is this rank's.
  func terms(of group: Int, own: View<Element>) -> [View<Element>] {
    slices[group].enumerated().map { $0 == rank ? own : $1 }
  }
}
