// What every function of this module throws, and the words of the operating system.
import Glibc

/// Something outside the program is wrong with a checkpoint: one line, file first.
public struct CheckpointError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The file or folder at fault.
  public let file: String
  /// What is wrong with it and, where that helps, what to do.
  public let reason: String

  /// Names a file and what is wrong with it; line breaks in either become spaces.
  public init(_ file: String, _ reason: String) {
    self.file = Self.oneLine(file)
    self.reason = Self.oneLine(reason)
  }

  /// The one line for the user.
  public var description: String { "\(file): \(reason)" }

  /// Names and values come from files nobody has checked, so they may hold anything.
  private static func oneLine(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.map { $0.value < 32 ? " " : $0 }))
  }
}

/// The system's text for the last failed call; read it before any other call.
func systemReason() -> String {
  String(cString: strerror(errno))
}
