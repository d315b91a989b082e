// The reference of all keys, from their declarations: what `reformer-train help config` prints and docs/config.md
// holds.

extension ConfigSection {
  /// All keys, in Markdown that a terminal shows as well.
  package static var reference: String {
    """
    # Config keys

    A config is a TOML file of these keys. `--set key=value` changes one for a run; the resolved `config.toml` of a run
    folder lists all of them. A key that is fixed must be on resume what it was at the start; one that is free may
    change. This page is the output of `reformer-train help config`; a key or section after it shows only that.

    \(all.map(\.reference).joined(separator: "\n"))
    """
  }

  /// The keys of the section, or the key, called `name`.
  ///
  /// - Throws: `ConfigError` when there is none.
  package static func reference(of name: String) throws(ConfigError) -> String {
    if let key = ConfigKey.byName[name] { return key.reference }
    let sections = all.filter { $0.name == name || $0.name.hasPrefix("\(name).") }
    guard sections.isEmpty else { return sections.map(\.reference).joined(separator: "\n") }
    throw ConfigError("no config key \(name); \(ConfigKey.whatIsMeant(by: name))")
  }

  private var reference: String {
    "## \(header): \(text)\n\n" + keys.map(\.reference).joined()
  }
}

extension ConfigKey {
  fileprivate var reference: String {
    let state = standard.map { "default `\($0.toml)`" } ?? "required"
    return """
      - `\(name)` (\(state)): \(text)
        Legal values: \(legal). On resume: \(onResume).

      """
  }
}
