// Hugging Face's `config.json` of a Reformer, both ways: it goes into every checkpoint, and
// reference dumps bring one.
import Attention
import Foundation
import Reformer

/// The keys of a Hugging Face Reformer config that determine the mathematics
/// (research/reformer-landscape.md, section 2.1).
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

  /// The config of one of our models.
  public init(_ config: ReformerConfig) {
    attentionHeadSize = config.headWidth
    attnLayers = config.layers.map(\.rawValue)
    axialPosEmbdsDim = config.axialWidths
    axialPosShape = config.axialShape
    feedForwardSize = config.feedForwardWidth
    hiddenAct = config.activation.rawValue
    hiddenDropoutProb = config.dropout
    hiddenSize = config.width
    layerNormEps = config.layerNormEpsilon
    localAttentionProbsDropoutProb = config.attentionDropout
    localAttnChunkLength = config.local.chunk
    localNumChunksBefore = config.local.chunksBefore
    lshAttentionProbsDropoutProb = config.attentionDropout
    lshAttnChunkLength = config.lsh.chunk
    lshNumChunksBefore = config.lsh.chunksBefore
    maxPositionEmbeddings = config.axialShape.reduce(1, *)
    numAttentionHeads = config.heads
    numBuckets =
      config.lsh.buckets.count == 1
      ? .count(config.lsh.buckets[0]) : .factors(config.lsh.buckets)
    numHashes = config.lsh.hashes
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
    guard (1...RunConfig.largestSize).contains(vocabSize) else {
      throw fail("vocab_size", vocabSize, "1 to \(RunConfig.largestSize)")
    }
    let buckets: [Int] =
      switch numBuckets {
      case .count(let count): [count]
      case .factors(let factors): factors
      case nil:
        LSHAttentionSizes.automaticBuckets(
          length: length, longestLength: maxPositionEmbeddings, chunk: lshAttnChunkLength)
      }
    let config = ReformerConfig(
      vocabulary: vocabSize, length: length, width: hiddenSize, layers: kinds,
      heads: numAttentionHeads, headWidth: attentionHeadSize, feedForwardWidth: feedForwardSize,
      activation: activation, axialShape: axialPosShape, axialWidths: axialPosEmbdsDim,
      dropout: hiddenDropoutProb, attentionDropout: lshAttentionProbsDropoutProb,
      layerNormEpsilon: layerNormEps,
      lsh: LSHAttentionSizes(
        chunk: lshAttnChunkLength, chunksBefore: lshNumChunksBefore, hashes: numHashes,
        buckets: buckets),
      local: LocalAttentionSizes(chunk: localAttnChunkLength, chunksBefore: localNumChunksBefore))
    do { try config.checkSizes() } catch {
      let ours = Self.names.first { error.description.hasPrefix("\($0.key) = ") }
      throw UserError(
        "config.json: " + (ours.map { "\($0.value), our " } ?? "") + error.description)
    }
    return config
  }

  /// What our config calls what theirs calls otherwise.
  private static let names = [
    "model.width": "hidden_size", "model.layers": "attn_layers",
    "model.heads": "num_attention_heads", "model.head_width": "attention_head_size",
    "model.feed_forward_width": "feed_forward_size", "model.vocabulary": "vocab_size",
    "model.axial_shape": "axial_pos_shape", "model.axial_widths": "axial_pos_embds_dim",
    "model.dropout": "hidden_dropout_prob",
    "model.attention_dropout": "lsh_attention_probs_dropout_prob",
    "model.layer_norm_epsilon": "layer_norm_eps",
    "attention.local.chunk": "local_attn_chunk_length",
    "attention.local.chunks_before": "local_num_chunks_before",
    "attention.lsh.chunk": "lsh_attn_chunk_length",
    "attention.lsh.chunks_before": "lsh_num_chunks_before", "attention.lsh.hashes": "num_hashes",
    "attention.lsh.buckets": "num_buckets",
  ]
}
