// The data of a run: what its config names, opened and known to be the same on all ranks.
import Checkpointing
import Communication
import Corpus

/// The corpora of a run on one rank.
package struct RunData {
  /// The corpora.
  package let parts: [MixPart]
  private let config: RunConfig
  private let shared: SharedDigest

  /// Finds the corpora of `config`, on this rank alone; nothing is read yet but where records are to be found.
  ///
  /// Throws a `CorpusError` where one cannot be used.
  package init(
    config: RunConfig, communicator: any Communicator, progress: Progress
  ) throws(CorpusError) {
    self.config = config
    let section = config.data
    let image = section.imageBytes
    let fractions = try SplitFractions(section.split, unit: image)
    let recordsOver = section.task == .records ? config.block : nil
    func files(_ place: CorpusPaths) throws(CorpusError) -> ByteCorpus {
      try ByteCorpus(
        paths: place.paths, fractions: fractions, image: image, recordsOver: recordsOver,
        pairs: section.pairLimits)
    }
    var parts: [MixPart] = []
    for (index, place) in section.mix.path.enumerated() {
      parts.append(
        MixPart(
          name: section.mix.name[index], weight: section.mix.weight[index],
          corpus: try files(place)))
    }
    if parts.isEmpty {
      let corpus =
        switch section.task {
        case .bytes, .records, .pixels, .pairs: try files(section.corpus)
        case .duplication:
          ByteCorpus(
            DuplicatedSequences(length: section.length, seed: UInt64(config.run.seed)))
        }
      parts = [MixPart(name: corpus.path, weight: 1, corpus: corpus)]
    }
    self.parts = parts
    shared = SharedDigest(communicator: communicator, progress: progress)
  }

  /// The order in which they are trained on.
  ///
  /// Throws `CorpusError.splitTooShort` where there is nothing to train on, or to validate with, and
  /// `CorpusError.tooFewWindows` where not each stream has something.
  func mix() throws(CorpusError) -> CorpusMix {
    for part in parts {
      _ = try part.corpus.evaluationWindows(
        .validation, length: config.data.length, limit: 1)
    }
    return try CorpusMix(
      parts: parts, block: config.block, seed: UInt64(config.run.seed),
      streams: config.data.order == .streams ? config.run.globalBatch : nil,
      grouping: config.data.task == .pairs ? config.run.globalBatch : nil)
  }

  /// The identity of what is trained on; all ranks call it, and a signal ends it.
  package func digest() throws -> CorpusDigest {
    CorpusDigest(parts: try parts.map { try shared.digest(of: $0.corpus) })
  }

  /// Whether the data is what `stored` was made of; all ranks call it with the same digests.
  ///
  /// - `digest`: what `digest()` returned. A checkpoint of an older program tells of a large file in a way that
  ///   only reading it again can be compared with.
  package func matches(_ stored: CorpusDigest, digest: CorpusDigest) throws -> Bool {
    if stored == digest { return true }
    guard !stored.isComparable(with: digest) else { return false }
    // Older programs knew no mixes.
    guard parts.count == 1, parts[0].corpus.hasWholeDigest else { return false }
    return try shared.wholeDigest(of: parts[0].corpus) == stored
  }
}

extension CorpusMix {
  /// What is read, for messages.
  var description: String {
    parts.map { part in
      guard part.corpus.sequences == nil else { return part.name }
      let files = part.corpus.fileCount
      let pairs = part.corpus.pairs.map { ", \($0.count) pairs" } ?? ""
      let name = part.name == part.corpus.path ? "" : "\(part.name): "
      return "\(name)\(part.corpus.path) (\(amount(Double(part.corpus.count), "B"))\(pairs)"
        + (files > 1 ? ", \(files) files)" : ")")
    }.joined(separator: "; ")
  }

  /// What the user may not expect, a line each.
  var notices: [String] {
    let wrong = parts.compactMap { part -> String? in
      guard let pairs = part.corpus.pairs, let first = pairs.firstWrong else { return nil }
      return
        "\(pairs.wrongCount) lines of \(part.corpus.path) are left out: the first is \(first.problem)"
    }
    return wrong
      + zip(parts, plans).compactMap { part, plan in
        guard plan.unusedStretches > 0 else { return nil }
        let unused = amount(Double(plan.unusedBytes), "B")
        return "\(unused) of \(part.corpus.path) are not trained on: they are "
          + "shorter than a window and stand between files, or records, that are not"
      }
  }
}
