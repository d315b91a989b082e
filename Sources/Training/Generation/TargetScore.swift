// How near the targets that a model writes come to those of a corpus.
import Communication
import Compute
import Corpus

/// A score of written targets.
public struct TargetScore: Codable, Sendable, Equatable {
  /// Targets that were written.
  public let targets: Int
  /// Those gone on with side by side.
  public let beam: Int
  /// How much longer ones were preferred.
  public let lengthPenalty: Double
  /// From 0 to 100.
  public let bleu: Double
  /// Version of sacrebleu's words that say how.
  public let bleuSignature: String
  /// From 0 to 100.
  public let chrF2: Double
  /// As for BLEU.
  public let chrF2Signature: String

  /// Writes the targets of the first `count` pairs of `split`, shared out over the ranks, which all call it, and compares them
  /// with the corpus.
  ///
  /// - Throws: on all ranks alike, with the reason of each rank that has one.
  public init(
    of config: RunConfig, parameters: View<Float>, corpora: [MixPart], split: CorpusSplit,
    count: Int, search: TargetSearch, communicator: any Communicator, engine: Engine,
    progress: (Double) -> Void
  ) throws {
    let pairs = try corpora.flatMap { part in
      try part.corpus.evaluationWindows(split, length: config.data.length)
        .map { (part.corpus, $0.bytes.lowerBound) }
    }.prefix(count)
    var (bleu, chrF) = (BLEU(), ChrF())
    let own = stride(from: communicator.rank, to: pairs.count, by: communicator.size)
    let reports = try communicator.gatherAll(
      doubles: agree(communicator) {
        let translator = try Translator(
          config: config, parameters: parameters, search: search, most: 16, engine: engine)
        let pairs = try own.compactMap { try pairs[$0].0.pair(at: pairs[$0].1) }
        var done = 0
        try translator.translate(pairs.map(\.source)) { target in
          let text = String(decoding: target, as: UTF8.self)
          let wanted = String(decoding: pairs[done].target, as: UTF8.self)
          bleu.add(text, wanted: wanted)
          chrF.add(text, wanted: wanted)
          done += 1
          progress(Double(done) / Double(pairs.count))
        }
        return bleu.sums + chrF.sums
      })
    // Sums are whole numbers, so their order is none of the bits.
    let sums = reports.dropFirst().reduce(reports[0]) { zip($0, $1).map(+) }
    bleu = BLEU(sums: sums[..<bleu.sums.count])
    chrF = ChrF(sums: sums[bleu.sums.count...])
    targets = pairs.count
    (beam, lengthPenalty) = (search.beam, search.lengthPenalty)
    (self.bleu, bleuSignature) = (bleu.score, BLEU.signature)
    (chrF2, chrF2Signature) = (chrF.score, ChrF.signature)
  }
}
