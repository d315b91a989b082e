// Sums the gradients of a rank's own samples, each computed alone, in the order of `ReductionTree`.
import Compute

/// Hands out a place for the gradient of each sample and keeps their sum.
///
/// Use per step: for each sample `next`, then `push`; `total` ends the step. To send parts of the sum
/// while the last sample is still in backward, skip its `push` and call `sumLast` for each part as it
/// becomes final. Buffers are allocated when first needed and reused over steps; one sample needs one
/// buffer and no addition.
public final class GradientAccumulator {
  /// Elements of a gradient.
  public let count: Int
  private let pool: WorkerPool?
  private var tree = ReductionTree<Buffer<Float>>()
  private var current: Buffer<Float>?
  private var free: [Buffer<Float>] = []
  private var sum: Buffer<Float>?
  private var summedOfLast = 0

  /// Buffers allocated so far, `count` floats each.
  public private(set) var bufferCount = 0

  /// An accumulator of gradients of `count` floats; additions run on `pool` if there is one.
  public init(count: Int, pool: WorkerPool? = nil) {
    self.count = count
    self.pool = pool
  }

  /// The most buffers that steps of `samples` samples need, for the memory plan.
  public static func bufferCount(samples: Int) -> Int {
    // floor(log2) + 1: while the last sample of a power of two is computed, every smaller power has a
    // partial sum.
    Int.bitWidth - max(samples, 1).leadingZeroBitCount
  }

  /// Where the gradient of the next sample is to be set; after `total`, the first of a new step.
  ///
  /// It holds what it held; padding between parameters, zero at first, is to be left alone. The last step's total is
  /// no longer valid after this.
  public func next() -> View<Float> {
    precondition(current == nil, "the gradient handed out last was not pushed")
    if let sum { free.append(sum) }
    sum = nil
    let buffer = take()
    current = buffer
    return buffer.view
  }

  /// Merges the gradient handed out last.
  public func push() {
    guard let buffer = current, summedOfLast == 0 else {
      preconditionFailure("push without a gradient handed out")
    }
    current = nil
    tree.push(buffer) { merge($0, $1) }
  }

  /// Makes `range` of the sum final while the step's last sample is still being computed.
  ///
  /// Call once for each part whose gradient of the last sample is final. Returns the whole sum, of which
  /// only the parts named so far are valid.
  public func sumLast(_ range: Range<Int>) -> View<Float> {
    guard let last = current else { preconditionFailure("no last sample") }
    summedOfLast += range.count
    // The tree stays as it is for the next range.
    var copy = tree
    copy.push(last) { add($1, to: $0, range) }
    return (copy.fold { add($1, to: $0, range) } ?? last).view
  }

  /// The sum of all samples of this step; valid until `next`.
  ///
  /// Traps if `sumLast` was used for some parts and not for all. Zeros when there was no sample.
  public func total() -> View<Float> {
    if let sum { return sum.view }
    let result: Buffer<Float>
    if let last = current {
      precondition(summedOfLast == count, "\(summedOfLast) of \(count) elements are summed")
      tree.push(last) { keepFirst($0, $1) }
      result = tree.fold { keepFirst($0, $1) } ?? last
      current = nil
      summedOfLast = 0
    } else {
      result = tree.fold { merge($0, $1) } ?? zeros()
    }
    sum = result
    return result.view
  }

  private func take() -> Buffer<Float> {
    if let used = free.popLast() { return used }
    bufferCount += 1
    return Buffer<Float>(count)
  }

  private func zeros() -> Buffer<Float> {
    let buffer = take()
    buffer.view.fill(0)
    return buffer
  }

  private func merge(_ earlier: Buffer<Float>, _ later: Buffer<Float>) -> Buffer<Float> {
    keepFirst(add(later, to: earlier, 0..<count), later)
  }

  private func keepFirst(_ earlier: Buffer<Float>, _ later: Buffer<Float>) -> Buffer<Float> {
    free.append(later)
    return earlier
  }

  private func add(
    _ later: Buffer<Float>, to earlier: Buffer<Float>, _ range: Range<Int>
  ) -> Buffer<Float> {
    let sum = earlier.view
    let other = later.view
    ParallelLoops.tiles(of: range, on: pool) { Kernels.add(sum[$0], other[$0]) }
    return earlier
  }
}
