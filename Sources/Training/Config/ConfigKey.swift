// All keys of a config: those of its sections, put together.

/// One key of the config.
package struct ConfigKey: Sendable {
  /// Dotted name, as on the command line.
  package let name: String
  /// What may stand in the file, in words.
  package let legal: String
  /// Whether a config without it is an error.
  package let isRequired: Bool
  /// Whether it may change on resume.
  package let onResume: OnResume
  /// What it means, in a line.
  package let text: String
  /// Some legal values: the first and the last, or all, where that can be said.
  package let examples: [ConfigValue]
  /// The value of a config.
  package let get: @Sendable (RunConfig) -> ConfigValue
  /// Sets the value; false, and nothing is set, when it is not legal.
  package let set: @Sendable (inout RunConfig, ConfigValue) -> Bool
  /// Values by the names that earlier programs gave them.
  package let formerNames: [String: ConfigValue]
  /// Whether any word is a legal value, quotes or not.
  let takesText: Bool

  /// The key's section and its name within.
  package var section: Substring { name[..<(name.lastIndex(of: ".") ?? name.startIndex)] }
  package var lastName: Substring {
    name[name.index(after: name.lastIndex(of: ".") ?? name.startIndex)...]
  }
  /// The value of a config that does not give it; nil for a required key.
  package var standard: ConfigValue? { isRequired ? nil : get(RunConfig()) }

  /// A key of the section called `section`, which is at `path` of a config.
  fileprivate init<Section: Sendable>(
    _ key: SectionKey<Section>, of section: String,
    at path: WritableKeyPath<RunConfig, Section> & Sendable
  ) {
    name = "\(section).\(key.name)"
    legal = key.legal
    isRequired = key.isRequired
    onResume = key.onResume
    text = key.text
    examples = key.examples
    formerNames = key.formerNames
    takesText = key.takesText
    get = { key.get($0[keyPath: path]) }
    set = { key.set(&$0[keyPath: path], $1) }
  }

  /// The key called `name`; traps for names that are not declared.
  package static func named(_ name: String) -> ConfigKey {
    guard let key = byName[name] else { preconditionFailure("no config key \(name)") }
    return key
  }

  /// All keys by name.
  static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })

  /// All keys, in the order the resolved file lists them.
  package static let all = ConfigSection.all.flatMap(\.keys)
}

/// The keys of a config that stand under one header.
package struct ConfigSection: Sendable {
  /// `attention.lsh` for `[attention.lsh]`.
  package let name: String
  /// What it is about, in a few words.
  package let text: String
  /// Its keys, in order.
  package let keys: [ConfigKey]
  /// Whether there is one table of the keys for each entry of a list, written `[[name]]`; the value
  /// of each key is the list of its values in all of them.
  package let isListOfTables: Bool

  private init<Section: Sendable>(
    _ section: SectionKeys<Section>, at path: WritableKeyPath<RunConfig, Section> & Sendable
  ) {
    name = section.name
    text = section.text
    keys = section.keys.map { ConfigKey($0, of: section.name, at: path) }
    isListOfTables = section.isListOfTables
  }

  /// How it is written in a config.
  package var header: String { isListOfTables ? "[[\(name)]]" : "[\(name)]" }

  /// All sections, in the order the resolved file lists them.
  package static let all =
    [
      ConfigSection(RunSection.keys, at: \.run), ConfigSection(DataSection.keys, at: \.data),
      ConfigSection(LengthScheduleSection.keys, at: \.data.lengthSchedule),
      ConfigSection(MixSection.keys, at: \.data.mix), ConfigSection(ModelSection.keys, at: \.model),
      ConfigSection(ModelSection.ngramKeys, at: \.model.ngrams),
    ]
    + (AttentionSection.keys + AttentionSection.patternKeys).map {
      ConfigSection($0, at: \.attention)
    }
    + [ConfigSection(OptimizerSection.keys, at: \.optimizer)]

  /// How the section called `name` is written.
  package static func header(of name: String) -> String {
    all.first { $0.name == name }?.header ?? "[\(name)]"
  }

  /// Names of those that are lists of tables.
  static let listsOfTables = Set(all.filter(\.isListOfTables).map(\.name))
}
