// What a model that is being trained writes: a picture of how far it is.
import Compute
import Corpus
import Reformer

/// Text that goes on after the first bytes of a corpus's validation split.
struct TextSample {
  /// Bytes of the split that the model is given at most.
  static let promptBytes = 64
  /// Between the likeliest bytes and those that the model finds as likely as they come.
  private static let temperature = 0.7

  private let config: RunConfig
  private let prompt: [UInt8]

  /// Samples of the run of `config`, which must ask for some.
  ///
  /// Throws where the split cannot be read.
  init(_ config: RunConfig, corpus: ByteCorpus) throws {
    let windows = try corpus.evaluationWindows(.validation, length: config.data.length)
    prompt = try Array(corpus.bytes(in: windows[0].bytes).prefix(Self.promptBytes))
    // Heads remember as many bytes as a text may have.
    self.config = Self.shortened(config)
  }

  /// The config of a model that sees no more than a sample has.
  static func shortened(_ config: RunConfig) -> RunConfig {
    var config = config
    config.data.length = min(config.data.length, promptBytes + config.run.sampleBytes)
    return config
  }

  /// The prompt and what the model with these `parameters` writes after it, bytes that are no UTF-8 replaced.
  func text(parameters: View<Float>, engine: Engine) throws -> String {
    let generator = try Generator(config: config, parameters: parameters, engine: engine)
    var choice = ByteChoice()
    (choice.temperature, choice.seed) = (Self.temperature, UInt64(config.run.seed))
    var text = prompt
    var logits = try generator.begin(prompt)
    for number in 0..<config.run.sampleBytes {
      let byte = choice.byte(logits, number: number)
      text.append(byte)
      if number + 1 < config.run.sampleBytes { logits = try generator.add(byte) }
    }
    return String(decoding: text, as: UTF8.self)
  }
}
