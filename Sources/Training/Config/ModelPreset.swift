// Presets: many keys by one name. Keys that a config gives itself win over those of its preset.
import Reformer

/// What a model is like where its config does not say.
public enum ModelPreset: String, Codable, Sendable, CaseIterable {
  /// Each key has its own default.
  case none
  /// Nothing but what Hugging Face's Reformer can express, so that it can be exported; other keys are refused.
  case paper
  /// What was found to learn fastest (docs/results/learning.md).
  case native

  func set(_ config: inout RunConfig) {
    guard self == .native else { return }
    config.model.positions = .rotary
    config.model.activation = .relu2
    config.model.tokenShift = true
    config.model.ngrams = NGramSizes(orders: [2, 3, 4, 5, 6, 8, 11, 16], rows: 1 << 19)
    config.attention.lsh.sight = .bucket
    config.attention.lsh.window = 64
    config.attention.lsh.hashes = 1
  }

  /// Why `config` is none of this preset, if it is not.
  func problem(_ config: RunConfig) -> String? {
    self == .paper ? config.reasonAgainstExport : nil
  }
}

extension ModelPreset: ConfigChoice {}
