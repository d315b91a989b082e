// What a model with an encoder, which is being trained, makes of sources: a picture of how far it is.
import Compute
import Corpus

/// The first pairs of a corpus's validation split, each with the target that the model writes.
struct PairSample {
  private let config: RunConfig
  private let pairs: [LinePair]

  /// Samples of the run of `config`: of as many pairs as have `run.sample_bytes` in their targets, at least one.
  ///
  /// Throws where the split cannot be read.
  init(_ config: RunConfig, corpus: ByteCorpus) throws {
    self.config = config
    pairs = try corpus.evaluationWindows(
      .validation, length: config.data.length, limit: config.run.sampleBytes
    ).compactMap { try corpus.pair(at: $0.bytes.lowerBound) }
  }

  /// Source, written target and wanted one of each pair, a line each; bytes that are no UTF-8 replaced.
  func text(parameters: View<Float>, engine: Engine) throws -> String {
    let translator = try Translator(
      config: config, parameters: parameters, search: TargetSearch(), most: 1, engine: engine)
    var parts: [String] = []
    try translator.translate(pairs.map(\.source)) { written in
      let pair = pairs[parts.count]
      let lines = [("source", pair.source), ("written", written), ("wanted", pair.target)]
      parts.append(
        lines.map { "\($0): " + String(decoding: $1, as: UTF8.self) }.joined(separator: "\n"))
    }
    return parts.joined(separator: "\n\n")
  }
}
