// Hugging Face's `config.json` of a Reformer, both ways: it goes into every checkpoint, and
// reference dumps bring one.
import Attention
import Foundation
import Reformer

/// The keys of a Hugging Face Reformer config that determine the mathematics.
///
/// Other keys are ignored.
public struct HuggingFaceConfig: Codable, Sendable, Equatable {
  /// One bucket count or its factors.
  public enum Buckets: Codable, Sendable, Equatable {
    /// A plain count.
    case count(Int)
    /// Factors.
    case factors([Int])

    /// Reads a number or a list.
    public init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let count = try? container.decode(Int.self) {
        self = .count(count)
      } else {
        self = .factors(try container.decode([Int].self))
      }
    }

    /// Writes a number or a list.
    public func encode(to encoder: any Encoder) throws {
      var container = encoder.singleValueContainer()
      switch self {
      case .count(let count): try container.encode(count)
      case .factors(let factors): try container.encode(factors)
      }
    }
  }

  var modelType = "reformer"
  var architectures: [String]? = ["ReformerModelWithLMHead"]
  var isDecoder = true
  var attentionHeadSize: Int
  var attnLayers: [String]
  var axialPosEmbds = true
  var axialPosEmbdsDim: [Int]
  var axialPosShape: [Int]
  var feedForwardSize: Int
  var hiddenAct: String
  var hiddenDropoutProb: Double
  var hiddenSize: Int
  var layerNormEps: Double
  var localAttentionProbsDropoutProb: Double
  var localAttnChunkLength: Int
  var localNumChunksAfter = 0
  var localNumChunksBefore: Int
  var lshAttentionProbsDropoutProb: Double
  var lshAttnChunkLength: Int
  var lshNumChunksAfter = 0
  var lshNumChunksBefore: Int
  var maxPositionEmbeddings: Int
  var numAttentionHeads: Int
  var numBuckets: Buckets?
  var numHashes: Int
  var numHiddenLayers: Int
  var vocabSize: Int

  /// The config of one of our models; `attention`: the sizes of all kinds, used or not.
  public init(_ config: ReformerConfig, _ attention: AttentionSizes) {
    // A name that nobody knows, so that nobody loads a part of the model for the whole.
    if !config.ngrams.orders.isEmpty || !config.layers.allSatisfy(\.isInHuggingFace) {
      modelType = "reformer-train"
    }
    attentionHeadSize = config.headWidth
    attnLayers = config.layers.map { type(of: $0).name }
    axialPosEmbdsDim = config.axialWidths
    axialPosShape = config.axialShape
    feedForwardSize = config.feedForwardWidth
    hiddenAct = config.activation.rawValue
    hiddenDropoutProb = config.dropout
    hiddenSize = config.width
    layerNormEps = config.layerNormEpsilon
    localAttentionProbsDropoutProb = config.attentionDropout
    localAttnChunkLength = attention.local.chunk
    localNumChunksBefore = attention.local.chunksBefore
    lshAttentionProbsDropoutProb = config.attentionDropout
    lshAttnChunkLength = attention.lsh.chunk
    lshNumChunksBefore = attention.lsh.chunksBefore
    maxPositionEmbeddings = config.axialShape.reduce(1, *)
    numAttentionHeads = config.heads
    numBuckets =
      attention.lsh.buckets.count == 1
      ? .count(attention.lsh.buckets[0]) : .factors(attention.lsh.buckets)
    numHashes = attention.lsh.hashes
    numHiddenLayers = config.layers.count
    vocabSize = config.vocabulary
  }

  /// Reads `config.json` at `path`.
  public init(path: String) throws(UserError) {
    do {
      let decoder = JSONDecoder()
      decoder.keyDecodingStrategy = .convertFromSnakeCase
      self = try decoder.decode(Self.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
    } catch {
      throw UserError("\(path): not a Hugging Face Reformer config (\(shortReason(error)))")
    }
  }

  /// JSON text with sorted keys.
  public func json() throws -> Data {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    return try encoder.encode(self)
  }

  /// Our config for windows of `length` positions.
  public func reformerConfig(length: Int) throws(UserError) -> ReformerConfig {
    func fail(_ key: String, _ value: Any, _ legal: String) -> UserError {
      UserError("config.json: \(key) = \(value) is not supported; legal: \(legal)")
    }
    let kinds = attnLayers.compactMap(AttentionKind.init)
    guard kinds.count == attnLayers.count else {
      throw fail("attn_layers", attnLayers, "local, lsh, full")
    }
    guard let activation = Activation(rawValue: hiddenAct) else {
      throw fail("hidden_act", hiddenAct, "relu, gelu")
    }
    guard axialPosEmbds else { throw fail("axial_pos_embds", false, "true") }
    guard localNumChunksAfter == 0 && lshNumChunksAfter == 0 else {
      throw fail("lsh_num_chunks_after or local_num_chunks_after", "above 0", "0 (causal)")
    }
    guard lshAttnChunkLength >= 1 else {
      throw fail("lsh_attn_chunk_length", lshAttnChunkLength, "1 or more")
    }
    guard (1...ConfigLimits.size).contains(vocabSize) else {
      throw fail("vocab_size", vocabSize, "1 to \(ConfigLimits.size)")
    }
    let buckets: [Int] =
      switch numBuckets {
      case .count(let count): [count]
      case .factors(let factors): factors
      case nil:
        LSHAttention.automaticBuckets(
          length: length, longestLength: maxPositionEmbeddings, chunk: lshAttnChunkLength)
      }
    let attention = AttentionSizes(
      local: LocalAttention(chunk: localAttnChunkLength, chunksBefore: localNumChunksBefore),
      lsh: LSHAttention(
        chunk: lshAttnChunkLength, chunksBefore: lshNumChunksBefore, hashes: numHashes,
        buckets: buckets))
    let config = ReformerConfig(
      vocabulary: vocabSize, length: length, width: hiddenSize,
      layers: kinds.map(attention.layer),
      heads: numAttentionHeads, headWidth: attentionHeadSize, feedForwardWidth: feedForwardSize,
      activation: activation, axialShape: axialPosShape, axialWidths: axialPosEmbdsDim,
      dropout: hiddenDropoutProb, attentionDropout: lshAttentionProbsDropoutProb,
      layerNormEpsilon: layerNormEps)
    do { try config.check() } catch {
      let name = Self.names.first { error.problem.hasPrefix($0.ours) }?.theirs
      throw UserError("config.json: " + (name.map { $0 + ": " } ?? "") + error.problem)
    }
    return config
  }

  /// What we call what they call otherwise.
  private static let names = [
    ("vocabulary", "vocab_size"), ("width", "hidden_size"), ("heads", "num_attention_heads"),
    ("head width", "attention_head_size"), ("feed-forward width", "feed_forward_size"),
    ("no layers", "attn_layers"), ("position axes", "axial_pos_shape"),
    ("features per axis", "axial_pos_embds_dim"), ("dropout", "hidden_dropout_prob"),
    ("layer norm epsilon", "layer_norm_eps"),
  ].map { (ours: $0.0 + " ", theirs: $0.1) }
}
