// Wrong values and wrong TOML.

/// What is wrong with a config, in one line: file, key, value, legal values.
public struct ConfigError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The one line for the user.
  public let description: String

  init(_ message: String) {
    description = message.replacing("\r", with: " ").replacing("\n", with: " ")
  }

  /// The same with the file, or the option, it came from.
  func from(_ origin: String) -> ConfigError { ConfigError("\(origin): \(description)") }
}
