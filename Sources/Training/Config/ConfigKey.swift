// What a config key is. Each is declared once, as one row beside the property that holds its value
// (`RunSection.keys` and its kin); reading, writing, comparing, checking, messages, `help config` and
// docs/config.md all come from these rows. Its default is the property's first value.

/// Whether a resumed run may have another value than the one it was started with.
package enum OnResume: Sendable {
  /// It may not: the model, its data or the order of random numbers would be another.
  case fixed
  /// It may.
  case free
}

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

  init<Value: ConfigField>(
    _ name: String, _ path: WritableKeyPath<RunConfig, Value> & Sendable, _ legal: Legal<Value>,
    required: Bool = false, _ onResume: OnResume, _ text: String
  ) {
    self.name = name
    self.legal = legal.text
    isRequired = required
    self.onResume = onResume
    self.text = text
    examples = legal.examples.map(\.configValue)
    formerNames = legal.formerNames.mapValues(\.configValue)
    takesText = Value.self == String.self || Value.self == CorpusPaths.self
    get = { $0[keyPath: path].configValue }
    set = { config, value in
      guard let field = Value(value), legal.contains(field) else { return false }
      config[keyPath: path] = field
      return true
    }
  }

  /// A key that may also be `"auto"`, which the config holds as `automatic`.
  init<Value: ConfigField & Equatable>(
    _ name: String, _ path: WritableKeyPath<RunConfig, Value> & Sendable,
    automatic: Value, or legal: Legal<Value>, _ onResume: OnResume, _ text: String
  ) {
    self.name = name
    self.legal = "\"auto\" or \(legal.text)"
    isRequired = false
    self.onResume = onResume
    self.text = text
    examples = [.text("auto")] + legal.examples.map(\.configValue)
    formerNames = [:]
    takesText = false
    get = {
      let value = $0[keyPath: path]
      return value == automatic ? .text("auto") : value.configValue
    }
    set = { config, value in
      if value == .text("auto") {
        config[keyPath: path] = automatic
        return true
      }
      // For a list, its only entry will do.
      guard let field = Value(value) ?? Value(.list([value])), legal.contains(field) else {
        return false
      }
      config[keyPath: path] = field
      return true
    }
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

/// Keys that stand under one header.
package struct ConfigSection: Sendable {
  /// `attention.lsh` for `[attention.lsh]`.
  package let name: String
  /// What it is about, in a few words.
  package let text: String
  /// Its keys, in order.
  package let keys: [ConfigKey]
  /// Whether there is one table of the keys for each entry of a list, written `[[name]]`; the value
  /// of each key is the list of its values in all of them.
  package var isListOfTables = false

  /// How it is written in a config.
  package var header: String { isListOfTables ? "[[\(name)]]" : "[\(name)]" }

  /// All sections, in the order the resolved file lists them.
  package static let all =
    [
      RunSection.keys, DataSection.keys, DataSection.mixKeys, ModelSection.keys,
      ModelSection.ngramKeys,
    ]
    + AttentionSection.keys + [OptimizerSection.keys]

  /// How the section called `name` is written.
  static func header(of name: String) -> String {
    all.first { $0.name == name }?.header ?? "[\(name)]"
  }

  /// Names of those that are lists of tables.
  static let listsOfTables = Set(all.filter(\.isListOfTables).map(\.name))
}
