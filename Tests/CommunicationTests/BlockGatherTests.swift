import Communication
import Compute
import TestSupport
import Testing

@Suite("Blocks from every rank to every rank")
struct BlockGatherTests {
  @Test("all ranks hold all blocks, those of ranks with none too", arguments: [1, 2, 3, 5])
  func gather(ranks: Int) throws {
    // The block of rank r is r numbers, so the first has none.
    let blocks = (0..<ranks).map { $0 * ($0 - 1) / 2..<$0 * ($0 + 1) / 2 }
    let count = blocks[ranks - 1].upperBound
    let expected = blocks.enumerated().flatMap { rank, block in block.map { 100 * rank + $0 } }
    let held = try ThreadedCommunicator.run(ranks: ranks) { communicator in
      let values = Buffer<Int>(count)
      for round in 0..<20 {
        values.view.fill(-1)
        for place in blocks[communicator.rank] {
          values.view[place] = 100 * communicator.rank + place + round
        }
        try communicator.gather(values.view, blocks: blocks)
        guard values.view.array == expected.map({ $0 + round }) else { return false }
      }
      return true
    }
    #expect(held == [Bool](repeating: true, count: ranks))
  }
}
