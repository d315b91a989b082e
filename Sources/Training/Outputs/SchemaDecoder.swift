// The containers that decoding asks a decoder for, here those of `SchemaRecord`.

/// Answers what a type of one place asks for.
struct SchemaDecoder: Decoder {
  let record: SchemaRecord
  let place: SchemaPlace
  /// Nil for lists.
  let keys: SchemaKeys?
  let codingPath: [any CodingKey] = []
  let userInfo: [CodingUserInfoKey: Any] = [:]

  func container<Key: CodingKey>(
    keyedBy type: Key.Type
  ) throws -> KeyedDecodingContainer<Key> {
    guard let keys else { throw SchemaRecord.Unknown(description: "keys in a list") }
    return KeyedDecodingContainer(KeyedSchema(record: record, keys: keys))
  }

  func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
    let items = SchemaPlace()
    place.items = items
    return ListSchema(record: record, items: items)
  }

  func singleValueContainer() throws -> any SingleValueDecodingContainer {
    throw SchemaRecord.Unknown(description: "a value that is written as another type's")
  }
}

/// An object: each key asked for is one that it has.
private struct KeyedSchema<Key: CodingKey>: KeyedDecodingContainerProtocol {
  let record: SchemaRecord
  let keys: SchemaKeys
  let codingPath: [any CodingKey] = []
  let allKeys: [Key] = []

  func contains(_ key: Key) -> Bool { true }
  func decodeNil(forKey key: Key) throws -> Bool { false }

  func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
    let place = SchemaPlace()
    let value = try record.value(of: type, in: place)
    try keys.add(key, place, isRequired: true)
    return value
  }

  func decodeIfPresent<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value? {
    let place = SchemaPlace()
    let value = try record.optional(type, in: place)
    try keys.add(key, place, isRequired: false)
    return value
  }

  // Each plain type has a function of its own in the protocol, whose usual one would ask for a value.
  func decodeIfPresent(_ type: Bool.Type, forKey key: Key) throws -> Bool? {
    try optional(type, key)
  }
  func decodeIfPresent(_ type: Int.Type, forKey key: Key) throws -> Int? { try optional(type, key) }
  func decodeIfPresent(_ type: UInt64.Type, forKey key: Key) throws -> UInt64? {
    try optional(type, key)
  }
  func decodeIfPresent(_ type: Double.Type, forKey key: Key) throws -> Double? {
    try optional(type, key)
  }
  func decodeIfPresent(_ type: String.Type, forKey key: Key) throws -> String? {
    try optional(type, key)
  }

  private func optional<Value: Decodable>(_ type: Value.Type, _ key: Key) throws -> Value? {
    let place = SchemaPlace()
    let value = try record.optional(type, in: place)
    try keys.add(key, place, isRequired: false)
    return value
  }

  func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type, forKey key: Key
  ) throws -> KeyedDecodingContainer<Nested> {
    throw SchemaRecord.Unknown(description: "an object without a type")
  }
  func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
    throw SchemaRecord.Unknown(description: "a list without a type")
  }
  func superDecoder() throws -> any Decoder {
    throw SchemaRecord.Unknown(description: "a class above another")
  }
  func superDecoder(forKey key: Key) throws -> any Decoder { try superDecoder() }
}

/// A list of one entry.
private struct ListSchema: UnkeyedDecodingContainer {
  let record: SchemaRecord
  let items: SchemaPlace
  let codingPath: [any CodingKey] = []
  let count: Int? = 1
  var currentIndex = 0
  var isAtEnd: Bool { currentIndex > 0 }

  mutating func decodeNil() throws -> Bool { false }
  mutating func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
    currentIndex += 1
    return try record.value(of: type, in: items)
  }
  mutating func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type
  ) throws -> KeyedDecodingContainer<Nested> {
    throw SchemaRecord.Unknown(description: "an object without a type")
  }
  mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
    throw SchemaRecord.Unknown(description: "a list without a type")
  }
  mutating func superDecoder() throws -> any Decoder {
    throw SchemaRecord.Unknown(description: "a class above another")
  }
}
