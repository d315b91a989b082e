// Passes that are given up between two tasks: what was left out is never read as if it had been computed.
import Attention
import Compute
import Reformer
import TestSupport
import Testing

@Suite("Cancelled passes")
struct CancellationTests {
  /// What the watch of a pool counts with.
  private final class Count {
    var tasks = 0
  }

  @Test(
    "a pass that is given up after any task ends, and the next one is as if there had been none",
    arguments: AttentionKind.allCases)
  func anywhere(kind: AttentionKind) throws {
    let probe = try ModelProbe(
      smallConfig([kind, .local], ngrams: NGramSizes(orders: [2, 4], rows: 50)))
    let pool = probe.engine.pool
    let count = Count()
    pool.watch = { if $0 != nil { count.tasks += 1 } }
    let loss = try probe.step()
    let gradients = probe.gradients.view.array
    let tasks = count.tasks
    #expect(tasks > 20)
    for last in stride(from: 0, to: tasks, by: 3) {
      // As integers, too, these are no sizes and no places.
      probe.engine.poison(1 << 16)
      count.tasks = 0
      pool.watch = {
        if $0 != nil { count.tasks += 1 }
        if count.tasks > last { pool.isCancelled = true }
      }
      _ = try? probe.step()
      #expect(pool.isCancelled)
      pool.watch = nil
      pool.isCancelled = false
    }
    #expect(try probe.step() == loss)
    #expect(probe.gradients.view.array == gradients)
  }
}
