// What is compared: a TOML file that names a config, changes of it, seeds, and how long each run may be.
import Foundation

/// A comparison as its file tells it.
public struct CompareSpec: Sendable {
  /// A config to compare: the base with some keys changed.
  public struct Variant: Sendable, Equatable {
    /// Its name, a part of folder names.
    public let name: String
    /// Changes, as `--set` takes them.
    public let changes: [String]
  }

  /// How long a run is.
  public enum Budget: Sendable, Hashable {
    /// So many bytes are trained on, to a step.
    case bytes(Int)
    /// As many steps as end within so many seconds on this machine, evaluations and checkpoints included.
    case seconds(Int)

    /// As a part of folder names.
    var name: String {
      switch self {
      case .bytes(let count): "\(count)-bytes"
      case .seconds(let count): "\(count)-seconds"
      }
    }
  }

  /// One run of a comparison.
  struct Run: Equatable {
    let variant: Variant
    let seed: Int
    let budget: Budget

    /// Name of its folder.
    var name: String { "\(variant.name)-\(budget.name)-seed-\(seed)" }
  }

  /// Path of the config that variants change.
  public let base: String
  /// Folder of all runs.
  public let output: String
  /// Of each variant, a run with each of them.
  public let seeds: [Int]
  /// One or both kinds.
  public let budgets: [Budget]
  /// Bytes of the test split that are scored; 0 for all.
  public let testBytes: Int
  /// The first is what the others are compared with.
  public let variants: [Variant]

  /// All runs, those of a seed next to each other: what was done when it is interrupted can be compared.
  var runs: [Run] {
    budgets.flatMap { budget in
      seeds.flatMap { seed in
        variants.map { Run(variant: $0, seed: seed, budget: budget) }
      }
    }
  }

  /// Reads the comparison in `file`.
  ///
  /// Throws `ConfigError` where it cannot be read, or a key is unknown, missing or wrong.
  public init(file: String) throws(ConfigError) {
    let text = try RunConfig.text(file)
    do { try self.init(toml: text) } catch { throw error.from(file) }
  }

  /// Reads the comparison that `text` is.
  package init(toml text: String) throws(ConfigError) {
    var values: [String: ConfigValue] = [:]
    for (name, value) in try ConfigDocument(text, listsOfTables: ["variant"]).pairs {
      guard Self.keys.contains(where: { $0.name == name }) else {
        let legal = Self.keys.map(\.name).joined(separator: ", ")
        throw ConfigError("unknown key \(name); legal keys: \(legal)")
      }
      values[name] = value
    }
    func value<Value>(
      _ name: String, _ read: (ConfigValue) -> Value?
    ) throws(ConfigError) -> Value? {
      guard let given = values[name] else { return nil }
      if let value = read(given) { return value }
      let legal = Self.keys.first { $0.name == name }?.legal ?? ""
      throw ConfigError("\(name) = \(given.toml); legal values: \(legal)")
    }
    func required<Value>(
      _ name: String, _ read: (ConfigValue) -> Value?
    ) throws(ConfigError) -> Value {
      if let value = try value(name, read) { return value }
      throw ConfigError("required key \(name) is missing")
    }
    base = try required("base", Self.text)
    output = try required("output", Self.text)
    testBytes = try value("test_bytes") { Self.number($0, from: 0) } ?? 0
    seeds =
      try value("seeds") { value in
        guard let all = Self.list(value, { Self.number($0, from: 0) }), !all.isEmpty,
          Set(all).count == all.count
        else { return nil }
        return all
      } ?? [1]
    let bytes = try value("bytes") { Self.number($0, from: 1) }
    let seconds = try value("seconds") { Self.number($0, from: 1) }
    budgets = [bytes.map(Budget.bytes), seconds.map(Budget.seconds)].compactMap(\.self)
    guard !budgets.isEmpty else {
      throw ConfigError("give bytes or seconds, or both: how long a run is")
    }
    let names = try required("variant.name") { Self.list($0, Self.folderName) }
    let changes = try required("variant.set") {
      Self.list($0) { Self.list($0, Self.text) }
    }
    variants = zip(names, changes).map { Variant(name: $0, changes: $1) }
    if let twice = names.first(where: { name in names.count { $0 == name } > 1 }) {
      throw ConfigError("two variants are called \(twice)")
    }
  }

  // MARK: Keys

  private static let keys: [(name: String, legal: String)] = [
    ("base", "the path of a config"), ("output", "the path of a folder"),
    ("seeds", "a list of whole numbers from 0, each once"), ("bytes", "a whole number from 1"),
    ("seconds", "a whole number from 1"), ("test_bytes", "a whole number from 0, for all"),
    ("variant.name", "letters, digits, \"-\", \"_\" and \".\", a letter or digit first"),
    ("variant.set", "a list of texts \"key=value\""),
  ]

  private static func text(_ value: ConfigValue) -> String? {
    guard case .text(let text) = value, !text.isEmpty else { return nil }
    return text
  }

  private static func folderName(_ value: ConfigValue) -> String? {
    guard let name = text(value), name.wholeMatch(of: /[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}/) != nil
    else { return nil }
    return name
  }

  private static func number(_ value: ConfigValue, from least: Int) -> Int? {
    guard case .integer(let number) = value, number >= least else { return nil }
    return number
  }

  private static func list<Entry>(
    _ value: ConfigValue, _ entry: (ConfigValue) -> Entry?
  ) -> [Entry]? {
    guard case .list(let values) = value else { return nil }
    let entries = values.compactMap(entry)
    return entries.count == values.count ? entries : nil
  }
}
