// The JSON Schema of what a command prints, read off the type that it prints: no second declaration can fall behind.

/// A JSON Schema (draft 2020-12) of the keys, types and optional parts of a type.
public struct JSONSchema: Encodable, Sendable {
  private let root: SchemaPart
  private let definitions: [String: SchemaPart]
  private let title: String

  /// The schema of `type`, called `title`; keys are in snake_case, as commands print them.
  ///
  /// The type's own decoding says what it has. Throws where that asks for more than keys, lists, texts and numbers.
  public init(of type: any Decodable.Type, title: String) throws {
    let record = SchemaRecord()
    root = try record.part(of: type)
    definitions = record.definitions
    self.title = title
  }

  private enum CodingKeys: String, CodingKey {
    case version = "$schema"
    case title
    case definitions = "$defs"
  }

  /// Writes the schema.
  public func encode(to encoder: any Encoder) throws {
    try root.encode(to: encoder)
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode("https://json-schema.org/draft/2020-12/schema", forKey: .version)
    try values.encode(title, forKey: .title)
    try values.encode(definitions, forKey: .definitions)
  }
}

/// What may stand in one place.
indirect enum SchemaPart: Encodable, Sendable {
  /// `boolean`, `integer`, `number` or `string`.
  case plain(String)
  /// An integer that is not negative.
  case count
  /// One of these texts.
  case choice([String])
  case list(SchemaPart)
  /// Any keys, with values alike.
  case table(SchemaPart)
  /// These keys and no others, all of them but the optional ones.
  case object([String: SchemaPart], required: [String])
  /// What is defined under this name.
  case reference(String)

  private enum CodingKeys: String, CodingKey {
    case type, minimum, items, properties, required, additionalProperties
    case choices = "enum"
    case reference = "$ref"
  }

  func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    switch self {
    case .plain(let type): try values.encode(type, forKey: .type)
    case .count:
      try values.encode("integer", forKey: .type)
      try values.encode(0, forKey: .minimum)
    case .choice(let texts): try values.encode(texts, forKey: .choices)
    case .list(let part):
      try values.encode("array", forKey: .type)
      try values.encode(part, forKey: .items)
    case .table(let part):
      try values.encode("object", forKey: .type)
      try values.encode(part, forKey: .additionalProperties)
    case .object(let properties, let required):
      try values.encode("object", forKey: .type)
      try values.encode(properties, forKey: .properties)
      try values.encode(required, forKey: .required)
      try values.encode(false, forKey: .additionalProperties)
    case .reference(let name): try values.encode("#/$defs/\(name)", forKey: .reference)
    }
  }
}
