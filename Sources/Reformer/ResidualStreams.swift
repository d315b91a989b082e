// The two residual streams: 32-bit fixed point, because integer sums can be undone exactly (DESIGN
// section 2). All arithmetic on them is here.
import Compute
import Synchronization

/// Why a pass over a window failed.
public enum ReformerError: Error, CustomStringConvertible {
  /// A residual stream left its range, or a sub-layer gave a number that is not finite.
  case streamRange(place: String, count: Int, fractionBits: Int)
  /// The caller asked to give the pass up.
  case stopped

  /// One line: where, what, what to do.
  public var description: String {
    switch self {
    case .stopped: return "given up on request"
    case .streamRange(let place, let count, let bits):
      let range = 1 << (31 - bits)
      return
        "\(place): \(count) values of the residual stream are not finite or outside ±\(range); "
        + "training diverged (lower optimizer.learning_rate or set optimizer.clip), or "
        + "model.residual_fraction_bits = \(bits) leaves too little range"
    }
  }
}

/// One stream, `[L, D]`.
struct ResidualStream {
  let values: View<Int32>
  let width: Int
  let fractionBits: Int

  private var step: Float { Float(sign: .plus, exponent: -fractionBits, significand: 1) }

  /// The values of `rows` as floats into `out` `[rows, D]`, which may be part of wider rows.
  func read(_ rows: Range<Int>, into out: Matrix) {
    if out.stride == width {
      Kernels.floats(
        of: values[rows.lowerBound * width..<rows.upperBound * width], step: step, into: out.dense)
    } else {
      for (index, row) in rows.enumerated() {
        Kernels.floats(
          of: values[row * width..<(row + 1) * width], step: step, into: out.row(index))
      }
    }
  }

  /// Adds or takes away `change` `[rows, D]`, rounded; reports values out of range to `check`.
  func apply(_ change: Matrix, to rows: Range<Int>, _ direction: Direction, check: RangeCheck) {
    let bad = Kernels.accumulate(
      change.dense, into: values[rows.lowerBound * width..<rows.upperBound * width],
      inverseStep: 1 / step, subtract: direction == .backward)
    if bad > 0 { check.report(bad) }
  }
}

/// Whether a sub-layer's output enters the stream (forward) or is taken out again (backward).
enum Direction: Sendable {
  case forward
  case backward
}

/// Counts values out of range over the threads of a region.
final class RangeCheck: Sendable {
  private let count = Atomic<Int>(0)

  func report(_ bad: Int) { count.add(bad, ordering: .relaxed) }

  /// Throws when anything was reported.
  func pass(_ place: @autoclosure () -> String, fractionBits: Int) throws(ReformerError) {
    let bad = count.load(ordering: .relaxed)
    guard bad > 0 else { return }
    throw .streamRange(place: place(), count: bad, fractionBits: fractionBits)
  }
}
