// How far long work is, in one line of a terminal.

/// A bar, and what stands after it.
package struct ProgressBar: Sendable {
  /// Done, from 0 to 1.
  private let share: Double
  private let text: String

  private static let longest = 30
  private static let shortest = 5

  /// A bar of `share`, with `text`.
  package init(share: Double, _ text: String) {
    self.share = min(max(share, 0), 1)
    self.text = text
  }

  /// The line, at most `columns` wide: of a narrow terminal without a bar, or cut.
  package func line(columns: Int, color: TerminalColor?) -> String {
    let room = min(Self.longest, columns - text.count - 3)
    guard room >= Self.shortest else { return String(text.prefix(max(columns, 0))) }
    let done = Int((share * Double(room)).rounded(.down))
    let bar = String(repeating: "#", count: done)
    let rest = String(repeating: ".", count: room - done)
    return "[\(color?.applied(to: bar) ?? bar)\(rest)] \(text)"
  }
}

/// What a terminal shows in another colour.
package enum TerminalColor: Int, Sendable {
  case yellow = 33
  case cyan = 36

  /// `text` in the colour; nothing stays nothing.
  package func applied(to text: String) -> String {
    text.isEmpty ? "" : "\u{1B}[\(rawValue)m\(text)\u{1B}[0m"
  }
}
