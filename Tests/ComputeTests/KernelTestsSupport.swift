// What the kernel tests share: levels to run at, made-up numbers, guarded memory, closeness.
import CKernels

/// Every instruction-set level this CPU can run.
let kernelLevels = Array(0...ck_best_level())

/// Sizes around the vector widths 4, 8 and 16 and the four-vector steps of the sums.
let awkwardSizes = [1, 3, 7, 16, 33, 64, 100, 257]

/// Runs `body` with this thread's kernels at `level`.
func atLevel<Result>(_ level: Int32, _ body: () throws -> Result) rethrows -> Result {
  precondition(ck_set_thread_level(level) == 0, "level \(level) cannot run here")
  defer { _ = ck_set_thread_level(-1) }
  return try body()
}

/// A small generator (SplitMix64) that owes nothing to the kernels under test.
struct Dice {
  var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Uniform in [-limit, limit).
  mutating func float(_ limit: Double = 1) -> Float {
    Float((Double(next() >> 11) * 0x1p-53 * 2 - 1) * limit)
  }

  mutating func floats(_ count: Int, _ limit: Double = 1) -> [Float] {
    (0..<count).map { _ in float(limit) }
  }

  mutating func integer(below limit: Int) -> Int { Int(next() % UInt64(limit)) }
}

/// A copy of an array between canaries, at any alignment, so that a kernel that reads or writes at
/// the wrong place is caught.
final class Guarded<Element: BitwiseCopyable> {
  let pointer: UnsafeMutablePointer<Element>
  private let memory: UnsafeMutableRawBufferPointer
  private let range: Range<Int>
  private let count: Int
  private static var canary: UInt8 { 0xA5 }

  /// `shift` elements past a 64-byte boundary.
  init(_ values: [Element], shift: Int = 0) {
    let stride = MemoryLayout<Element>.stride
    let start = 128 + shift * stride
    let size = 256 + (values.count + shift) * stride
    let base = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64)
    base.initializeMemory(as: UInt8.self, repeating: Self.canary, count: size)
    pointer = (base + start).initializeMemory(as: Element.self, from: values, count: values.count)
    memory = UnsafeMutableRawBufferPointer(start: base, count: size)
    range = start..<(start + values.count * stride)
    count = values.count
  }

  deinit { memory.deallocate() }

  /// The elements now.
  var values: [Element] { Array(UnsafeBufferPointer(start: pointer, count: count)) }

  /// The elements' bytes, for comparisons bit by bit.
  var bytes: [UInt8] { Array(memory[range]) }

  /// Whether nothing outside the elements changed.
  var isIntact: Bool {
    memory[..<range.lowerBound].allSatisfy { $0 == Self.canary }
      && memory[range.upperBound...].allSatisfy { $0 == Self.canary }
  }
}

/// The largest error as a multiple of what is allowed.
///
/// Allowed is `absolute + relative * |expected|`, so the result is at most 1 when all is well. It is
/// infinite when counts differ or a result is not a number.
func worstError(
  _ actual: [Float], _ expected: [Double], absolute: Double, relative: Double = 0
) -> Double {
  guard actual.count == expected.count else { return .infinity }
  return zip(actual, expected).reduce(0) { worst, pair in
    let error = abs(Double(pair.0) - pair.1) / (absolute + relative * abs(pair.1))
    return error.isNaN ? .infinity : max(worst, error)
  }
}

/// Same bits, so that zeros of different sign differ and equal NaN do not.
func sameBits(_ a: [Float], _ b: [Float]) -> Bool { a.map(\.bitPattern) == b.map(\.bitPattern) }

/// Central differences of `value` at `point`, in double precision.
///
/// With a step of 1e-5 both the truncation error (about step squared) and the rounding error (about
/// 1e-16 / step) stay near 1e-10, far below the single precision of the kernels they judge.
func differences(of value: ([Double]) -> Double, at point: [Double]) -> [Double] {
  let step = 1e-5
  return point.indices.map { i in
    var moved = point
    moved[i] = point[i] + step
    let above = value(moved)
    moved[i] = point[i] - step
    return (above - value(moved)) / (2 * step)
  }
}
