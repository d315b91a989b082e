// Config keys of one section. Each is declared once, as one row beside the property that holds its value
// (`RunSection.keys` and its kin); reading, writing, comparing, checking, messages, `help config` and
// docs/config.md all come from these rows. Its default is the property's first value.

/// Whether a resumed run may have another value than the one it was started with.
package enum OnResume: Sendable {
  /// It may not: the model, its data or the order of random numbers would be another.
  case fixed
  /// It may.
  case free
}

/// One key of a section, whose values a `Section` holds.
struct SectionKey<Section: Sendable>: Sendable {
  /// Its name in the section.
  let name: String
  /// What may stand in the file, in words.
  let legal: String
  /// Whether a config without it is an error.
  let isRequired: Bool
  /// Whether it may change on resume.
  let onResume: OnResume
  /// What it means, in a line.
  let text: String
  /// Some legal values: the first and the last, or all, where that can be said.
  let examples: [ConfigValue]
  /// Values by the names that earlier programs gave them.
  let formerNames: [String: ConfigValue]
  /// Whether any word is a legal value, quotes or not.
  let takesText: Bool
  /// The value in a section.
  let get: @Sendable (Section) -> ConfigValue
  /// Sets the value; false, and nothing is set, when it is not legal.
  let set: @Sendable (inout Section, ConfigValue) -> Bool

  init<Value: ConfigField>(
    _ name: String, _ path: WritableKeyPath<Section, Value> & Sendable, _ legal: Legal<Value>,
    required: Bool = false, _ onResume: OnResume, _ text: String
  ) {
    self.name = name
    self.legal = legal.text
    isRequired = required
    self.onResume = onResume
    self.text = text
    examples = legal.examples.map(\.configValue)
    formerNames = legal.formerNames.mapValues(\.configValue)
    takesText = Value.takesText
    get = { $0[keyPath: path].configValue }
    set = { section, value in
      let field = Value(value) ?? (legal.takesEntry ? Value(.list([value])) : nil)
      guard let field, legal.contains(field) else { return false }
      section[keyPath: path] = field
      return true
    }
  }

  /// A key that may also be `"auto"`, which the config holds as `automatic`.
  init<Value: ConfigField & Equatable>(
    _ name: String, _ path: WritableKeyPath<Section, Value> & Sendable,
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
    set = { section, value in
      if value == .text("auto") {
        section[keyPath: path] = automatic
        return true
      }
      // For a list, its only entry will do.
      guard let field = Value(value) ?? Value(.list([value])), legal.contains(field) else {
        return false
      }
      section[keyPath: path] = field
      return true
    }
  }
}

/// Keys that stand under one header.
struct SectionKeys<Section: Sendable>: Sendable {
  /// `attention.lsh` for `[attention.lsh]`.
  let name: String
  /// What it is about, in a few words.
  let text: String
  /// Its keys, in order.
  let keys: [SectionKey<Section>]
  /// Whether there is one table of the keys for each entry of a list, written `[[name]]`; the value
  /// of each key is the list of its values in all of them.
  var isListOfTables = false
}
