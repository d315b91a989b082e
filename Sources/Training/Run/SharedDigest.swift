// What a corpus's content is, found out by all ranks together: each reads a part, and nobody reads what
// is known from an earlier start.
import Communication
import Corpus
import Foundation

/// Digests of corpora over the ranks; all ranks make the same calls.
package struct SharedDigest {
  private let communicator: any Communicator
  private let progress: Progress
  private let memory: DigestMemory
  private let shouldStop: () -> Bool

  /// Digests that are remembered in `memory`; reading ends early when `shouldStop` says so on any rank.
  package init(
    communicator: any Communicator, progress: Progress, memory: DigestMemory = .ofUser,
    shouldStop: @escaping () -> Bool = { StopSignal.number != 0 }
  ) {
    self.communicator = communicator
    self.progress = progress
    self.memory = memory
    self.shouldStop = shouldStop
  }

  /// Bytes that take long enough for a log to say why nothing happens.
  private static let longReading = 1 << 30

  private struct View: Codable {
    let state: String
    let digest: CorpusDigest?
  }

  /// The digest of this rank's `corpus`.
  ///
  /// Ranks that see files of equal state (sizes, times, inodes) see the same files and share the work. Those
  /// with copies of their own share it among themselves, so that a copy that differs is found.
  package func digest(of corpus: ByteCorpus) throws -> CorpusDigest {
    if let sequences = corpus.sequences { return sequences.digest }
    let start = Date()
    let own = View(state: corpus.state, digest: memory.recall(corpus))
    let views = try communicator.gatherAll(Array(JSONEncoder().encode(own))).map {
      try JSONDecoder().decode(View.self, from: Data($0))
    }
    let peers = views.indices.filter { views[$0].state == own.state }
    let place = peers.firstIndex(of: communicator.rank) ?? 0
    let known = peers.lazy.compactMap { views[$0].digest }.first
    let work = DigestWork(corpus)
    let shares = known == nil ? work.shareCount : 0
    let rounds = Int(
      try communicator.maximum(Int64((shares + peers.count - 1) / peers.count)))
    var hashes: [[UInt64]] = []
    try inRounds(rounds, of: corpus) { round in
      let share = round * peers.count + place
      guard share < shares else { return true }
      guard let result = try work.hashes(share: share, shouldStop: shouldStop) else {
        return false
      }
      hashes.append(result)
      return true
    }
    if rounds == 0, let known { return known }
    let all = try communicator.gatherAll(Array(JSONEncoder().encode(hashes))).map {
      try JSONDecoder().decode([[UInt64]].self, from: Data($0))
    }
    if let known { return known }
    let digest = work.digest(
      hashes: (0..<shares).map { all[peers[$0 % peers.count]][$0 / peers.count] })
    memory.remember(digest, of: corpus, readFrom: start)
    return digest
  }

  /// The digest of rank 0's `corpus`, which is one file, as programs up to commit 23e1935 made it: by one
  /// rank, from the first byte to the last.
  package func wholeDigest(of corpus: ByteCorpus) throws -> CorpusDigest {
    let start = Date()
    let isReader = communicator.rank == 0
    var known = isReader ? memory.recall(corpus, whole: true) : nil
    var work = WholeDigestWork(corpus)
    let steps = isReader && known == nil ? work.stepCount : 0
    let rounds = Int(try communicator.maximum(Int64(steps)))
    try inRounds(rounds, of: corpus) { round in
      round < steps ? try work.step(shouldStop: shouldStop) : true
    }
    if steps > 0 {
      let digest = work.digest()
      memory.remember(digest, of: corpus, whole: true, readFrom: start)
      known = digest
    }
    let bytes = try communicator.broadcast(
      known.map { try Array(JSONEncoder().encode($0)) } ?? [], root: 0)
    return try JSONDecoder().decode(CorpusDigest.self, from: Data(bytes))
  }

  /// Runs `body` for each round on all ranks until it fails, or returns false, on any.
  private func inRounds(
    _ rounds: Int, of corpus: ByteCorpus, _ body: (Int) throws -> Bool
  ) throws {
    guard rounds > 0 else { return }
    let size = amount(Double(corpus.count), "B")
    if corpus.count >= Self.longReading {
      progress.message("reading corpus \(corpus.path) (\(size)) to know its content")
    }
    defer { progress.finish() }
    let (goesOn, stops, fails): (Int64, Int64, Int64) = (0, 1, 2)
    var failure: (any Error)?
    var shown = 0
    for round in 0..<rounds {
      var state = goesOn
      do { if try !body(round) || shouldStop() { state = stops } } catch {
        (failure, state) = (error, fails)
      }
      let worst = try communicator.maximum(state)
      if worst == fails { try agree(communicator) { if let failure { throw failure } } }
      if worst == stops {
        throw RunFailure(
          "stopped by a signal while corpus \(corpus.path) was read; nothing was trained or scored")
      }
      let percent = 100 * (round + 1) / rounds
      guard percent > shown else { continue }
      shown = percent
      progress.update(
        "reading corpus \(corpus.path) (\(size)): \(percent) %", isMilestone: false)
    }
  }
}
