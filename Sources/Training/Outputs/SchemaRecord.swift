// A decoder that decodes nothing: it writes down what a type asks for, and answers with zeros.

/// The parts of a schema found so far.
final class SchemaRecord {
  /// The objects, by the names of their types.
  private(set) var definitions: [String: SchemaPart] = [:]
  /// Types whose decoding is going on: one that holds itself is met again in its own.
  private var open: Set<String> = []

  /// What a type asks that this decoder has no answer to.
  struct Unknown: Error, CustomStringConvertible {
    let description: String
  }
  /// A type that holds itself, where a value of it is needed.
  private struct Recursion: Error {}

  /// What values of `type` look like.
  func part(of type: any Decodable.Type) throws -> SchemaPart {
    let place = SchemaPlace()
    _ = try value(of: type, in: place)
    return try place.found()
  }

  /// A value of `type`, of which `place` is told what it looks like.
  func value<Value: Decodable>(of type: Value.Type, in place: SchemaPlace) throws -> Value {
    if let known = (type as? any PlainValue.Type)?.answer(place) as? Value { return known }
    if let choice = type as? any (CaseIterable & RawRepresentable).Type,
      let first = firstCase(choice, place) as? Value
    {
      return first
    }
    if let table = type as? any TextTable.Type, let empty = try table.answer(place, self) as? Value
    {
      return empty
    }
    // Lists are of no name.
    guard !(type is any ListValue.Type) else {
      return try Value(from: SchemaDecoder(record: self, place: place, keys: nil))
    }
    // Without the module.
    let name = String(reflecting: type).split(separator: ".").dropFirst().joined(separator: ".")
    place.part = .reference(name)
    guard open.insert(name).inserted else { throw Recursion() }
    defer { open.remove(name) }
    let keys = SchemaKeys()
    let value = try Value(from: SchemaDecoder(record: self, place: place, keys: keys))
    definitions[name] = .object(keys.parts, required: keys.required.sorted())
    return value
  }

  /// The same for what may be missing, which is then left out.
  func optional<Value: Decodable>(_ type: Value.Type, in place: SchemaPlace) throws -> Value? {
    do { _ = try value(of: type, in: place) } catch is Recursion {}
    return nil
  }

  private func firstCase<Choice: CaseIterable & RawRepresentable>(
    _ type: Choice.Type, _ place: SchemaPlace
  ) -> Any? {
    let texts = type.allCases.compactMap { $0.rawValue as? String }
    guard texts.count == type.allCases.count else { return nil }
    place.part = .choice(texts)
    return type.allCases.first
  }
}

/// A place in a schema, and what is known about it.
final class SchemaPlace {
  var part: SchemaPart?
  /// What stands in the list that this place holds.
  var items: SchemaPlace?

  func found() throws -> SchemaPart {
    if let items { return .list(try items.found()) }
    guard let part else { throw SchemaRecord.Unknown(description: "a type of no known form") }
    return part
  }
}

/// The keys of an object.
final class SchemaKeys {
  private(set) var parts: [String: SchemaPart] = [:]
  private(set) var required: [String] = []

  func add(_ key: any CodingKey, _ place: SchemaPlace, isRequired: Bool) throws {
    // As `printJSON` has its encoder write them.
    let name = key.stringValue.replacing(/[A-Z]/) { "_" + $0.output.lowercased() }
    parts[name] = try place.found()
    if isRequired { required.append(name) }
  }
}

/// What stands in JSON as one word or number.
private protocol PlainValue {
  static func answer(_ place: SchemaPlace) -> Any
}

extension Bool: PlainValue {
  fileprivate static func answer(_ place: SchemaPlace) -> Any {
    place.part = .plain("boolean")
    return false
  }
}
extension Int: PlainValue {
  fileprivate static func answer(_ place: SchemaPlace) -> Any {
    place.part = .plain("integer")
    return 0
  }
}
extension UInt64: PlainValue {
  fileprivate static func answer(_ place: SchemaPlace) -> Any {
    place.part = .count
    return UInt64(0)
  }
}
extension Double: PlainValue {
  fileprivate static func answer(_ place: SchemaPlace) -> Any {
    place.part = .plain("number")
    return 0.0
  }
}
extension String: PlainValue {
  fileprivate static func answer(_ place: SchemaPlace) -> Any {
    place.part = .plain("string")
    return ""
  }
}

/// An array.
private protocol ListValue {}
extension Array: ListValue {}

/// A dictionary by texts.
private protocol TextTable {
  static func answer(_ place: SchemaPlace, _ record: SchemaRecord) throws -> Any
}
extension Dictionary: TextTable where Key == String, Value: Decodable {
  fileprivate static func answer(_ place: SchemaPlace, _ record: SchemaRecord) throws -> Any {
    place.part = .table(try record.part(of: Value.self))
    return [:] as Self
  }
}
