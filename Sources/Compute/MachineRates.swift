// What this machine reaches at best, measured in this process: the yardsticks of `benchmark`.
import CKernels

/// Rates over all threads of an engine, in 1e9 operations per second.
public struct MachineRates: Sendable {
  /// Multiply-adds on registers, the limit of any product.
  public let fmaGflops: Double
  /// The same of bf16 numbers; 0 where no instruction is there for them.
  public let bf16Gflops: Double
  /// Products of 512 x 512 by tiles, one per thread.
  public let tilesGflops: Double
  /// The same of bf16 numbers, by the instruction or by what takes its place.
  public let bf16TilesGflops: Double
  /// The limit of bf16 numbers by AMX; 0 where the processor has none.
  public let amxGflops: Double
  /// Products of bf16 numbers `InBlocks`; 0 where the processor has none.
  public let amxTilesGflops: Double
  /// The same by OpenBLAS.
  public let openblasGflops: Double

  /// Measures for about a second; the best of several tries counts.
  public init(_ engine: Engine) {
    // Products first: they take long enough for the system to give each thread a core.
    let size = 512
    func products(_ multiply: @escaping (Matrix, Matrix, Matrix) -> Void) -> Double {
      Self.best(engine) { scratch in
        let matrices = (0..<3).map { _ in scratch.matrix(size, size) }
        matrices[0].fill(0.5)
        matrices[1].fill(0.25)
        for _ in 0..<8 { multiply(matrices[0], matrices[1], matrices[2]) }
        return 8 * 2 * Double(size * size * size)
      }
    }
    // A square of whole strips: the same numbers in any layout.
    tilesGflops = products { a, b, c in
      tileProduct(
        a.left, Packed(b.dense, rows: size, columns: size), into: c.result, by: .tiles)
    }
    // Portable ones take a hundred times as long.
    let bf16Size = InPairs.isFast ? size : size / 4
    func bf16Products<Sums: PairSums>(_: Sums.Type) -> Double {
      Self.best(engine) { scratch in
        let matrix = scratch.matrix(bf16Size, bf16Size)
        matrix.fill(0.5)
        let factor = scratch.factor(bf16Size, bf16Size, .both, of: BFloat16Pair<Sums>.self)
        factor.copy(from: matrix)
        for _ in 0..<8 { tileProduct(factor.left, factor.right, into: matrix.result, by: .tiles) }
        return 8 * 2 * Double(bf16Size * bf16Size * bf16Size)
      }
    }
    bf16TilesGflops = bf16Products(InPairs.self)
    amxTilesGflops = InBlocks.isFast ? bf16Products(InBlocks.self) : 0
    openblasGflops = products { OpenBLAS.multiply($0, $1, into: $2) }
    fmaGflops = Self.best(engine) { _ in
      var result: Float = 0.5
      return ck_fma_loop(1_000_000, &result)
    }
    func bf16Limit(_ loop: (Int, UnsafeMutablePointer<Float>?) -> Double) -> Double {
      Self.best(engine) { _ in
        var result: Float = 0
        return loop(1_000_000, &result)
      }
    }
    bf16Gflops = InPairs.isFast ? bf16Limit(ck_pair_loop) : 0
    amxGflops = InBlocks.isFast ? bf16Limit(ck_block_loop) : 0
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
