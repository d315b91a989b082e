// `metrics.jsonl` of a run: one JSON object a line, units in the keys, for programs. Rank 0 writes
// it.
import Checkpointing
import Foundation

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
    for line in try Self.content(of: path).split(separator: UInt8(ascii: "\n")) {
      guard let record = try? JSONDecoder().decode(StepOnly.self, from: line),
        record.step <= step
      else { continue }
      kept += line + [UInt8(ascii: "\n")]
    }
    try SmallFile.replace(path, with: kept)
    handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    end = try handle.seekToEnd()
  }

  private struct StepOnly: Decodable { let step: Int }

  /// What earlier runs have written; nothing only where there is no file, lest one be replaced by nothing.
  private static func content(of path: String) throws -> Data {
    var status = stat()
    if lstat(path, &status) != 0, errno == ENOENT { return Data() }
    do { return try Data(contentsOf: URL(fileURLWithPath: path)) } catch {
      throw CheckpointError(path, "cannot be read; make it readable, or move it away")
    }
  }

  /// Returns once the lines are on the disk.
  func synchronize() throws { try handle.synchronize() }

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
