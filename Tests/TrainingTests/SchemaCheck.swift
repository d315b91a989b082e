// A slow and small validator of JSON Schema, for the words that our schemas have and no others.
import Foundation

/// A schema, read from a file.
struct SchemaCheck {
  private let schema: [String: Any]

  init(_ text: some StringProtocol) throws {
    let content = try JSONSerialization.jsonObject(with: Data(text.utf8))
    guard let schema = content as? [String: Any] else { throw Problem(text: "not an object") }
    self.schema = schema
  }

  struct Problem: Error {
    let text: String
  }

  /// What is wrong with the JSON `text`, each with its place; nothing where it is valid.
  func problems(_ text: String) throws -> [String] {
    problems(try JSONSerialization.jsonObject(with: Data(text.utf8)), schema, at: "")
  }

  private func problems(_ value: Any, _ part: [String: Any], at place: String) -> [String] {
    var found: [String] = []
    for (word, rule) in part {
      switch word {
      case "$schema", "$defs", "title", "required", "additionalProperties": continue
      case "$ref":
        let name = (rule as? String)?.split(separator: "/").last.map(String.init) ?? ""
        let definitions = schema["$defs"] as? [String: [String: Any]]
        guard let definition = definitions?[name] else {
          return ["\(place): no definition \(name)"]
        }
        found += problems(value, definition, at: place)
      case "type":
        if !Self.isOf(rule as? String, value) { found.append("\(place): \(value) is no \(rule)") }
      case "minimum":
        if (value as? Double ?? .nan) < (rule as? Double ?? .nan) {
          found.append("\(place): \(value) is below \(rule)")
        }
      case "enum":
        if !(rule as? [String] ?? []).contains(value as? String ?? "") {
          found.append("\(place): \(value) is none of \(rule)")
        }
      case "items":
        for (index, item) in (value as? [Any] ?? []).enumerated() {
          found += problems(item, rule as? [String: Any] ?? [:], at: "\(place)/\(index)")
        }
      case "properties": continue
      default: found.append("\(place): the schema says \(word), which this check does not know")
      }
    }
    if let object = value as? [String: Any] { found += keys(object, part, at: place) }
    return found
  }

  private func keys(_ object: [String: Any], _ part: [String: Any], at place: String) -> [String] {
    var found: [String] = []
    let known = part["properties"] as? [String: [String: Any]] ?? [:]
    for key in part["required"] as? [String] ?? [] where object[key] == nil {
      found.append("\(place): no \(key)")
    }
    for (key, value) in object {
      if let rule = known[key] {
        found += problems(value, rule, at: "\(place)/\(key)")
      } else if let rule = part["additionalProperties"] as? [String: Any] {
        found += problems(value, rule, at: "\(place)/\(key)")
      } else if part["additionalProperties"] != nil {
        found.append("\(place): \(key) is not in the schema")
      }
    }
    return found
  }

  private static func isOf(_ type: String?, _ value: Any) -> Bool {
    // Numbers and truth values are one class to Foundation.
    let isBool = (value as? NSNumber).map { isTruthValue($0) } ?? false
    return switch type {
    case "object": value is [String: Any]
    case "array": value is [Any]
    case "string": value is String
    case "boolean": isBool
    case "number": value is NSNumber && !isBool
    case "integer":
      !isBool && (value as? NSNumber).map { $0.doubleValue == $0.doubleValue.rounded() } ?? false
    default: false
    }
  }

  private static func isTruthValue(_ number: NSNumber) -> Bool {
    String(cString: number.objCType) == "c" || String(cString: number.objCType) == "B"
  }
}
