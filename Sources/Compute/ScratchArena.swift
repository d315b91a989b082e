// Lent memory. A step takes its scratch from arenas and gives it back in reverse order, so nothing is
// allocated after the first step and peak use is one number.
import Glibc

/// A stack of scratch memory for one thread at a time.
///
/// The address range is reserved once and pages become real when first touched, so an arena costs its
/// high-water mark, not its capacity.
public final class ScratchArena: @unchecked Sendable {
  private let base: UnsafeMutableRawPointer
  private let capacity: Int
  private var used = 0
  let laps = LapTimer()
  /// Most bytes ever lent at once.
  public private(set) var highWaterBytes = 0

  /// Reserves address space for `capacity` bytes.
  public init(capacity wanted: Int = 1 << 38) {
    var size = wanted
    var raw: UnsafeMutableRawPointer? = MAP_FAILED
    // Limits on address space (ulimit -v) make large reservations fail; a smaller one may still do.
    while raw == MAP_FAILED && size >= 1 << 20 {
      raw = mmap(
        nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
      if raw == MAP_FAILED { size /= 2 }
    }
    guard let raw, raw != MAP_FAILED else {
      preconditionFailure("cannot reserve \(wanted) bytes of address space")
    }
    _ = madvise(raw, size, MADV_HUGEPAGE)
    base = raw
    capacity = size
  }

  deinit { munmap(base, capacity) }

  /// Runs `body` and takes back everything it was lent.
  public func frame<Result, Failure: Error>(
    _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let mark = used
    defer { used = mark }
    return try body()
  }

  private func take<Element: BitwiseCopyable>(_ count: Int, as: Element.Type) -> View<Element> {
    precondition(count >= 0, "negative scratch size \(count)")
    let bytes = (count * MemoryLayout<Element>.stride + 63) / 64 * 64
    precondition(used + bytes <= capacity, "scratch of \(used + bytes) bytes exceeds \(capacity)")
    let start = base + used
    used += bytes
    highWaterBytes = max(highWaterBytes, used)
    return View(
      base: start.bindMemory(to: Element.self, capacity: max(count, 1)), count: count)
  }

  /// Lends `count` floats with undefined contents until the enclosing frame ends.
  public func floats(_ count: Int) -> View<Float> { take(count, as: Float.self) }

  /// Lends `count` 32-bit integers with undefined contents until the enclosing frame ends.
  public func integers(_ count: Int) -> View<Int32> { take(count, as: Int32.self) }

  /// Lends a dense matrix with undefined contents until the enclosing frame ends.
  public func matrix(_ rows: Int, _ columns: Int) -> Matrix {
    Matrix(floats(rows * columns), rows: rows, columns: columns)
  }
}
