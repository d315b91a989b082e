// The two residual streams: 32-bit fixed point, because integer sums can be undone exactly. All arithmetic on
// them is here.
import Compute
import Synchronization

/// The rows of one stream that a pass computes, `[rows, D]`.
struct ResidualStream {
  let values: View<Int32>
  /// Position of the first row.
  let first: Int
  let width: Int
  let fractionBits: Int

  private var step: Float { Float(sign: .plus, exponent: -fractionBits, significand: 1) }

  /// Some of its rows, as a stream of their own that begins at position 0.
  func part(_ rows: Range<Int>) -> ResidualStream {
    ResidualStream(values: values(rows), first: 0, width: width, fractionBits: fractionBits)
  }

  /// The values of positions.
  func values(_ rows: Range<Int>) -> View<Int32> {
    values[(rows.lowerBound - first) * width..<(rows.upperBound - first) * width]
  }

  /// The values of `rows` as floats into `out` `[rows, D]`, which may be part of wider rows.
  func read(_ rows: Range<Int>, into out: Matrix) {
    if out.stride == width {
      Kernels.floats(
        of: values(rows), step: step, into: out.dense)
    } else {
      for (index, row) in rows.enumerated() {
        Kernels.floats(
          of: values(row..<row + 1), step: step, into: out.row(index))
      }
    }
  }

  /// `values` of the stream, or a part of a row, as floats into `out`.
  func read(_ values: View<Int32>, into out: View<Float>) {
    Kernels.floats(of: values, step: step, into: out)
  }

  /// Adds or takes away `change` `[rows, D]`, rounded; reports values out of range to `check`.
  func apply(_ change: Matrix, to rows: Range<Int>, _ direction: Direction, check: RangeCheck) {
    let bad = Kernels.accumulate(
      change.dense, into: values(rows),
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
