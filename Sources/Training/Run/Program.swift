// Which program this is: the version for people, the build for ranks and checkpoints to compare.
import Checkpointing
import Foundation

/// Version of the program, as `--version` prints it; another one where a checkpoint's predictions have other bits.
public let programVersion = "0.2.0"

/// A build of the program.
package struct Program: Codable, Equatable, Sendable {
  /// Its version.
  package let version: String
  /// The commit it is built from, with `+` for changes beside it; nil where nobody says.
  package var commit: String?
  /// SHA-256 of its file: two builds that differ in anything differ in it.
  package let executableSHA256: String

  private enum CodingKeys: String, CodingKey {
    case version, commit
    case executableSHA256 = "executable_sha256"
  }

  /// The one that runs, but for its commit; all ranks of a run must have the same.
  package static let current = Program(
    version: programVersion, commit: nil,
    executableSHA256: executableSHA256())

  /// Mapped, not read: most of it is in memory already.
  private static func executableSHA256() -> String {
    let file = URL(fileURLWithPath: "/proc/self/exe")
    guard let bytes = try? Data(contentsOf: file, options: .alwaysMapped) else { return "unknown" }
    let hash = SHA256()
    bytes.withUnsafeBytes { hash.update($0) }
    return hash.finish()
  }
}

extension Program: CustomStringConvertible {
  /// For messages: enough of the digest to tell builds apart.
  package var description: String {
    "\(version) (\(commit.map { "commit \($0.prefix(12)), " } ?? "")build \(executableSHA256.prefix(12)))"
  }
}
