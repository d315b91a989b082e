// What a person sees of a run: messages, and the progress of long work in one line that stays in place.
import Foundation
import Logging

/// Tells of rank 0 on standard error; the other ranks are silent.
///
/// Messages have time, level and rank. The line of progress stays in place on a terminal, mpirun's too.
public final class Progress {
  private let isActive: Bool
  private let isQuiet: Bool
  private let terminal = Terminal()
  private let log: RunLog
  private let logger: Logger

  /// Progress of one rank.
  public convenience init(rank: Int) { self.init(rank: rank, file: nil, isQuiet: false) }

  /// Progress of one rank, told in the file at `logFile` too, if any.
  ///
  /// Where it `isQuiet`, standard error has notices, warnings and errors only; the file has all.
  public convenience init(rank: Int, logFile: String?, isQuiet: Bool) throws(UserError) {
    self.init(
      rank: rank, file: try logFile.map { path throws(UserError) in try LogFile(path) },
      isQuiet: isQuiet)
  }

  private init(rank: Int, file: LogFile?, isQuiet: Bool) {
    isActive = rank == 0
    self.isQuiet = isQuiet
    let log = RunLog(rank: rank, terminal: terminal, file: file, isQuiet: isQuiet)
    self.log = log
    logger = Logger(label: "reformer-train") { _ in log }
  }

  /// A message of its own line.
  public func message(_ text: String) { if isActive { logger.info("\(text)") } }

  /// A message about what the user may not expect.
  public func notice(_ text: String) { if isActive { logger.notice("\(text)") } }

  /// A message about what the user had better change.
  public func warning(_ text: String) { if isActive { logger.warning("\(text)") } }

  /// Runs `body`, and puts down in the log file what it ends with, on the ranks that are to tell.
  public func recordingErrors<Result>(_ body: () throws -> Result) throws -> Result {
    do { return try body() } catch {
      if isActive || !isOfAllRanks(error) { log.record(.error, "\(error)") }
      throw error
    }
  }

  /// The state of a long piece of work; on a terminal it replaces the state before.
  ///
  /// Elsewhere it is written only where `isMilestone`, or when nothing was for a minute; in the log file only where
  /// `isMilestone`. `bar`: what a terminal shows instead of the text.
  func update(_ text: String, isMilestone: Bool, bar: ProgressBar?) {
    guard isActive else { return }
    if isMilestone { log.record(.info, text) }
    guard !isQuiet else { return }
    if terminal.isWatched {
      if let bar { terminal.show(bar) } else { terminal.show(text) }
    } else if isMilestone || terminal.quietSeconds > 60 {
      terminal.write(line: text)
    }
  }

  /// The same without a bar.
  public func update(_ text: String, isMilestone: Bool) {
    update(text, isMilestone: isMilestone, bar: nil)
  }

  /// Removes the state line before something else is printed.
  public func finish() { terminal.clear() }
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
