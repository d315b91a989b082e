// The work of a corpus's digest in shares, for ranks to take: each share is about 16 MiB of the
// files, hashed alone.

/// What has to be hashed for the digest of a corpus.
package struct DigestWork {
  private struct Piece {
    let file: Int
    let offset: Int
    let count: Int
  }

  private let corpus: ByteCorpus
  private let pieces: [Piece]
  /// The pieces of each share.
  private let shares: [Range<Int>]

  /// Cuts the files of `corpus` into pieces, and those into shares.
  package init(_ corpus: ByteCorpus) {
    self.corpus = corpus
    var pieces: [Piece] = []
    var shares: [Range<Int>] = []
    var bytes = 0
    for (index, file) in corpus.files.enumerated() {
      for offset in stride(from: 0, to: file.count, by: CorpusDigest.largestPiece) {
        let count = min(CorpusDigest.largestPiece, file.count - offset)
        // Small files share a share.
        if let last = shares.last, bytes + count <= CorpusDigest.largestPiece {
          shares[shares.count - 1] = last.lowerBound..<(pieces.count + 1)
          bytes += count
        } else {
          shares.append(pieces.count..<(pieces.count + 1))
          bytes = count
        }
        pieces.append(Piece(file: index, offset: offset, count: count))
      }
    }
    self.pieces = pieces
    self.shares = shares
  }

  /// Number of shares.
  package var shareCount: Int { shares.count }

  /// Hashes of the pieces of one share; nil when `shouldStop`, asked after each MiB, said so.
  package func hashes(
    share: Int, shouldStop: () -> Bool = { false }
  ) throws(CorpusError) -> [UInt64]? {
    var hashes: [UInt64] = []
    for piece in pieces[shares[share]] {
      var hash = XXHash64()
      guard
        try corpus.hash(
          into: &hash, file: piece.file, offset: piece.offset, count: piece.count,
          shouldStop: shouldStop)
      else { return nil }
      hashes.append(hash.finish())
    }
    return hashes
  }

  /// The digest, given what `hashes` returned for every share, in order.
  package func digest(hashes: [[UInt64]]) -> CorpusDigest {
    let hashes = hashes.flatMap { $0 }
    precondition(hashes.count == pieces.count, "\(hashes.count) hashes, \(pieces.count) pieces")
    if pieces.count == 1 { return CorpusDigest(bytes: corpus.count, xxh64: hashes[0]) }
    var words: [UInt64] = []
    for (piece, hash) in zip(pieces, hashes) {
      if piece.offset == 0 { words.append(UInt64(corpus.files[piece.file].count)) }
      words.append(hash)
    }
    var hash = XXHash64()
    words.map(\.littleEndian).withUnsafeBytes { hash.update($0) }
    return CorpusDigest(
      bytes: corpus.count, xxh64: hash.finish(), pieceBytes: CorpusDigest.largestPiece)
  }
}

/// The digest that programs up to commit 23e1935 made of a corpus of one file, a step at a time.
package struct WholeDigestWork {
  private let corpus: ByteCorpus
  private var hash = XXHash64()
  private var position = 0

  /// Begins at the first byte of `corpus`, which is one file.
  package init(_ corpus: ByteCorpus) {
    precondition(corpus.files.count == 1, "a whole digest of \(corpus.files.count) files")
    self.corpus = corpus
  }

  /// Number of steps.
  package var stepCount: Int {
    (corpus.count + CorpusDigest.largestPiece - 1) / CorpusDigest.largestPiece
  }

  /// Takes the next step; false when `shouldStop`, asked after each MiB, said so.
  package mutating func step(shouldStop: () -> Bool = { false }) throws(CorpusError) -> Bool {
    let count = min(CorpusDigest.largestPiece, corpus.count - position)
    defer { position += count }
    return try corpus.hash(
      into: &hash, file: 0, offset: position, count: count, shouldStop: shouldStop)
  }

  /// The digest, after all steps.
  package func digest() -> CorpusDigest {
    precondition(position == corpus.count, "\(position) of \(corpus.count) bytes hashed")
    return CorpusDigest(bytes: corpus.count, xxh64: hash.finish())
  }
}

extension ByteCorpus {
  /// The identity of the content: equal on all ranks at start, and equal again on resume.
  ///
  /// Reads all of it. Throws `CorpusError.unreadable`.
  public func digest() throws(CorpusError) -> CorpusDigest {
    if let sequences { return sequences.digest }
    let work = DigestWork(self)
    var hashes: [[UInt64]] = []
    for share in 0..<work.shareCount { hashes.append(try work.hashes(share: share) ?? []) }
    return work.digest(hashes: hashes)
  }

  /// Whether programs up to commit 23e1935 had another digest for this corpus.
  package var hasWholeDigest: Bool { files.count == 1 && count > CorpusDigest.largestPiece }

  fileprivate func hash(
    into hash: inout XXHash64, file: Int, offset: Int, count: Int, shouldStop: () -> Bool
  ) throws(CorpusError) -> Bool {
    let buffer = UnsafeMutableRawBufferPointer.allocate(
      byteCount: min(count, 1 << 20), alignment: 16)
    defer { buffer.deallocate() }
    var done = 0
    while done < count {
      let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<min(buffer.count, count - done)])
      try reader.read(file, at: offset + done, into: part)
      hash.update(UnsafeRawBufferPointer(part))
      done += part.count
      if shouldStop() { return false }
    }
    return true
  }
}
