// How a corpus is cut into training, validation and test bytes.

/// The three contiguous parts of a corpus, in file order.
public enum CorpusSplit: String, Codable, Sendable, CaseIterable {
  /// What the model learns from.
  case train
  /// What is scored during training.
  case validation
  /// What is scored at the end.
  case test
}
