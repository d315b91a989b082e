// Reading a config from TOML, strictly, and writing it back with every key.
import Foundation

extension RunConfig {
  /// Reads and checks the config in `file`.
  ///
  /// - `overrides`: `key=value` texts of `--set`, later ones win. A value is TOML; bare words need
  ///   no quotes.
  /// - `notice`: told in a line where a value goes by another name since an earlier program wrote the file.
  /// - Throws: `ConfigError` when the file is unreadable or no TOML, or a key is unknown, missing, of
  ///   the wrong type or has an illegal value.
  public static func load(
    file: String, overrides: [String] = [], notice: (String) -> Void = { _ in }
  ) throws(ConfigError) -> RunConfig {
    try RunConfig(toml: text(file), file: file, overrides: overrides, notice: notice)
  }

  /// Reads the config that a program wrote down in `file`, as `load` does.
  ///
  /// It has every key that there was. What is new since then has its default, whatever the preset says of it now.
  package static func load(
    stored file: String, overrides: [String] = [], notice: (String) -> Void = { _ in }
  ) throws(ConfigError) -> RunConfig {
    try RunConfig(
      toml: text(file), file: file, overrides: overrides, hasPreset: false, notice: notice)
  }

  /// The text of a TOML file, a config or what is like one.
  static func text(_ file: String) throws(ConfigError) -> String {
    // Pipes are welcome too; a data file given by mistake is not read whole.
    guard let bytes = try? FileHandle(forReadingAtPath: file)?.read(upToCount: byteLimit + 1),
      bytes.count <= byteLimit
    else { throw ConfigError("\(file): cannot be read; give the path of a TOML file") }
    guard let text = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
      throw ConfigError("\(file): is not UTF-8 text; give the path of a TOML file")
    }
    return text
  }

  /// A config with every key is about 2 kB.
  private static let byteLimit = 1 << 20

  /// Reads and checks the config in `text`, as `load` does.
  ///
  /// - `file`: its name in messages.
  /// - `hasPreset`: whether keys that are not given are those of the preset.
  /// - `notice`: told of each value that goes by a former name.
  public init(
    toml text: String, file: String, overrides: [String] = [], hasPreset: Bool = true,
    notice: (String) -> Void = { _ in }
  ) throws(ConfigError) {
    self.init()
    var given: Set<String> = []
    do {
      let document = try ConfigDocument(text, listsOfTables: ConfigSection.listsOfTables)
      if hasPreset { Self.preset(document, overrides).set(&self) }
      for (name, value) in document.pairs {
        if case .other("{}") = value, Self.isSection(name) { continue }
        if let current = ConfigKey.byName[name]?.renamed(value) {
          try assign(name, current)
          notice("\(file): \(name) = \(value.toml) is called \(current.toml) now")
        } else {
          try assign(name, value)
        }
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
    // A mix of corpora, or sequences that are made up, stand in the place of the one.
    if given.contains("data.mix.path") || data.task == .duplication { given.insert("data.corpus") }
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
    for section in ConfigSection.all {
      guard !section.isListOfTables else {
        text += tables(of: section)
        continue
      }
      text += "\(text.isEmpty ? "" : "\n")[\(section.name)]\n"
      for key in section.keys { text += "\(key.lastName) = \(key.get(self).toml)\n" }
    }
    return text
  }

  /// The values of the keys, which are lists, as one table for each entry.
  private func tables(of section: ConfigSection) -> String {
    let columns = section.keys.map { key -> [ConfigValue] in
      guard case .list(let values) = key.get(self) else {
        preconditionFailure("\(key.name) is no list")
      }
      return values
    }
    return (0..<(columns.map(\.count).min() ?? 0)).map { row in
      "\n[[\(section.name)]]\n"
        + zip(section.keys, columns).map { "\($0.lastName) = \($1[row].toml)\n" }.joined()
    }.joined()
  }

  /// The preset that is named last, if it is one; others are refused where they stand.
  private static func preset(_ document: ConfigDocument, _ overrides: [String]) -> ModelPreset {
    var config = RunConfig()
    for (name, value) in document.pairs where name == "model.preset" {
      try? config.assign(name, value)
    }
    for text in overrides where text.hasPrefix("model.preset") {
      _ = try? config.assign(override: text)
    }
    return config.model.preset
  }

  private mutating func assign(_ name: String, _ value: ConfigValue) throws(ConfigError) {
    guard let key = ConfigKey.byName[name] else { throw Self.unknown(name, value) }
    guard key.set(&self, value) else {
      let current = key.renamed(value).map { " (\(value.toml) is called \($0.toml) now)" } ?? ""
      throw key.refusal(of: value, legal: key.legal + current)
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
    var copy = self
    if let key = ConfigKey.byName[name], key.takesText, !key.set(&copy, value) {
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
    ConfigSection.all.contains { $0.name == name || $0.name.hasPrefix("\(name).") }
  }

  private static func unknown(_ name: String, _ value: ConfigValue) -> ConfigError {
    if isSection(name) {
      let header = ConfigSection.header(of: name)
      return ConfigError("\(name) = \(value.toml); legal values: a section, written \(header)")
    }
    return ConfigError("unknown key \(name) = \(value.toml); \(ConfigKey.whatIsMeant(by: name))")
  }
}

extension ConfigKey {
  /// The current name of a value that goes by a former one.
  func renamed(_ value: ConfigValue) -> ConfigValue? {
    guard case .text(let text) = value else { return nil }
    return formerNames[text]
  }

  /// What to say about a name that is no key's.
  package static func whatIsMeant(by name: String) -> String {
    let parts = name.split(separator: ".")
    // The right name in the wrong section, or a few letters off.
    if let same = all.first(where: { $0.lastName == parts.last ?? "" }) {
      return "did you mean \(same.name)?"
    }
    let ranked = all.map { (distance(name, $0.name), $0.name) }
    if let best = ranked.min(by: { $0.0 < $1.0 }), best.0 <= 3 {
      return "did you mean \(best.1)?"
    }
    let sectionName = parts.dropLast().joined(separator: ".")
    if let section = ConfigSection.all.first(where: { $0.name == sectionName }) {
      let names = section.keys.map(\.lastName).joined(separator: ", ")
      return "legal keys of [\(sectionName)]: \(names)"
    }
    return "legal sections: " + ConfigSection.all.map(\.name).joined(separator: ", ")
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
