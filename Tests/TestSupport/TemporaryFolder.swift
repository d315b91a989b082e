// Files for tests, gone when the test is.
import Foundation

/// A fresh empty folder, removed with everything in it when this object goes away.
public final class TemporaryFolder: Sendable {
  /// Absolute path of the folder.
  public let path: String

  /// Makes the folder.
  public init() throws {
    let url = FileManager.default.temporaryDirectory
      .appendingPathComponent("reformer-train-test-\(UUID().uuidString)", isDirectory: true)
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    path = url.path
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// The path of `name` in the folder.
  public func path(_ name: String) -> String { path + "/" + name }

  /// Writes a file of these bytes and returns its path.
  @discardableResult
  public func write(_ name: String, _ bytes: some Sequence<UInt8>) throws -> String {
    try Data(bytes).write(to: URL(fileURLWithPath: path(name)))
    return path(name)
  }

  /// Writes a file of this text and returns its path.
  @discardableResult
  public func write(_ name: String, text: String) throws -> String {
    try write(name, text.utf8)
  }
}
