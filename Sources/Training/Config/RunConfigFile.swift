// Reading a config from TOML, strictly, and writing it back with every key.
import Foundation

/// What is wrong with a config, in one line: file, key, value, legal values.
public struct ConfigError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The one line for the user.
  public let description: String

  init(_ message: String) {
    description = message.replacing("\r", with: " ").replacing("\n", with: " ")
  }

  /// The same with the file, or the option, it came from.
  func from(_ origin: String) -> ConfigError { ConfigError("\(origin): \(description)") }
}

extension RunConfig {
  /// Reads and checks the config in `file`.
  ///
  /// - `overrides`: `key=value` texts of `--set`, later ones win. A value is TOML; bare words need
  ///   no quotes.
  /// - Throws: `ConfigError` when the file is unreadable or no TOML, or a key is unknown, missing, of
  ///   the wrong type or has an illegal value.
  public static func load(
    file: String, overrides: [String] = []
  ) throws(ConfigError) -> RunConfig {
    // Pipes are welcome too; a data file given by mistake is not read whole.
    guard let bytes = try? FileHandle(forReadingAtPath: file)?.read(upToCount: byteLimit + 1),
      bytes.count <= byteLimit
    else { throw ConfigError("\(file): cannot be read; give the path of a TOML file") }
    guard let text = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
      throw ConfigError("\(file): is not UTF-8 text; give the path of a TOML file")
    }
    return try RunConfig(toml: text, file: file, overrides: overrides)
  }

  /// A config with every key is about 2 kB.
  private static let byteLimit = 1 << 20

  /// Reads and checks the config in `text`, as `load` does.
  ///
  /// - `file`: its name in messages.
  public init(
    toml text: String, file: String, overrides: [String] = []
  ) throws(ConfigError) {
    self.init()
    var given: Set<String> = []
    do {
      for (name, value) in try ConfigScanner.document(text) {
        if case .other("{}") = value, Self.isSection(name) { continue }
        try assign(name, value)
        given.insert(name)
      }
    } catch {
      throw error.from(file)
    }
    for text in overrides {
      do throws(ConfigError) {
        given.insert(try assign(override: text))
      } catch {
        throw error.from("--set \(text)")
      }
    }
    if let missing = ConfigKey.all.first(where: { $0.isRequired && !given.contains($0.name) }) {
      throw ConfigError(
        "\(file): required key \(missing.name) is missing; legal values: \(missing.legal)")
    }
    let choosesHeadsPerGroup = model.headsPerGroup == 0
    resolveAutomatic()
    do { try validate() } catch { throw error.from(file) }
    if choosesHeadsPerGroup { fitHeadsPerGroup() }
  }

  /// The config as TOML with every key; reading it gives an equal config.
  public var toml: String {
    var text = ""
    var section: Substring = ""
    for key in ConfigKey.all {
      if key.section != section {
        text += "\(text.isEmpty ? "" : "\n")[\(key.section)]\n"
        section = key.section
      }
      text += "\(key.lastName) = \(key.get(self).toml)\n"
    }
    return text
  }

  private mutating func assign(_ name: String, _ value: ConfigValue) throws(ConfigError) {
    guard let key = ConfigKey.byName[name] else { throw Self.unknown(name, value) }
    guard key.set(&self, value) else {
      throw ConfigError("\(name) = \(value.toml); legal values: \(key.legal)")
    }
  }

  /// Assigns one `key=value` and returns the key.
  private mutating func assign(override text: String) throws(ConfigError) -> String {
    guard let equals = text.firstIndex(of: "=") else {
      throw ConfigError("has no \"=\"; write --set key=value")
    }
    let name = text[..<equals].trimmingCharacters(in: .whitespaces)
    let word = text[text.index(after: equals)...].trimmingCharacters(in: .whitespaces)
    let value = Self.value(of: word)
    // For a key that takes text, a word that happens to look like a number is still text.
    let isText = ConfigKey.byName[name]?.legal == String.legal
    if isText, case .text = value {
    } else if isText {
      try assign(name, .text(word))
      return name
    }
    try assign(name, value)
    return name
  }

  /// TOML if it is TOML, else text, and so for each entry of a list: shells eat quotes.
  private static func value(of word: String) -> ConfigValue {
    if let value = ConfigScanner.value(word) { return value }
    guard word.hasPrefix("["), word.hasSuffix("]") else { return .text(word) }
    let entries = word.dropFirst().dropLast().split(separator: ",")
    return .list(entries.map { value(of: $0.trimmingCharacters(in: .whitespaces)) })
  }

  /// Whether keys live under this name, which may then stand alone.
  private static func isSection(_ name: String) -> Bool {
    ConfigKey.all.contains { $0.section == name || $0.section.hasPrefix("\(name).") }
  }

  private static func unknown(_ name: String, _ value: ConfigValue) -> ConfigError {
    let parts = name.split(separator: ".")
    let sections = ConfigKey.all.map(\.section).reduce(into: [Substring]()) {
      if $0.last != $1 { $0.append($1) }
    }
    if isSection(name) {
      return ConfigError("\(name) = \(value.toml); legal values: a section, written [\(name)]")
    }
    let message = "unknown key \(name) = \(value.toml)"
    // The right name in the wrong section, or a few letters off.
    if let same = ConfigKey.all.first(where: { $0.lastName == parts.last ?? "" }) {
      return ConfigError("\(message); did you mean \(same.name)?")
    }
    let ranked = ConfigKey.all.map { (distance(name, $0.name), $0.name) }
    if let best = ranked.min(by: { $0.0 < $1.0 }), best.0 <= 3 {
      return ConfigError("\(message); did you mean \(best.1)?")
    }
    let section = parts.dropLast().joined(separator: ".")
    let siblings = ConfigKey.all.filter { $0.section == section }.map(\.lastName)
    return siblings.isEmpty
      ? ConfigError("\(message); legal sections: \(sections.joined(separator: ", "))")
      : ConfigError("\(message); legal keys of [\(section)]: \(siblings.joined(separator: ", "))")
  }

  /// Letters to insert, delete or replace to get from one text to the other (Levenshtein).
  private static func distance(_ left: String, _ right: String) -> Int {
    let right = Array(right)
    var row = Array(0...right.count)
    for (i, a) in left.enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      for (j, b) in right.enumerated() {
        let substituted = diagonal + (a == b ? 0 : 1)
        diagonal = row[j + 1]
        row[j + 1] = min(substituted, row[j] + 1, row[j + 1] + 1)
      }
    }
    return row[right.count]
  }
}
