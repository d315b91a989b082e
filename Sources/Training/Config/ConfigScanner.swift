// Reads the part of TOML that configs need: names, texts, numbers, lists, comments
// (https://toml.io/en/v1.0.0); ConfigDocument puts them together. Texts of several lines and inline tables
// are refused. It is our own because the parser it replaces (toml++ in TOMLKit 0.6) ends the process on some wrong inputs, such
// as `[[[run]` and `seed = 2024-02-30 1`.

/// One pass over a config's text.
struct ConfigScanner {
  private let bytes: [UInt8]
  private(set) var position = 0

  /// Lists in lists that are read at most; no key takes more than one.
  private static let deepest = 8

  init(_ text: String) { bytes = Array(text.utf8) }

  /// The value that `text` is, or nil when it is none.
  static func value(_ text: String) -> ConfigValue? {
    var scanner = ConfigScanner(text)
    guard let value = try? scanner.value(depth: 0) else { return nil }
    scanner.skipBlanks()
    return scanner.position == scanner.bytes.count ? value : nil
  }

  // MARK: Keys

  mutating func path() throws(ConfigError) -> [String] {
    var names: [String] = []
    repeat {
      skipBlanks()
      switch next {
      case UInt8(ascii: "\""): names.append(try text())
      case UInt8(ascii: "'"): names.append(try literal())
      default:
        let name = word { Self.isDigit($0) || Self.isLetter($0) || $0 == 0x5F || $0 == 0x2D }
        guard !name.isEmpty else { throw failure("expected a name") }
        names.append(name)
      }
      skipBlanks()
    } while take(".")
    return names
  }

  // MARK: Values

  mutating func value(depth: Int) throws(ConfigError) -> ConfigValue {
    skipBlanks()
    switch next {
    case UInt8(ascii: "\""): return .text(try text())
    case UInt8(ascii: "'"): return .text(try literal())
    case UInt8(ascii: "{"):
      throw failure("inline tables are not read; write [section] and its keys")
    case UInt8(ascii: "["):
      guard depth < Self.deepest else { throw failure("too many lists in lists") }
      return .list(try list(depth: depth + 1))
    default:
      let start = position
      let word = word { $0 > 0x20 && !",]}#".utf8.contains($0) }
      guard let value = Self.plain(word) else {
        throw failure("expected a value: a number, true, false, \"text\" or [list]", at: start)
      }
      return value
    }
  }

  private mutating func list(depth: Int) throws(ConfigError) -> [ConfigValue] {
    try expect("[")
    var values: [ConfigValue] = []
    while skipToContent(), next != UInt8(ascii: "]") {
      values.append(try value(depth: depth))
      _ = skipToContent()
      if !take(",") { break }
    }
    try expect("]")
    return values
  }

  /// What stands without quotes or brackets.
  private static func plain(_ word: String) -> ConfigValue? {
    if word == "true" || word == "false" { return .boolean(word == "true") }
    let unsigned = word.hasPrefix("+") || word.hasPrefix("-") ? word.dropFirst() : word[...]
    // Any sign or none, for all bases: more than TOML allows, and as clear.
    let digits = unsigned.utf8.filter { $0 != UInt8(ascii: "_") }
    guard let first = digits.first, underscoresSeparate(unsigned) else { return nil }
    let number = String(decoding: digits, as: UTF8.self)
    let sign = word.hasPrefix("-") ? "-" : ""
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] where number.hasPrefix(prefix) {
      guard !number.contains("-"), !number.contains("+") else { return nil }
      return Int(sign + number.dropFirst(2), radix: radix).map { .integer($0) }
    }
    if number == "inf" || number == "nan" { return Double(sign + number).map { .real($0) } }
    guard isDigit(first) else { return nil }
    let hasLeadingZero = first == 0x30 && digits.dropFirst().first.map(isDigit) == true
    if digits.allSatisfy(isDigit) {
      return hasLeadingZero ? nil : Int(sign + number).map { .integer($0) }
    }
    // Dates and times have a form of their own, but no use here.
    if digits.count >= 5, digits.allSatisfy({ isDigit($0) || "-:TZtz.+".utf8.contains($0) }),
      digits[4] == 0x2D || digits[2] == 0x3A
    {
      return .other(word)
    }
    // Swift reads more than TOML writes: a point with nothing after it, for one.
    let parts = number.lowercased().split(separator: "e", omittingEmptySubsequences: false)
    let isPlain = parts[0].split(separator: ".", omittingEmptySubsequences: false)
      .allSatisfy { !$0.isEmpty && $0.utf8.allSatisfy(isDigit) }
    guard isPlain, parts.count <= 2, !hasLeadingZero else { return nil }
    return Double(sign + number).map { .real($0) }
  }

  private static func underscoresSeparate(_ word: Substring) -> Bool {
    word.split(separator: "_", omittingEmptySubsequences: false).allSatisfy { !$0.isEmpty }
  }

  // MARK: Texts

  private mutating func literal() throws(ConfigError) -> String {
    try quoted("'") { (_) throws(ConfigError) in [UInt8(ascii: "\\")] }
  }

  private mutating func text() throws(ConfigError) -> String {
    try quoted("\"") { (scanner) throws(ConfigError) in try scanner.escape() }
  }

  private mutating func quoted(
    _ mark: Unicode.Scalar, backslash: (inout ConfigScanner) throws(ConfigError) -> [UInt8]
  ) throws(ConfigError) -> String {
    let start = position
    try expect(mark)
    if take(mark) {
      guard !take(mark) else { throw failure("texts of several lines are not read", at: start) }
      return ""
    }
    var content: [UInt8] = []
    while let byte = next, byte >= 0x20 || byte == 0x09, byte != 0x7F {
      position += 1
      switch byte {
      case UInt8(ascii: mark): return String(decoding: content, as: UTF8.self)
      case UInt8(ascii: "\\"): content += try backslash(&self)
      default: content.append(byte)
      }
    }
    throw failure("the text has no end", at: start)
  }

  private mutating func escape() throws(ConfigError) -> [UInt8] {
    let simple: [Character: Unicode.Scalar] = [
      "b": "\u{8}", "t": "\t", "n": "\n", "f": "\u{C}", "r": "\r", "\"": "\"", "\\": "\\",
    ]
    guard let byte = next else { throw failure("the text has no end") }
    position += 1
    let letter = Character(Unicode.Scalar(byte))
    if let scalar = simple[letter] { return [UInt8(scalar.value)] }
    guard let count = ["u": 4, "U": 8][letter], position + count <= bytes.count,
      let code = UInt32(
        String(decoding: bytes[position..<position + count], as: UTF8.self), radix: 16),
      let scalar = Unicode.Scalar(code), bytes[position] != UInt8(ascii: "+")
    else { throw failure("unknown escape in a text; write \\\\ for a backslash", at: position - 1) }
    position += count
    return Array(String(Character(scalar)).utf8)
  }

  // MARK: Bytes

  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
  private static func isLetter(_ byte: UInt8) -> Bool {
    (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
  }

  private mutating func word(_ belongs: (UInt8) -> Bool) -> String {
    let part = bytes[position...].prefix(while: belongs)
    position = part.endIndex
    return String(decoding: part, as: UTF8.self)
  }

  private mutating func skipBlanks() {
    while next == 0x20 || next == 0x09 { position += 1 }
  }

  private mutating func skipComment() {
    guard next == UInt8(ascii: "#") else { return }
    while position < bytes.count, bytes[position] != 0x0A { position += 1 }
  }

  /// Skips blanks, comments and line ends; false at the end of the text.
  mutating func skipToContent() -> Bool {
    while let byte = next {
      switch byte {
      case 0x20, 0x09, 0x0A, 0x0D: position += 1
      case UInt8(ascii: "#"): skipComment()
      default: return true
      }
    }
    return false
  }

  mutating func endOfLine() throws(ConfigError) {
    skipBlanks()
    skipComment()
    if next == 0x0D { position += 1 }
    guard let byte = next else { return }
    guard byte == 0x0A else { throw failure("expected the end of the line") }
  }

  mutating func take(_ character: Unicode.Scalar) -> Bool {
    guard next == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  mutating func expect(_ character: Unicode.Scalar) throws(ConfigError) {
    guard take(character) else { throw failure("expected \(character)") }
  }

  func failure(_ what: String, at place: Int? = nil) -> ConfigError {
    let before = bytes[..<(place ?? position)]
    let lineStart = before.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
    let line = before.count { $0 == 0x0A } + 1
    return ConfigError("line \(line), column \(before.endIndex - lineStart + 1): \(what)")
  }
}
