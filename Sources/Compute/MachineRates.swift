// What this machine reaches at best, measured in this process: the yardsticks of `benchmark`.
import CKernels

/// Rates over all threads of an engine, in 1e9 operations per second.
public struct MachineRates: Sendable {
  /// Multiply-adds on registers, the limit of any product.
  public let fmaGflops: Double
  /// Products of 512 x 512 by the matrix library, one per thread.
  public let sgemmGflops: Double

  /// Measures for about half a second; the best of several tries counts.
  public init(_ engine: Engine) {
    fmaGflops = Self.best(engine) { _ in
      var result: Float = 0.5
      return ck_fma_loop(1_000_000, &result)
    }
    let size = 512
    sgemmGflops = Self.best(engine) { scratch in
      let (a, b) = (scratch.matrix(size, size), scratch.matrix(size, size))
      let c = scratch.matrix(size, size)
      a.fill(0.5)
      b.fill(0.25)
      for _ in 0..<8 { multiply(a.plain, b.plain, into: c) }
      return 8 * 2 * Double(size * size * size)
    }
  }

  private static func best(_ engine: Engine, _ body: (ScratchArena) -> Double) -> Double {
    let threads = engine.pool.threadCount
    var best = 0.0
    for _ in 0..<12 {
      let operations = Buffer<Double>(threads)
      let start = ContinuousClock.now
      engine.pool.run(threads) { index, scratch in operations.view[index] = body(scratch) }
      let elapsed = (ContinuousClock.now - start).components
      let seconds = Double(elapsed.seconds) + Double(elapsed.attoseconds) * 1e-18
      best = max(best, operations.view.array.reduce(0, +) / seconds * 1e-9)
    }
    return best
  }
}
