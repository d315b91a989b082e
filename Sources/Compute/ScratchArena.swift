// Lent memory. A step takes its scratch from arenas and gives it back in reverse order, so nothing is
// allocated once the arenas have grown to what a step needs, and peak use is one number.
import Glibc

/// A stack of scratch memory for one thread at a time.
///
/// It has as much address space as was in use at once, no more: a limit on it (`ulimit -v`, strict overcommit)
/// leaves the rest to others. What a growing arena is asked for beyond its memory comes from a further piece;
/// as soon as all is given back, one piece as large as the peak takes their place.
public final class ScratchArena: @unchecked Sendable {
  /// Memory that follows in one piece.
  private struct Piece {
    let base: UnsafeMutableRawPointer
    let capacity: Int
    var used = 0
  }

  // One thread at a time uses an arena; to check each access costs as much as what is lent to a row.
  @exclusivity(unchecked) private var pieces: [Piece] = []
  /// The piece that lends.
  @exclusivity(unchecked) private var current = 0
  /// Bytes lent from the pieces before it.
  @exclusivity(unchecked) private var usedBefore = 0
  let laps = LapTimer()
  /// Whether what was lent is there when it is asked for again, in the same order.
  private let keepsContents: Bool
  /// Most bytes ever lent at once.
  @exclusivity(unchecked) public private(set) var highWaterBytes = 0

  /// An arena without memory; it grows with what it is asked for.
  ///
  /// One that `keepsContents` lends the same memory, contents and all, where a frame asks for the same as the one before; so
  /// its pieces stay as they are.
  public init(keepsContents: Bool = false) { self.keepsContents = keepsContents }

  deinit { for piece in pieces { munmap(piece.base, piece.capacity) } }

  /// Runs `body` and takes back everything it was lent.
  public func frame<Result, Failure: Error>(
    _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let (piece, before) = (current, usedBefore)
    let used = pieces.isEmpty ? 0 : pieces[piece].used
    defer {
      (current, usedBefore) = (piece, before)
      if !pieces.isEmpty { pieces[piece].used = used }
      if before + used == 0 && pieces.count > 1 && !keepsContents { unite() }
    }
    return try body()
  }

  func take<Element: BitwiseCopyable>(_ count: Int, as: Element.Type) -> View<Element> {
    precondition(count >= 0, "negative scratch size \(count)")
    let bytes = (count * MemoryLayout<Element>.stride + 63) / 64 * 64
    if pieces.isEmpty || pieces[current].used + bytes > pieces[current].capacity { grow(bytes) }
    let start = pieces[current].base + pieces[current].used
    pieces[current].used += bytes
    highWaterBytes = max(highWaterBytes, usedBefore + pieces[current].used)
    return View(
      base: start.bindMemory(to: Element.self, capacity: max(count, 1)), count: count)
  }

  /// Goes on to a piece that can lend `bytes`.
  private func grow(_ bytes: Int) {
    if !pieces.isEmpty {
      // What smaller loans once touched behind the present ones would count as memory of the process.
      let (piece, page) = (pieces[current], Int(sysconf(Int32(_SC_PAGESIZE))))
      let end = (piece.used + page - 1) / page * page
      if end < piece.capacity { madvise(piece.base + end, piece.capacity - end, MADV_DONTNEED) }
      usedBefore += piece.used
      current += 1
      while pieces.count > current && pieces[current].capacity < bytes {
        let small = pieces.removeLast()
        munmap(small.base, small.capacity)
      }
    }
    if pieces.count > current {
      pieces[current].used = 0
    } else {
      // An eighth more each time, so that many small loans do not make many pieces.
      pieces.append(Self.piece(max(bytes, usedBefore / 8)))
    }
  }

  /// Replaces all pieces, of which nothing is lent, by one.
  private func unite() {
    for piece in pieces { munmap(piece.base, piece.capacity) }
    pieces = [Self.piece(highWaterBytes)]
  }

  // Large pages keep gathers from all over a buffer in the TLB; a piece is whole ones.
  private static let largePage = 2 << 20

  private static func piece(_ bytes: Int) -> Piece {
    let size = (max(bytes, 1) + largePage - 1) / largePage * largePage
    guard
      let raw = mmap(
        nil, size + largePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      raw != MAP_FAILED
    else { preconditionFailure("out of memory: \(size) bytes of scratch") }
    // Cut to where large pages begin.
    let front = (largePage - Int(bitPattern: raw) % largePage) % largePage
    if front > 0 { munmap(raw, front) }
    munmap(raw + front + size, largePage - front)
    _ = madvise(raw + front, size, MADV_HUGEPAGE)
    return Piece(base: raw + front, capacity: size)
  }

  /// Lends `count` floats with undefined contents until the enclosing frame ends.
  public func floats(_ count: Int) -> View<Float> { take(count, as: Float.self) }

  /// Lends `count` 32-bit integers with undefined contents until the enclosing frame ends.
  public func integers(_ count: Int) -> View<Int32> { take(count, as: Int32.self) }

  /// Lends `count` doubles with undefined contents until the enclosing frame ends.
  public func doubles(_ count: Int) -> View<Double> { take(count, as: Double.self) }

  /// Lends a dense matrix with undefined contents until the enclosing frame ends.
  public func matrix(_ rows: Int, _ columns: Int) -> Matrix {
    Matrix(floats(rows * columns), rows: rows, columns: columns)
  }
}

extension ScratchArena {
  /// The running task has just finished a part of `phase`.
  public func lap(_ phase: Phase) { laps.lap(phase) }
}
