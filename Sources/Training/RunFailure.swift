// Errors of a run and what they mean for the exit code.
import Checkpointing
import Communication
import Corpus
import Reformer

/// A run that began well and failed: exit code 1.
public struct RunFailure: Error, Sendable, CustomStringConvertible {
  /// One line: what, at which step, what is left and what to do.
  public let description: String

  /// A failure with this one-line message.
  public init(_ message: String) { description = message }
}

/// The exit code of an error: 2 for wrong input, 1 for a run that failed.
public func runExitCode(_ error: any Error) -> Int32 {
  switch error {
  case is UserError, is ConfigError, is CorpusError, is CheckpointError: 2
  default: 1
  }
}
