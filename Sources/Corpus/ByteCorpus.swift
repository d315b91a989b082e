// The corpus: one file of raw bytes, mapped read-only and cut into train, validation and test.
// BatchPlan chooses windows of it, Batch turns a window into tokens.
import Foundation
import Glibc

/// A memory-mapped file of bytes and its three splits.
///
/// Bytes are read on demand, so a corpus may be larger than memory. The file must not shrink while it
/// is mapped.
public final class ByteCorpus: @unchecked Sendable {
  /// Where the file was found, as given.
  public let path: String
  /// How the bytes are shared out.
  public let fractions: SplitFractions
  /// Number of bytes in the file.
  public let count: Int
  // Read-only for the object's whole life, hence Sendable.
  private let base: UnsafeMutableRawPointer
  private let descriptor: CInt

  /// Maps the file at `path`.
  ///
  /// Throws a `CorpusError` when it is missing, empty, a folder or unreadable.
  public init(path: String, fractions: SplitFractions = .standard) throws(CorpusError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      if errno == ENOENT { throw .missing(path: path) }
      throw .unreadable(path: path, reason: Self.systemReason())
    }
    do throws(CorpusError) {
      let size = try Self.size(of: descriptor, path: path)
      guard let base = mmap(nil, size, PROT_READ, MAP_SHARED, descriptor, 0), base != MAP_FAILED
      else { throw .unreadable(path: path, reason: Self.systemReason()) }
      // Windows are far apart: reading ahead would fetch bytes nobody asked for.
      _ = madvise(base, size, MADV_RANDOM)
      self.base = base
      count = size
    } catch {
      close(descriptor)
      throw error
    }
    self.path = path
    self.fractions = fractions
    self.descriptor = descriptor
  }

  deinit {
    munmap(base, count)
    close(descriptor)
  }

  /// The places of the bytes of `split` in the file.
  public func range(of split: CorpusSplit) -> Range<Int> {
    fractions.range(of: split, count: count)
  }

  /// The byte at `position`; traps outside the file.
  public subscript(position: Int) -> UInt8 {
    precondition(position >= 0 && position < count, "byte \(position) of \(count)")
    return base.load(fromByteOffset: position, as: UInt8.self)
  }

  /// A copy of the bytes in `range`; traps outside the file.
  public func bytes(in range: Range<Int>) -> [UInt8] {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= count, "bytes \(range) of \(count)")
    let copy = [UInt8](UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count))
    release(range)
    return copy
  }

  /// The identity of the content: equal on all ranks at start, and equal again on resume.
  ///
  /// Reads the whole file once, in pieces. Throws `CorpusError.unreadable`.
  public func digest() throws(CorpusError) -> CorpusDigest {
    // Not through the mapping: pages read there would count as resident memory of this process.
    _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL)
    let pieceBytes = 1 << 20
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: pieceBytes, alignment: 16)
    defer { piece.deallocate() }
    var hash = XXHash64()
    var position = 0
    while position < count {
      let wanted = min(pieceBytes, count - position)
      var filled = 0
      while filled < wanted {
        let got = pread(
          descriptor, piece.baseAddress.map { $0 + filled }, wanted - filled,
          off_t(position + filled))
        if got < 0 && errno == EINTR { continue }
        guard got >= 0 else { throw .unreadable(path: path, reason: Self.systemReason()) }
        guard got > 0 else {
          throw .unreadable(
            path: path, reason: "it shrank from \(count) to \(position + filled) bytes")
        }
        filled += got
      }
      hash.update(UnsafeRawBufferPointer(rebasing: piece[..<wanted]))
      position += wanted
    }
    return CorpusDigest(bytes: count, xxh64: hash.finish())
  }

  // Unmaps pages that were just copied; the kernel keeps them cached. Otherwise a long run would end up
  // with the whole corpus in its resident size, which `plan` promises to predict. Faults map up to
  // 64 KiB around an address, so that is the unit.
  private func release(_ range: Range<Int>) {
    let unit = 1 << 16
    let start = range.lowerBound / unit * unit
    let end = min(count, (range.upperBound + unit - 1) / unit * unit)
    _ = madvise(base + start, end - start, MADV_DONTNEED)
  }

  private static func size(of descriptor: CInt, path: String) throws(CorpusError) -> Int {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw .unreadable(path: path, reason: systemReason())
    }
    switch status.st_mode & S_IFMT {
    case S_IFREG: break
    case S_IFDIR: throw .folder(path: path)
    default: throw .notAFile(path: path)
    }
    guard status.st_size > 0 else { throw .empty(path: path) }
    return Int(status.st_size)
  }

  // The text of errno, which a later call may overwrite.
  private static func systemReason() -> String { String(cString: strerror(errno)) }
}
