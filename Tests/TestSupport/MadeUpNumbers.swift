// Numbers for tests: awkward, but the same every time.
import Compute

/// `count` standard normal numbers times `scale`, a function of the seed.
public func madeUpNormals(_ count: Int, seed: UInt64, scale: Float = 1) -> [Float] {
  let buffer = Buffer<Float>(count)
  RandomAddress(seed: seed, step: 0, sample: 0).stream(.sampling).normal(into: buffer.view)
  return buffer.view.array.map { $0 * scale }
}

/// `count` token ids below `vocabulary`, a function of the seed.
public func madeUpTokens(_ count: Int, vocabulary: Int, seed: UInt64) -> [Int32] {
  let stream = RandomAddress(seed: seed, step: 1, sample: 0).stream(.sampling)
  return (0..<count).map { Int32(stream.bits($0) % UInt32(vocabulary)) }
}

extension Engine {
  /// Fills scratch with NaN, `count` floats per arena, so that whoever reads before writing shows.
  public func poison(_ count: Int) {
    scratch.frame { scratch.floats(count).fill(.nan) }
    // The pool hands out tasks by chance: with many, each thread most likely gets one.
    pool.run(64 * pool.threadCount) { _, arena in arena.floats(count).fill(.nan) }
  }
}
