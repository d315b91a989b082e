// What a person at the terminal sees of a run: one line that stays in place, or plain lines in a
// log file.
import Foundation

/// Writes messages and progress of rank 0 to standard error; other ranks are silent.
public final class Progress {
  private let isActive: Bool
  private let isTerminal: Bool
  private var lineLength = 0
  private var lastWrite = ContinuousClock.now

  /// Progress of one rank.
  public init(rank: Int) {
    isActive = rank == 0
    isTerminal = isatty(STDERR_FILENO) == 1
  }

  /// A message of its own line.
  public func message(_ text: String) {
    guard isActive else { return }
    clear()
    write(text + "\n")
  }

  /// The state of a long piece of work; on a terminal it replaces the state before.
  ///
  /// In a log file it is written only where `isMilestone`, or when nothing was for a minute.
  public func update(_ text: String, isMilestone: Bool) {
    guard isActive else { return }
    if isTerminal {
      write("\r" + text + String(repeating: " ", count: max(0, lineLength - text.count)))
      lineLength = text.count
    } else if isMilestone || seconds(since: lastWrite) > 60 {
      write(text + "\n")
    }
  }

  /// Removes the state line before something else is printed.
  public func finish() { clear() }

  private func clear() {
    guard lineLength > 0 else { return }
    write("\r" + String(repeating: " ", count: lineLength) + "\r")
    lineLength = 0
  }

  private func write(_ text: String) {
    lastWrite = .now
    FileHandle.standardError.write(Data(text.utf8))
  }
}

/// `1.23 MB`, in powers of 1000.
func amount(_ value: Double, _ unit: String) -> String {
  var (rest, prefix) = (value, "")
  for next in ["k", "M", "G", "T"] where rest >= 1000 {
    rest /= 1000
    prefix = next
  }
  return String(format: rest < 10 ? "%.2f %@%@" : "%.1f %@%@", rest, prefix, unit)
}

/// `1h02m`, `3m20s` or `12s`.
func duration(_ seconds: Double) -> String {
  guard seconds.isFinite, seconds >= 0, seconds < 1e9 else { return "?" }
  let whole = Int(seconds.rounded())
  if whole >= 3600 { return String(format: "%dh%02dm", whole / 3600, whole / 60 % 60) }
  return whole >= 60 ? String(format: "%dm%02ds", whole / 60, whole % 60) : "\(whole)s"
}
