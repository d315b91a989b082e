// The list of a checkpoint's files. It is written last: a folder without one is not a checkpoint.
import Foundation

/// What a complete checkpoint consists of.
public struct Manifest: Codable, Equatable, Sendable {
  /// Its name in a checkpoint folder.
  public static let name = "manifest.json"
  /// The format this program writes, and the newest it reads.
  public static let currentFormat = 1

  /// Version of the folder's format.
  public let format: Int
  /// Optimizer steps done.
  public let step: Int
  /// Ranks that wrote it: there are as many optimizer files.
  public let ranks: Int
  /// SHA-256 of the resolved config, lower-case hexadecimal.
  public let configSHA256: String
  /// Every file but the manifest.
  public let files: [FileDigest]

  private enum CodingKeys: String, CodingKey {
    case format, step, ranks, files
    case configSHA256 = "config_sha256"
  }

  /// A manifest of the current format.
  public init(step: Int, ranks: Int, configSHA256: String, files: [FileDigest]) {
    format = Self.currentFormat
    self.step = step
    self.ranks = ranks
    self.configSHA256 = configSHA256
    self.files = files
  }

  /// Reads `manifest.json` of `folder`.
  ///
  /// - Throws: `CheckpointError` when it is missing, unreadable, of a newer format, or names files
  ///   outside the folder.
  public init(folder: String) throws(CheckpointError) {
    let path = "\(folder)/\(Self.name)"
    let file = try OpenFile(reading: path)
    guard file.byteCount <= Self.byteLimit else {
      throw CheckpointError(path, "is too large for a manifest: \(file.byteCount) bytes")
    }
    let data = Data(try file.array(at: 0, count: file.byteCount))
    do {
      self = try JSONDecoder().decode(Self.self, from: data)
    } catch {
      // A manifest of a later format may have other keys; say so rather than "broken".
      if let later = try? JSONDecoder().decode(Version.self, from: data),
        later.format > Self.currentFormat
      {
        throw Self.tooNew(path, later.format)
      }
      throw CheckpointError(path, "is not a manifest: \(Self.reason(error))")
    }
    guard format <= Self.currentFormat else { throw Self.tooNew(path, format) }
    guard step >= 0, ranks > 0 else {
      throw CheckpointError(path, "has step \(step) and \(ranks) ranks")
    }
    for entry in files {
      guard !entry.name.isEmpty, !entry.name.contains("/"), entry.name != ".", entry.name != ".."
      else { throw CheckpointError(path, "lists \"\(entry.name)\", which is no plain file name") }
    }
    if let twice = Dictionary(grouping: files, by: \.name).first(where: { $1.count > 1 }) {
      throw CheckpointError(path, "lists \(twice.key) twice")
    }
  }

  /// Writes `manifest.json` into `folder` and waits until it is on the disk.
  func write(to folder: String) throws(CheckpointError) {
    let path = "\(folder)/\(Self.name)"
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    let data: Data
    do { data = try encoder.encode(self) } catch {
      preconditionFailure("a manifest is plain text and numbers: \(error)")
    }
    let file = try OpenFile(writing: path)
    try writeArray(Array(data) + [0x0A], to: file)
    try file.synchronize()
  }

  private struct Version: Codable { let format: Int }

  /// One rank adds about 150 bytes; this is room for 100,000 ranks.
  private static let byteLimit = 16 << 20

  private static func tooNew(_ path: String, _ format: Int) -> CheckpointError {
    CheckpointError(
      path, "has format \(format), this program reads up to \(currentFormat); use a newer program")
  }

  private static func reason(_ error: any Error) -> String {
    switch error {
    case DecodingError.keyNotFound(let key, _): "it has no \"\(key.stringValue)\""
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
      "\"\(context.codingPath.map(\.stringValue).joined(separator: "."))\" has the wrong type"
    default: "it is no JSON"
    }
  }
}
