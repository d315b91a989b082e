// Rows that come one after the other have the bits of a pass over all of them, for every kind that claims strictness.
import Attention
import Compute
import TestSupport
import Testing

@Suite("Rows one after the other")
struct HeadPastTests {
  struct Case: Sendable, CustomStringConvertible {
    let layer: any AttentionLayer
    let length: Int
    let description: String
  }

  static let cases: [Case] = {
    let layers =
      Example.all.map(\.layer).filter(\.isStrictlyCausal)
      + [(64, 0), (33, 2), (64, 3)].map {
        LocalAttention(chunk: $0.0, chunksBefore: $0.1)
      }
    return layers.flatMap { layer in
      [1, 7, 31, 70, 331].map {
        Case(layer: layer, length: $0, description: "\(layer) over \($0)")
      }
    } + PatternTests.long.map { Case(layer: $0, length: 1300, description: "\($0) over 1300") }
  }()

  @Test("each row by itself has the bits of the whole pass", arguments: cases, [5, 40])
  func bits(test: Case, width: Int) {
    let probe = AttentionProbe(test.layer, length: test.length, width: width, threads: 2)
    let whole = probe.forward()
    let (arena, scratch) = (ScratchArena(), ScratchArena())
    // What is lent is nonsense, as is what rows find behind them.
    for arena in [arena, scratch] { arena.frame { arena.floats(1 << 20).fill(.nan) } }
    func matrix(_ values: [Float]) -> Matrix {
      let matrix = arena.matrix(test.length, probe.heads * width)
      matrix.dense.copy(from: values)
      return matrix
    }
    let group = HeadGroup(
      heads: probe.heads, projected: probe.projected.map(matrix),
      output: arena.matrix(test.length, probe.heads * width))
    for head in 0..<probe.heads {
      let past = test.layer.past(
        head: head, length: test.length, headWidth: width, pass: probe.pass, from: arena)
      for row in 0..<test.length {
        let own = HeadRow(group, head: head, row: row, position: row)
        scratch.frame { past.enter(own, scratch: scratch) }
        scratch.frame { past.attend(own, scratch: scratch) }
      }
    }
    #expect(group.output.dense.array.bitPatterns == whole.bitPatterns)
  }

  @Test(
    "rows that are carried over are earlier rows, to the bit",
    arguments: [(40, 40), (40, 9), (700, 600)],
    [1, 45, 331])
  func carried(sizes: (rows: Int, carried: Int), length: Int) {
    let layer = MemoryAttention(rows: sizes.rows, isCarried: true)
    let whole = AttentionProbe(layer, length: sizes.carried + length, threads: 2)
    let part = AttentionProbe(layer, length: length, carried: sizes.carried, threads: 2)
    let own = length * whole.heads * whole.width
    part.projected = [Array(whole.projected[0].suffix(own))] + whole.projected.dropFirst()
    #expect(part.forward().bitPatterns == Array(whole.forward().suffix(own)).bitPatterns)
  }

  @Test(
    "what a window keeps does not grow with the length",
    arguments: [
      SlidingAttention(window: 20, dilation: [3], global: 2), MemoryAttention(rows: 59),
      SpanAttention(maximum: 40, ramp: 20),
    ] as [any AttentionLayer])
  func ring(layer: any AttentionLayer) {
    let probe = AttentionProbe(layer, length: 1)
    let kept = [1000, 100_000].map { length in
      let arena = ScratchArena()
      _ = layer.past(head: 0, length: length, headWidth: 8, pass: probe.pass, from: arena)
      return arena.highWaterBytes
    }
    // At most 60 rows, of keys and of values, and what says how sight fades.
    #expect(kept[0] == kept[1] && kept[0] < 70 * 2 * 8 * 4)
  }

  @Test("a row that is not asked for its output leaves the others as they are")
  func prompt() {
    for layer in Self.cases.filter({ $0.length == 70 }).map(\.layer) {
      let probe = AttentionProbe(layer, length: 70, width: 8)
      let whole = probe.forward()
      let (arena, scratch) = (ScratchArena(), ScratchArena())
      let group = HeadGroup(
        heads: probe.heads,
        projected: probe.projected.map {
          let matrix = arena.matrix(70, probe.heads * 8)
          matrix.dense.copy(from: $0)
          return matrix
        }, output: arena.matrix(70, probe.heads * 8))
      let past = layer.past(head: 1, length: 90, headWidth: 8, pass: probe.pass, from: arena)
      for row in 0..<70 {
        let own = HeadRow(group, head: 1, row: row, position: row)
        scratch.frame { past.enter(own, scratch: scratch) }
      }
      scratch.frame {
        past.attend(HeadRow(group, head: 1, row: 69, position: 69), scratch: scratch)
      }
      #expect(
        group.output.row(69)[8..<16].array.bitPatterns
          == whole[probe.place(row: 69, head: 1)].bitPatterns, "\(layer)")
    }
  }
}
