// One line of `metrics.jsonl`.

/// The figures of a step, an evaluation or a checkpoint; `MetricKey.all` says what each means.
///
/// Absent values are left out.
package struct MetricsRecord: Codable, Sendable {
  package var step: Int
  package var lossNats: Double?
  package var bitsPerByte: Double?
  package var gradientNorm: Double?
  package var learningRate: Double?
  package var isSkipped: Bool?
  package var stepSeconds: Double?
  package var bytesPerSecond: Double?
  package var communicationExposedSeconds: Double?
  package var slowestRank: Int?
  package var slowestRankSeconds: Double?
  package var meanRankSeconds: Double?
  package var peakRssBytes: Int?
  package var plannedRssBytes: Int?
  package var trainedBytes: Int?
  package var prequentialBitsPerByte: Double?
  package var validationBitsPerByte: Double?
  package var validationAccuracy: Double?
  package var averagedValidationBitsPerByte: Double?
  package var validationBytes: Int?
  package var validationSeconds: Double?
  package var validationCorpora: [CorpusScore]?
  package var validationPositions: [PositionScore]?
  package var validationHashing: [HashScore]?
  package var sample: String?
  package var checkpointSeconds: Double?
  package var checkpointPauseSeconds: Double?
}
