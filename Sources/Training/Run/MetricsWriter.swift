// `metrics.jsonl` of a run: one JSON object a line, units in the keys, for programs. Rank 0 writes
// it.
import Checkpointing
import Foundation

/// One line of metrics.
///
/// Absent values are left out.
struct MetricsRecord: Codable, Sendable {
  var step: Int
  var lossNats: Double?
  var bitsPerByte: Double?
  var gradientNorm: Double?
  var learningRate: Double?
  var isSkipped: Bool?
  var stepSeconds: Double?
  var bytesPerSecond: Double?
  var communicationExposedSeconds: Double?
  var slowestRank: Int?
  var slowestRankSeconds: Double?
  var meanRankSeconds: Double?
  var peakRssBytes: Int?
  var trainedBytes: Int?
  var validationBitsPerByte: Double?
  var validationBytes: Int?
  var validationSeconds: Double?
  var validationCorpora: [CorpusScore]?
  var checkpointSeconds: Double?
  var checkpointPauseSeconds: Double?
}

/// Appends records to a file.
///
/// A run does not end for a line it cannot write: it says so once, and goes on.
final class MetricsWriter {
  private let handle: FileHandle
  private let encoder = JSONEncoder()
  private let progress: Progress
  private var end: UInt64
  private var hasFailed = false

  /// Opens `folder/metrics.jsonl`, keeping the lines up to `step`: those of a resumed run that was
  /// interrupted after its last checkpoint would otherwise stand there twice.
  init(folder: String, keepingUpTo step: Int, progress: Progress) throws {
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys]
    self.progress = progress
    let path = folder + "/metrics.jsonl"
    var kept: [UInt8] = []
    if let old = FileManager.default.contents(atPath: path) {
      for line in old.split(separator: UInt8(ascii: "\n")) {
        guard let record = try? JSONDecoder().decode(StepOnly.self, from: line),
          record.step <= step
        else { continue }
        kept += line + [UInt8(ascii: "\n")]
      }
    }
    try SmallFile.replace(path, with: kept)
    handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    end = try handle.seekToEnd()
  }

  private struct StepOnly: Decodable { let step: Int }

  /// Appends one line.
  func write(_ record: MetricsRecord) {
    do {
      try handle.write(contentsOf: encoder.encode(record) + [UInt8(ascii: "\n")])
      end = try handle.offset()
      hasFailed = false
    } catch {
      // Half a line would spoil the next one.
      try? handle.truncate(atOffset: end)
      if !hasFailed { progress.warning("metrics.jsonl cannot be written (\(error))") }
      hasFailed = true
    }
  }
}
