// Memory of the trainer: `Buffer` owns, `View` lends. Views are handed to worker threads, each of
// which gets a disjoint part; that is why they are pointers checked where they are cut, and not
// spans.
import CKernels
import Glibc

/// A fixed-size, 64-byte aligned, zero-filled array that owns its memory.
public final class Buffer<Element: BitwiseCopyable>: @unchecked Sendable {
  /// Everything in the buffer; valid while the buffer lives.
  public let view: View<Element>
  private let mappedBytes: Int

  /// Number of elements.
  public var count: Int { view.count }

  /// Allocates `count` zeros.
  ///
  /// Large buffers come straight from the kernel, so untouched pages cost nothing.
  public init(_ count: Int) {
    precondition(count >= 0, "negative buffer size \(count)")
    let bytes = max(count, 1) * MemoryLayout<Element>.stride
    var raw: UnsafeMutableRawPointer?
    if bytes >= 1 << 20 {
      mappedBytes = bytes
      raw = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
      precondition(raw != MAP_FAILED, "out of memory: \(bytes) bytes")
      // Gathers by bucket touch rows all over the buffer; large pages keep them in the TLB.
      _ = madvise(raw, bytes, MADV_HUGEPAGE)
    } else {
      mappedBytes = 0
      precondition(posix_memalign(&raw, 64, bytes) == 0, "out of memory: \(bytes) bytes")
      if let raw { memset(raw, 0, bytes) }
    }
    guard let raw else { preconditionFailure("out of memory: \(bytes) bytes") }
    view = View(base: raw.bindMemory(to: Element.self, capacity: max(count, 1)), count: count)
  }

  deinit {
    if mappedBytes > 0 { munmap(view.base, mappedBytes) } else { free(view.base) }
  }
}

/// A checked, non-owning window on elements of a `Buffer`.
///
/// The lender keeps the buffer alive; concurrent users must hold disjoint views.
public struct View<Element: BitwiseCopyable>: @unchecked Sendable {
  /// First element.
  public let base: UnsafeMutablePointer<Element>
  /// Number of elements.
  public let count: Int

  /// Wraps `count` elements at `base`.
  public init(base: UnsafeMutablePointer<Element>, count: Int) {
    self.base = base
    self.count = count
  }

  /// One element; traps out of range.
  public subscript(index: Int) -> Element {
    get {
      precondition(index >= 0 && index < count, "index \(index) outside 0..<\(count)")
      return base[index]
    }
    nonmutating set {
      precondition(index >= 0 && index < count, "index \(index) outside 0..<\(count)")
      base[index] = newValue
    }
  }

  /// The part `range`; traps out of range.
  public subscript(range: Range<Int>) -> View {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= count, "range \(range) outside 0..<\(count)")
    return View(base: base + range.lowerBound, count: range.count)
  }

  /// Sets every element.
  public func fill(_ value: Element) { base.update(repeating: value, count: count) }

  /// Copies all of `other`, which has the same count.
  public func copy(from other: View) {
    precondition(other.count == count, "copy of \(other.count) elements into \(count)")
    base.update(from: other.base, count: count)
  }

  /// Asks for the cache line of the first element, which is soon read.
  public func fetch() { ck_fetch(base) }

  /// The elements as an array.
  public var array: [Element] { Array(UnsafeBufferPointer(start: base, count: count)) }

  /// Copies an array of the same count.
  public func copy(from array: [Element]) {
    precondition(array.count == count, "copy of \(array.count) elements into \(count)")
    array.withUnsafeBufferPointer { source in
      if let start = source.baseAddress { base.update(from: start, count: count) }
    }
  }

  /// The memory as bytes, for writing to and reading from files and the network.
  public var bytes: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(start: base, count: count))
  }
}
