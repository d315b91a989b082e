// What each key of `metrics.jsonl` means: the reference that `reformer-train help metrics` prints and docs/metrics.md
// holds.

/// One key of `metrics.jsonl`.
package struct MetricKey: Sendable {
  /// What a line that has the key is about.
  package enum Event: String, Sendable, CaseIterable {
    /// Every line.
    case any
    /// An optimizer step.
    case step
    /// A score of the validation split.
    case evaluation
    /// A checkpoint.
    case checkpoint
  }

  /// As it stands in the file.
  package let name: String
  /// What its numbers count or measure.
  package let unit: String
  /// What it means.
  package let text: String
  /// The lines that have it.
  package let event: Event
  /// The value of a record, nil where it has none or where it is no number.
  package let number: @Sendable (MetricsRecord) -> Double?

  private init<Value: Sendable>(
    _ event: Event, _ name: String, _ path: KeyPath<MetricsRecord, Value> & Sendable,
    _ unit: String, _ text: String
  ) {
    self.event = event
    self.name = name
    self.unit = unit
    self.text = text
    number = {
      switch $0[keyPath: path] as Any {
      case let value as Double: value
      case let value as Int: Double(value)
      case let value as Bool: value ? 1 : 0
      default: nil
      }
    }
  }

  /// The key called `name`; traps for names that are not declared.
  package static func named(_ name: String) -> MetricKey {
    guard let key = all.first(where: { $0.name == name }) else {
      preconditionFailure("no metric \(name)")
    }
    return key
  }

  /// All keys, in the order of a record's properties.
  package static let all = [
    MetricKey(.any, "step", \.step, "steps", "Optimizer steps done, skipped ones included."),
    MetricKey(
      .step, "loss_nats", \.lossNats, "nats per byte",
      "Mean loss of the step's bytes, by the parameters before it and with dropout; absent where it is not finite."
    ),
    MetricKey(.step, "bits_per_byte", \.bitsPerByte, "bits per byte", "The same in bits."),
    MetricKey(
      .step, "gradient_norm", \.gradientNorm, "",
      "Euclidean norm of the gradient before it is clipped; absent where it is not finite."),
    MetricKey(
      .step, "learning_rate", \.learningRate, "", "Learning rate of the step."),
    MetricKey(
      .step, "is_skipped", \.isSkipped, "", "true where the step was not applied; absent elsewhere."
    ),
    MetricKey(
      .step, "step_seconds", \.stepSeconds, "seconds",
      "From the step's start to its end, evaluation and checkpoint left out."),
    MetricKey(
      .step, "bytes_per_second", \.bytesPerSecond, "bytes per second",
      "Bytes that all ranks together trained on in the step, by its seconds."),
    MetricKey(
      .step, "communication_exposed_seconds", \.communicationExposedSeconds, "seconds",
      "What rank 0 waited for other ranks and summed their gradients, computing nothing else."),
    MetricKey(
      .step, "slowest_rank", \.slowestRank, "rank",
      "The rank that computed longest; absent with one rank."),
    MetricKey(
      .step, "slowest_rank_seconds", \.slowestRankSeconds, "seconds", "How long it computed."),
    MetricKey(
      .step, "mean_rank_seconds", \.meanRankSeconds, "seconds",
      "How long all ranks did, on average."),
    MetricKey(
      .step, "peak_rss_bytes", \.peakRssBytes, "bytes",
      "The most memory that rank 0 has had resident so far."),
    MetricKey(
      .step, "planned_rss_bytes", \.plannedRssBytes, "bytes",
      "What plan predicts for that, with the ranks and threads of the run."),
    MetricKey(
      .step, "trained_bytes", \.trainedBytes, "bytes",
      "Bytes trained on since the first step, those of skipped steps left out."),
    MetricKey(
      .step, "prequential_bits_per_byte", \.prequentialBitsPerByte, "bits per byte",
      "Mean cost of the training bytes so far, each when it was trained on for the first time."),
    MetricKey(
      .evaluation, "validation_bits_per_byte", \.validationBitsPerByte, "bits per byte",
      "Mean loss on the validation split, in blocks of data.length bytes, without dropout."),
    MetricKey(
      .evaluation, "validation_accuracy", \.validationAccuracy, "",
      "Share of the bytes scored that are found likeliest; of data.task = \"duplication\" alone."),
    MetricKey(
      .evaluation, "averaged_validation_bits_per_byte", \.averagedValidationBitsPerByte,
      "bits per byte",
      "The same by the averaged parameters (optimizer.average); absent where there are none."),
    MetricKey(
      .evaluation, "validation_bytes", \.validationBytes, "bytes", "Bytes scored."),
    MetricKey(
      .evaluation, "validation_seconds", \.validationSeconds, "seconds", "What that took."),
    MetricKey(
      .evaluation, "validation_corpora", \.validationCorpora, "",
      "Of a mix: name, bits_per_byte and bytes of each corpus, in a list."),
    MetricKey(
      .evaluation, "validation_positions", \.validationPositions, "",
      "By the bytes of its window that a byte is predicted from, seen_from to seen_to: bits_per_byte and bytes, in a list."
    ),
    MetricKey(
      .evaluation, "validation_hashing", \.validationHashing, "",
      "Of each layer that hashes: layer (from 0), bucket_balance (1 where buckets are of a size), same_bucket_share (of the keys that queries see in sorted lists) and alone_share (of queries that see nothing but themselves), in a list."
    ),
    MetricKey(
      .evaluation, "sample", \.sample, "",
      "The first bytes of the validation split and what the model makes of them, run.sample_bytes; of pairs the first sources, each with the target that is written and the one that is wanted; absent where these are 0."
    ),
    MetricKey(
      .checkpoint, "checkpoint_seconds", \.checkpointSeconds, "seconds",
      "From the checkpoint's start until it was complete."),
    MetricKey(
      .checkpoint, "checkpoint_pause_seconds", \.checkpointPauseSeconds, "seconds",
      "What training waited for it."),
  ]

  /// All keys, in Markdown that a terminal shows as well.
  package static var reference: String {
    """
    # Metrics

    `metrics.jsonl` of a run folder has one JSON object a line: of each optimizer step, of each evaluation and of each
    checkpoint, with the step after which it is. Keys whose value is unknown are left out. A resumed run goes on in the
    same file, after the line of the checkpoint's step. This page is the output of `reformer-train help metrics`.

    \(Event.allCases.map(section).joined(separator: "\n"))
    """
  }

  private static func section(_ event: Event) -> String {
    let title =
      switch event {
      case .any: "Every line"
      case .step: "Lines of steps"
      case .evaluation: "Lines of evaluations"
      case .checkpoint: "Lines of checkpoints"
      }
    let rows = all.filter { $0.event == event }.map { key in
      "- `\(key.name)`\(key.unit.isEmpty ? "" : " (\(key.unit))"): \(key.text)\n"
    }
    return "## \(title)\n\n\(rows.joined())"
  }
}
