// Standard error as a person sees it: lines, and under them one that stays in place.
import Communication
import Foundation
import Synchronization

/// Standard error of this process.
final class Terminal: Sendable {
  private struct State {
    var stayingLength = 0
    var lastWrite = ContinuousClock.now
  }
  private let state = Mutex(State())
  /// Whether somebody watches, so that a line can stay in place.
  let isWatched = isatty(STDERR_FILENO) == 1 || Terminal.isLauncherWatched

  /// Whether it shows colours; NO_COLOR (no-color.org) is a user's way to say no.
  private let hasColors: Bool

  init() {
    let variables = ProcessInfo.processInfo.environment
    hasColors =
      isWatched && !["", "dumb"].contains(variables["TERM"] ?? "")
      && (variables["NO_COLOR"] ?? "").isEmpty
  }

  /// Writes a line of its own, above the one that stays; in a colour where there are colours.
  func write(line: String, color: TerminalColor? = nil) {
    let line = hasColors ? color?.applied(to: line) ?? line : line
    state.withLock { state in
      Self.clear(&state)
      Self.write(line + "\n", &state)
    }
  }

  /// Replaces the line that stays.
  func show(_ line: String) { show(line, length: line.count) }

  /// Replaces the line that stays by a bar.
  func show(_ bar: ProgressBar) {
    // A line that reaches the edge would make a new one, and nothing would stay in place.
    let columns = Self.columns - 1
    show(
      bar.line(columns: columns, color: hasColors ? .cyan : nil),
      length: bar.line(columns: columns, color: nil).count)
  }

  private func show(_ line: String, length: Int) {
    state.withLock { state in
      let rest = String(repeating: " ", count: max(0, state.stayingLength - length))
      Self.write("\r" + line + rest, &state)
      state.stayingLength = length
    }
  }

  /// How wide it is; 80 where it does not say, as behind mpirun.
  private static var columns: Int {
    var size = winsize()
    let isKnown = ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
    return isKnown ? Int(size.ws_col) : 80
  }

  /// Removes the line that stays.
  func clear() { state.withLock { Self.clear(&$0) } }

  /// Seconds since anything was written.
  var quietSeconds: Double { seconds(since: state.withLock { $0.lastWrite }) }

  private static func clear(_ state: inout State) {
    guard state.stayingLength > 0 else { return }
    write("\r" + String(repeating: " ", count: state.stayingLength) + "\r", &state)
    state.stayingLength = 0
  }

  private static func write(_ text: String, _ state: inout State) {
    state.lastWrite = .now
    FileHandle.standardError.write(Data(text.utf8))
  }

  /// Whether mpirun, which passes on what the ranks that it started write, writes it to a terminal itself.
  private static var isLauncherWatched: Bool {
    guard MPICommunicator.underLauncher() else { return false }
    let file = open("/proc/\(getppid())/fd/\(STDERR_FILENO)", O_WRONLY | O_NOCTTY | O_NONBLOCK)
    guard file >= 0 else { return false }
    defer { close(file) }
    return isatty(file) == 1
  }
}
