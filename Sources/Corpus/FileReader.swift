// Reading from many files with few of them open at a time.
import Glibc
import Synchronization

/// Reads bytes of files, which must stay as they were found.
///
/// Files are opened when they are first read; those read last stay open.
final class FileReader: Sendable {
  let files: [CorpusFile]
  private let open = Mutex<[OpenFile]>([])
  private struct OpenFile {
    let index: Int
    let descriptor: CInt
  }
  /// A process may have 1,024 files open, MPI and checkpoints included.
  private static let mostOpen = 32

  init(files: [CorpusFile]) { self.files = files }

  deinit { open.withLock { for file in $0 { close(file.descriptor) } } }

  /// Fills `target` from `offset` of file number `index` on.
  ///
  /// Throws `CorpusError.unreadable` where that fails, and where the file is another than at the
  /// start.
  func read(
    _ index: Int, at offset: Int, into target: UnsafeMutableRawBufferPointer
  ) throws(CorpusError) {
    try open.withLock { (open) throws(CorpusError) in
      let descriptor: CInt
      if let place = open.lastIndex(where: { $0.index == index }) {
        descriptor = open[place].descriptor
        // The last one is the one used last.
        if place != open.count - 1 { open.append(open.remove(at: place)) }
      } else {
        descriptor = try reopen(index)
        if open.count == Self.mostOpen { close(open.removeFirst().descriptor) }
        open.append(OpenFile(index: index, descriptor: descriptor))
      }
      try fill(target, from: descriptor, index: index, at: offset)
    }
  }

  /// Calls `body` with all of file number `index`, piece by piece: where each begins, and its bytes.
  ///
  /// Throws as `read`.
  func eachPiece(
    of index: Int, _ body: (Int, UnsafeRawBufferPointer) throws(CorpusError) -> Void
  ) throws(CorpusError) {
    var bytes = [UInt8](repeating: 0, count: min(1 << 20, files[index].count))
    for offset in stride(from: 0, to: files[index].count, by: bytes.count) {
      let count = min(bytes.count, files[index].count - offset)
      try bytes.withUnsafeMutableBufferPointer { (buffer) throws(CorpusError) in
        let piece = UnsafeMutableRawBufferPointer(
          UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
        try read(index, at: offset, into: piece)
        try body(offset, UnsafeRawBufferPointer(piece))
      }
    }
  }

  private func reopen(_ index: Int) throws(CorpusError) -> CInt {
    let file = files[index]
    let descriptor = try CorpusFile.open(file.path)
    do throws(CorpusError) {
      let identity = try CorpusFile.identity(of: descriptor, path: file.path)
      guard identity.bytes >= file.count else { throw shrank(index, to: identity.bytes) }
      guard identity.hasContent(of: file.identity) else {
        throw .unreadable(path: file.path, reason: "it changed since the start")
      }
    } catch {
      close(descriptor)
      throw error
    }
    return descriptor
  }

  private func fill(
    _ target: UnsafeMutableRawBufferPointer, from descriptor: CInt, index: Int, at offset: Int
  ) throws(CorpusError) {
    var filled = 0
    while filled < target.count {
      let got = pread(
        descriptor, target.baseAddress.map { $0 + filled }, target.count - filled,
        off_t(offset + filled))
      if got < 0 && errno == EINTR { continue }
      guard got >= 0 else {
        throw .unreadable(path: files[index].path, reason: systemReason())
      }
      guard got > 0 else { throw shrank(index, to: offset + filled) }
      filled += got
    }
  }

  private func shrank(_ index: Int, to bytes: Int) -> CorpusError {
    .unreadable(
      path: files[index].path, reason: "it shrank from \(files[index].count) to \(bytes) bytes")
  }
}
