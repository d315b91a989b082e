// The one way to say that something the user gave is wrong: one line, exit code 2.

/// Wrong input: a config, path, corpus or checkpoint.
///
/// The message says what, where and what to do.
public struct UserError: Error, Sendable, Equatable, CustomStringConvertible {
  /// One line.
  public let description: String

  /// An error with this one-line message.
  public init(_ message: String) { description = message }
}

/// The reason of a Foundation error without its essay.
func shortReason(_ error: any Error) -> String {
  switch error {
  case DecodingError.keyNotFound(let key, _): "no key \(key.stringValue)"
  case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
    "wrong type at \(context.codingPath.map(\.stringValue).joined(separator: "."))"
  default: String("\(error)".prefix(160)).replacing("\n", with: " ")
  }
}
