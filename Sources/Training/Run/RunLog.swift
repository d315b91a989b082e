// The log of a run: each message a line with time, level and rank, on standard error and, where the user names one, in
// a file.
import Foundation
import Logging
import Synchronization

/// Formats messages of one rank and writes them where they belong.
struct RunLog: LogHandler {
  private let rank: Int
  private let terminal: Terminal
  private let file: LogFile?
  /// Whether standard error is spared what a person need not know.
  private let isQuiet: Bool
  var metadata = Logger.Metadata()
  var metadataProvider: Logger.MetadataProvider?
  var logLevel = Logger.Level.info

  init(rank: Int, terminal: Terminal, file: LogFile?, isQuiet: Bool) {
    self.isQuiet = isQuiet
    self.rank = rank
    self.terminal = terminal
    self.file = file
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let line = "\(Self.now()) rank \(rank) \(event.level): \(event.message)"
    if !isQuiet || event.level > .info {
      terminal.write(line: line, color: event.level >= .warning ? .yellow : nil)
    }
    file?.append(line, terminal)
  }

  /// Adds a line to the file alone, for what standard error shows in another form.
  func record(_ level: Logger.Level, _ text: String) {
    file?.append("\(Self.now()) rank \(rank) \(level): \(text)", terminal)
  }

  /// `2026-11-25 09:52:37`, in the machine's time zone.
  private static func now() -> String {
    var seconds = time(nil)
    var parts = tm()
    localtime_r(&seconds, &parts)
    var text = [CChar](repeating: 0, count: 32)
    let count = strftime(&text, text.count, "%Y-%m-%d %H:%M:%S", &parts)
    return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// A file that lines are added to, by several ranks and one run after the other.
final class LogFile: Sendable {
  private let path: String
  private let descriptor: Int32
  private let hasFailed = Mutex(false)

  /// Opens the file at `path`, or makes it.
  init(_ path: String) throws(UserError) {
    self.path = path
    descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw UserError(
        "--log-file \(path): cannot be written (\(String(cString: strerror(errno)))); name a file in a "
          + "folder that is there")
    }
  }

  deinit { close(descriptor) }

  /// A run does not end for a line that cannot be written: it says so once, and goes on.
  func append(_ line: String, _ terminal: Terminal) {
    // In one call, so that lines of several ranks do not mix.
    let bytes = Array((line + "\n").utf8)
    let isWritten = write(descriptor, bytes, bytes.count) == bytes.count
    let isFirst = hasFailed.withLock { hasFailed in
      defer { hasFailed = !isWritten }
      return !isWritten && !hasFailed
    }
    if isFirst { terminal.write(line: "warning: --log-file \(path) cannot be written") }
  }
}
