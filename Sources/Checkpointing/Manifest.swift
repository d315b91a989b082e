// The list of a checkpoint's files. It is written last: a folder without one is not a checkpoint.
import Foundation

/// What a complete checkpoint consists of.
public struct Manifest: Codable, Equatable, Sendable {
  /// Its name in a checkpoint folder.
  public static let name = "manifest.json"
  /// The format this program writes, and the newest it reads.
  public static let currentFormat = 2

  /// Version of the folder's format.
  public let format: Int
  /// Optimizer steps done.
  public let step: Int
  /// Ranks that wrote it: there are as many optimizer files, none with a model that was imported.
  public let ranks: Int
  /// SHA-256 of the resolved config, lower-case hexadecimal.
  public let configSHA256: String
  /// Every file but the manifest.
  public let files: [FileDigest]
  /// SHA-256 of the manifest's own bytes without these 64 digits; nil before format 2.
  private var seal: String?

  private enum CodingKeys: String, CodingKey {
    case format, step, ranks, files, seal
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
  /// - Throws: `CheckpointError` when it is missing, unreadable, damaged, of a newer format, or names
  ///   files outside the folder.
  public init(folder: String) throws(CheckpointError) {
    let path = "\(folder)/\(Self.name)"
    try self.init(bytes: SmallFile.read(path, limit: Self.byteLimit), path: path)
  }

  /// Reads the content of the manifest at `path`.
  package init(bytes: [UInt8], path: String) throws(CheckpointError) {
    let data = Data(bytes)
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
    guard format >= 1 else { throw CheckpointError(path, "has format \(format), which never was") }
    // The digests of all other files are in here, so this one has to vouch for itself.
    guard seal == nil && format == 1 || seal.map({ Self.seal(of: bytes, without: $0) }) == seal
    else {
      throw CheckpointError(path, "has other content than when it was written (seal differs)")
    }
    seal = nil
    guard step >= 0, ranks >= 0 else {
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

  /// Names of the other files of a checkpoint that `ranks` ranks have written, with or without those of streams.
  public static func fileNames(ranks: Int, streams: Bool = false) -> [String] {
    [ModelFile.name, configName, huggingFaceName, stateName]
      + (0..<ranks).map { OptimizerShards.fileName(rank: $0, ranks: ranks) }
      + (streams ? (0..<ranks).map { StreamFiles.fileName(rank: $0, ranks: ranks) } : [])
  }

  /// The resolved config.
  public static let configName = "config.toml"
  /// The model's sizes, as Hugging Face writes them.
  public static let huggingFaceName = "config.json"
  /// Where training stands.
  public static let stateName = "state.json"

  /// Throws unless the list is that of a checkpoint of its ranks, with the config that it was made for.
  func requireFiles(in folder: String) throws(CheckpointError) {
    let path = "\(folder)/\(Self.name)"
    // Not more names than the list has are made up, whatever number of ranks a damaged one claims.
    guard ranks <= files.count else {
      throw CheckpointError(
        path, "lists \(files.count) files for \(ranks) ranks, each of which writes one")
    }
    let listed = Set(files.map(\.name))
    // One rank's file of streams asks for those of all.
    let expected = Self.fileNames(
      ranks: ranks, streams: listed.contains { $0.hasPrefix("streams-") })
    if let missing = expected.first(where: { !listed.contains($0) }) {
      throw CheckpointError(
        path, "does not list \(missing), which every checkpoint of its kind has")
    }
    if let extra = listed.subtracting(expected).min() {
      throw CheckpointError(path, "lists \(extra), which no checkpoint of \(ranks) ranks has")
    }
    guard files.first(where: { $0.name == Self.configName })?.sha256 == configSHA256 else {
      throw CheckpointError(path, "has another config_sha256 than that of its \(Self.configName)")
    }
  }

  /// Writes `manifest.json` into `folder` and waits until it is on the disk.
  public func write(to folder: String) throws(CheckpointError) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    func bytes(seal: String) -> [UInt8] {
      var sealed = self
      sealed.seal = seal
      do { return Array(try encoder.encode(sealed)) + [0x0A] } catch {
        preconditionFailure("a manifest is plain text and numbers: \(error)")
      }
    }
    let blank = String(repeating: "-", count: 64)
    let seal = Self.seal(of: bytes(seal: blank), without: blank)
    try SmallFile.write(bytes(seal: seal ?? blank), to: "\(folder)/\(Self.name)")
  }

  /// SHA-256 of `bytes` without the only place where `seal` stands in them; nil if it is not there.
  private static func seal(of bytes: [UInt8], without seal: String) -> String? {
    guard seal.utf8.count == 64, let place = bytes.firstRange(of: Array(seal.utf8)) else {
      return nil
    }
    return SHA256.digits(of: bytes[..<place.lowerBound] + bytes[place.upperBound...])
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
