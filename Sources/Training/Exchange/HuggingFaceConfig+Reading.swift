// Reading Hugging Face's `config.json`: every key is honoured, or refused by name.
import Attention
import Checkpointing
import Foundation
import Reformer

extension HuggingFaceConfig {
  /// Reads `config.json` at `path`.
  ///
  /// - `notice`: told in a line which keys bear on neither parameters nor loss, and are not kept.
  /// - Throws: `UserError` naming the first key that is missing, unknown, or says what no model here can be.
  public init(path: String, notice: (String) -> Void = { _ in }) throws(UserError) {
    let bytes: [UInt8]
    do { bytes = try SmallFile.read(path, limit: 1 << 20) } catch { throw UserError("\(error)") }
    let all: [String: JSON]
    do {
      all = try JSONDecoder().decode([String: JSON].self, from: Data(bytes))
      self = try JSONDecoder().decode(Self.self, from: Data(bytes))
    } catch {
      throw UserError("\(path): not a Hugging Face Reformer config (\(shortReason(error)))")
    }
    let ours = Set(CodingKeys.allCases.map(\.rawValue))
    var idle: [String] = []
    for (key, value) in all.sorted(by: { $0.key < $1.key }) where !ours.contains(key) {
      let name = String(key.prefix(60)).debugDescription.dropFirst().dropLast()
      if let only = Self.fixed[key] {
        guard value == only else {
          throw UserError("\(path): \(name) = \(value.text) is not supported; legal: \(only.text)")
        }
      } else if Self.idle.contains(key) {
        idle.append(key)
      } else {
        throw UserError(
          "\(path): unknown key \(name); remove it if the model is the same without it")
      }
    }
    if !idle.isEmpty {
      notice(
        "\(path): not kept, as without bearing on parameters and loss: "
          + idle.joined(separator: ", "))
    }
    if localAttentionProbsDropoutProb != lshAttentionProbsDropoutProb,
      Set(attnLayers).isSuperset(of: ["local", "lsh"])
    {
      notice(
        "\(path): local_attention_probs_dropout_prob = \(localAttentionProbsDropoutProb), "
          + "lsh_attention_probs_dropout_prob = \(lshAttentionProbsDropoutProb); here both are "
          + "model.attention_dropout, of which \(attentionDropout) is kept")
    }
  }

  /// The dropout of attention, for which there is one rate here: the larger one in use.
  private var attentionDropout: Double {
    let kinds = Set(attnLayers)
    return max(
      kinds.contains("local") ? localAttentionProbsDropoutProb : 0,
      kinds.contains("lsh") ? lshAttentionProbsDropoutProb : 0)
  }

  /// Keys that would change the model, with the value that leaves it as it is here.
  private static let fixed: [String: JSON] = [
    // Rotations would be the same in each step; here they follow from run.seed, step and sample.
    "hash_seed": .null,
    "tie_word_embeddings": .bool(false),
    "tie_encoder_decoder": .bool(false),
    "is_encoder_decoder": .bool(false),
    "add_cross_attention": .bool(false),
    "cross_attention_hidden_size": .null,
    "pruned_heads": .object([:]),
    // Some old configs have it; with true it would be another model.
    "sinusoidal_pos_embds": .bool(false),
  ]

  /// Keys of transformers that say how a model is started, cut into pieces, called or decoded from, and some of old
  /// configs that its Reformer does not read (`num_chunks_before` without `lsh_` or `local_`, say).
  private static let idle: Set<String> = [
    "_name_or_path", "attention_probs_dropout_prob", "axial_norm_std", "bad_words_ids",
    "begin_suppress_tokens", "bos_token_id",
    "chunk_size_feed_forward", "chunk_size_lm_head", "classifier_dropout", "decoder_start_token_id",
    "diversity_penalty", "do_sample", "dtype", "early_stopping", "encoder_no_repeat_ngram_size",
    "eos_token_id", "exponential_decay_length_penalty", "finetuning_task", "forced_bos_token_id",
    "forced_eos_token_id", "id2label", "initializer_range", "intermediate_size", "label2id",
    "length_penalty", "max_length", "min_length", "no_repeat_ngram_size", "num_beam_groups",
    "num_beams", "num_chunks_after", "num_chunks_before", "num_return_sequences",
    "output_attentions", "output_hidden_states", "output_past",
    "output_scores", "pad_token_id", "prefix", "problem_type", "remove_invalid_values",
    "repetition_penalty", "return_dict", "return_dict_in_generate", "sep_token_id",
    "suppress_tokens", "task_specific_params", "temperature", "tf_legacy_loss", "tokenizer_class",
    "top_k", "top_p", "torch_dtype", "torchscript", "transformers_version", "typical_p",
    "use_bfloat16", "use_cache",
  ]

  /// Our config for windows of `length` positions.
  public func reformerConfig(length: Int) throws(UserError) -> ReformerConfig {
    func fail(_ key: String, _ value: Any, _ legal: String) -> UserError {
      UserError("config.json: \(key) = \(value) is not supported; legal: \(legal)")
    }
    let kinds = attnLayers.compactMap(AttentionKind.init).filter { [.local, .lsh].contains($0) }
    guard kinds.count == attnLayers.count else {
      throw fail("attn_layers", attnLayers, "local, lsh")
    }
    guard let activation = Activation(rawValue: hiddenAct) else {
      throw fail("hidden_act", hiddenAct, "relu, relu2, gelu")
    }
    guard modelType == "reformer" else { throw fail("model_type", modelType, "reformer") }
    guard architectures?.contains("ReformerModelWithLMHead") != false else {
      throw fail("architectures", architectures ?? [], "ReformerModelWithLMHead")
    }
    guard isDecoder else { throw fail("is_decoder", false, "true") }
    guard axialPosEmbds else { throw fail("axial_pos_embds", false, "true") }
    guard numHiddenLayers == attnLayers.count else {
      throw fail("num_hidden_layers", numHiddenLayers, "the \(attnLayers.count) of attn_layers")
    }
    guard maxPositionEmbeddings >= 1 else {
      throw fail("max_position_embeddings", maxPositionEmbeddings, "1 or more")
    }
    guard localNumChunksAfter == 0 && lshNumChunksAfter == 0 else {
      throw fail("lsh_num_chunks_after or local_num_chunks_after", "above 0", "0 (causal)")
    }
    guard lshAttnChunkLength >= 1 else {
      throw fail("lsh_attn_chunk_length", lshAttnChunkLength, "1 or more")
    }
    guard (1...ConfigLimits.size).contains(vocabSize) else {
      throw fail("vocab_size", vocabSize, "1 to \(ConfigLimits.size)")
    }
    let attention = AttentionSizes(
      local: LocalAttention(chunk: localAttnChunkLength, chunksBefore: localNumChunksBefore),
      lsh: LSHAttention(
        chunk: lshAttnChunkLength, chunksBefore: lshNumChunksBefore, hashes: numHashes,
        buckets: buckets(length: length)))
    let config = ReformerConfig(
      vocabulary: vocabSize, byteOffset: byteOffset ?? 0, length: length, width: hiddenSize,
      layers: kinds.map(attention.layer),
      heads: numAttentionHeads, headWidth: attentionHeadSize, feedForwardWidth: feedForwardSize,
      activation: activation, axialShape: axialPosShape, axialWidths: axialPosEmbdsDim,
      dropout: hiddenDropoutProb, attentionDropout: attentionDropout,
      layerNormEpsilon: layerNormEps)
    do { try config.check() } catch {
      let name = Self.names.first { error.problem.hasPrefix($0.ours) }?.theirs
      throw UserError("config.json: " + (name.map { $0 + ": " } ?? "") + error.problem)
    }
    return config
  }

  /// Buckets of a hash round, or their factors, for windows of `length`.
  func buckets(length: Int) -> [Int] {
    switch numBuckets {
    case .count(let count): [count]
    case .factors(let factors): factors
    case nil:
      LSHAttention.automaticBuckets(
        length: length, longestLength: maxPositionEmbeddings, chunk: lshAttnChunkLength)
    }
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

/// Any JSON value, for keys that only have to be compared.
private enum JSON: Decodable, Equatable, Sendable {
  case null
  case bool(Bool)
  case number(Double)
  case string(String)
  case list([JSON])
  case object([String: JSON])

  init(from decoder: any Decoder) throws {
    let value = try decoder.singleValueContainer()
    if value.decodeNil() {
      self = .null
    } else if let bool = try? value.decode(Bool.self) {
      self = .bool(bool)
    } else if let number = try? value.decode(Double.self) {
      self = .number(number)
    } else if let string = try? value.decode(String.self) {
      self = .string(string)
    } else if let list = try? value.decode([JSON].self) {
      self = .list(list)
    } else {
      self = .object(try value.decode([String: JSON].self))
    }
  }

  /// For messages.
  var text: String {
    switch self {
    case .null: "null"
    case .bool(let value): "\(value)"
    case .number(let value): value == value.rounded() ? String(format: "%.0f", value) : "\(value)"
    case .string(let value): String(value.prefix(60)).debugDescription
    case .list(let value): value.isEmpty ? "[]" : "[...]"
    case .object(let value): value.isEmpty ? "{}" : "{...}"
    }
  }
}
