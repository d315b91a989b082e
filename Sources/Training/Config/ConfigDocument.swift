// A whole config file: sections, lists of tables, and the keys in them.

/// The keys of a config's text, put together from what the scanner reads.
struct ConfigDocument {
  /// All keys with their values, in order, names dotted; an empty section counts as a key with no value.
  ///
  /// `[[name]]` tables give one pair for each of their keys, with the list of the values in all tables.
  private(set) var pairs: [(name: String, value: ConfigValue)] = []

  private var scanner: ConfigScanner
  private var section: [String] = []
  /// Of sections, whether a key was given; of lists of tables, how many there are.
  private var sections: [[String]: Bool] = [:]
  private var tables: [[String]: Int] = [:]
  private var columns: [(path: [String], values: [ConfigValue])] = []
  private var given: Set<[String]> = []
  private let listsOfTables: Set<String>

  /// Reads `text`; only the sections in `listsOfTables` may be, and must be, lists of tables.
  init(_ text: String, listsOfTables: Set<String>) throws(ConfigError) {
    scanner = ConfigScanner(text)
    self.listsOfTables = listsOfTables
    while scanner.skipToContent() {
      let start = scanner.position
      if scanner.take("[") {
        try endTable()
        if scanner.take("[") { try beginTable(at: start) } else { try beginSection(at: start) }
      } else {
        try key(at: start)
      }
      try scanner.endOfLine()
    }
    try endTable()
    for column in columns { pairs.append((Self.name(column.path), .list(column.values))) }
    for (path, isUsed) in sections where !isUsed { pairs.append((Self.name(path), .other("{}"))) }
  }

  private mutating func beginSection(at start: Int) throws(ConfigError) {
    section = try scanner.path()
    try scanner.expect("]")
    let name = Self.name(section)
    guard !listsOfTables.contains(name) else {
      throw scanner.failure("\(name) is a list of tables, each written [[\(name)]]", at: start)
    }
    guard sections.updateValue(false, forKey: section) == nil else {
      throw scanner.failure("the section is there twice", at: start)
    }
  }

  private mutating func beginTable(at start: Int) throws(ConfigError) {
    section = try scanner.path()
    try scanner.expect("]")
    try scanner.expect("]")
    guard listsOfTables.contains(Self.name(section)) else {
      let names = listsOfTables.sorted().map { "[[\($0)]]" }.joined(separator: ", ")
      throw scanner.failure("the only lists of tables are \(names)", at: start)
    }
    tables[section, default: 0] += 1
  }

  /// Checks that the table that ends here has the keys that those before it have.
  private mutating func endTable() throws(ConfigError) {
    guard let count = tables[section] else { return }
    let own = columns.filter { $0.path.starts(with: section) }
    guard !own.isEmpty else { throw scanner.failure("the table before has no keys") }
    if let missing = own.first(where: { $0.values.count < count }) {
      throw scanner.failure(
        "table \(count) of [[\(Self.name(section))]] has no \(missing.path.last ?? "")")
    }
  }

  private mutating func key(at start: Int) throws(ConfigError) {
    let path = section + (try scanner.path())
    try scanner.expect("=")
    let value = try scanner.value(depth: 0)
    if let table = tables[section] {
      if let place = columns.firstIndex(where: { $0.path == path }) {
        guard columns[place].values.count < table else {
          throw scanner.failure("the key has a value already", at: start)
        }
        columns[place].values.append(value)
        return
      }
      guard table == 1 else {
        throw scanner.failure(
          "table 1 of [[\(Self.name(section))]] has no \(path.last ?? "")", at: start)
      }
      columns.append((path, [value]))
    } else {
      pairs.append((Self.name(path), value))
    }
    // A value is neither given twice nor a section at the same time.
    let isFree = (1...path.count).allSatisfy { !given.contains(Array(path.prefix($0))) }
    guard isFree, given.insert(path).inserted else {
      throw scanner.failure("the key has a value already", at: start)
    }
    if !section.isEmpty, tables[section] == nil { sections[section] = true }
  }

  private static func name(_ path: [String]) -> String {
    // A quoted key may hold a dot; it must not pass for two names.
    path.map { $0.contains(".") || $0.isEmpty ? ConfigValue.text($0).toml : $0 }
      .joined(separator: ".")
  }
}
