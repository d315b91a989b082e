// A run that began well and failed.

/// A run that began well and failed: exit code 1.
public struct RunFailure: Error, Sendable, CustomStringConvertible {
  /// One line: what, at which step, what is left and what to do.
  public let description: String

  /// A failure with this one-line message.
  public init(_ message: String) { description = message }
}
