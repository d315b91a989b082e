// Hugging Face's `config.json` of a Reformer: it goes into every checkpoint and every export.
// HuggingFaceConfig+Reading.swift reads it.
import Attention
import Foundation
import Reformer

/// The keys of a Hugging Face Reformer config that determine the mathematics.
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

  /// Tensors that transformers has under two names: what it reads the output's bias from, whatever its own files say
  /// (4.44 writes `lm_head.bias`, and puts zeros in its place when it reads that).
  static let copies = ["lm_head.decoder.bias": "lm_head.bias"]

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
  /// Token id of byte 0: a key of our own, which transformers keeps and does not use.
  var byteOffset: Int?

  enum CodingKeys: String, CodingKey, CaseIterable {
    case modelType = "model_type"
    case architectures
    case isDecoder = "is_decoder"
    case attentionHeadSize = "attention_head_size"
    case attnLayers = "attn_layers"
    case axialPosEmbds = "axial_pos_embds"
    case axialPosEmbdsDim = "axial_pos_embds_dim"
    case axialPosShape = "axial_pos_shape"
    case feedForwardSize = "feed_forward_size"
    case hiddenAct = "hidden_act"
    case hiddenDropoutProb = "hidden_dropout_prob"
    case hiddenSize = "hidden_size"
    case layerNormEps = "layer_norm_eps"
    case localAttentionProbsDropoutProb = "local_attention_probs_dropout_prob"
    case localAttnChunkLength = "local_attn_chunk_length"
    case localNumChunksAfter = "local_num_chunks_after"
    case localNumChunksBefore = "local_num_chunks_before"
    case lshAttentionProbsDropoutProb = "lsh_attention_probs_dropout_prob"
    case lshAttnChunkLength = "lsh_attn_chunk_length"
    case lshNumChunksAfter = "lsh_num_chunks_after"
    case lshNumChunksBefore = "lsh_num_chunks_before"
    case maxPositionEmbeddings = "max_position_embeddings"
    case numAttentionHeads = "num_attention_heads"
    case numBuckets = "num_buckets"
    case numHashes = "num_hashes"
    case numHiddenLayers = "num_hidden_layers"
    case vocabSize = "vocab_size"
    case byteOffset = "byte_offset"
  }

  /// The config of one of our models; `attention`: the sizes of all kinds, used or not.
  public init(_ config: ReformerConfig, _ attention: AttentionSizes) {
    // A name that nobody knows, so that nobody loads a part of the model for the whole.
    if !config.ngrams.orders.isEmpty || config.axialShape.isEmpty
      || !config.layers.allSatisfy(\.isInHuggingFace)
    {
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
    maxPositionEmbeddings =
      config.axialShape.isEmpty ? config.length : config.axialShape.reduce(1, *)
    numAttentionHeads = config.heads
    numBuckets =
      attention.lsh.buckets.count == 1
      ? .count(attention.lsh.buckets[0]) : .factors(attention.lsh.buckets)
    numHashes = attention.lsh.hashes
    numHiddenLayers = config.layers.count
    vocabSize = config.vocabulary
    byteOffset = config.byteOffset
  }

  /// JSON text with sorted keys.
  public func json() throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    return try encoder.encode(self)
  }
}
