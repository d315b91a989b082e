// Values as they stand in a config file, and the Swift types that keys have.
import Attention
import Compute
import Optimizers
import Reformer

/// A TOML value as the config uses it.
package enum ConfigValue: Equatable, Sendable {
  case integer(Int)
  case real(Double)
  case boolean(Bool)
  case text(String)
  case list([ConfigValue])
  /// A date or table; no key takes one.
  case other(String)

  /// The value as TOML.
  package var toml: String {
    switch self {
    case .integer(let value): return String(value)
    case .real(let value): return "\(value)"
    case .boolean(let value): return String(value)
    case .list(let values): return "[" + values.map(\.toml).joined(separator: ", ") + "]"
    case .other(let text): return text
    case .text(let text):
      var result = "\""
      for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": result += "\\\""
        case "\\": result += "\\\\"
        case _ where scalar.value < 32 || scalar.value == 127:
          let digits = String(scalar.value, radix: 16)
          result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        default: result.unicodeScalars.append(scalar)
        }
      }
      return result + "\""
    }
  }
}

/// A Swift type that a key may have.
protocol ConfigField: Sendable {
  /// Whether any word is a legal value, quotes or not.
  static var takesText: Bool { get }
  init?(_ value: ConfigValue)
  var configValue: ConfigValue { get }
}

extension ConfigField {
  static var takesText: Bool { false }
}

extension Int: ConfigField {
  init?(_ value: ConfigValue) {
    guard case .integer(let number) = value else { return nil }
    self = number
  }
  var configValue: ConfigValue { .integer(self) }
}

extension Double: ConfigField {
  init?(_ value: ConfigValue) {
    switch value {
    case .integer(let number): self = Double(number)
    case .real(let number): self = number
    default: return nil
    }
  }
  var configValue: ConfigValue { .real(self) }
}

extension Bool: ConfigField {
  init?(_ value: ConfigValue) {
    guard case .boolean(let flag) = value else { return nil }
    self = flag
  }
  var configValue: ConfigValue { .boolean(self) }
}

extension String: ConfigField {
  static var takesText: Bool { true }
  init?(_ value: ConfigValue) {
    guard case .text(let text) = value else { return nil }
    self = text
  }
  var configValue: ConfigValue { .text(self) }
}

extension Array: ConfigField where Element: ConfigField {
  init?(_ value: ConfigValue) {
    guard case .list(let values) = value else { return nil }
    let entries = values.compactMap { Element($0) }
    guard entries.count == values.count else { return nil }
    self = entries
  }
  var configValue: ConfigValue { .list(map(\.configValue)) }
}

/// A type of a few named values; the file names them as `rawValue` does.
protocol ConfigChoice: ConfigField, RawRepresentable<String>, CaseIterable {
  /// What values were called by earlier programs: stored configs may still say so.
  static var formerNames: [String: Self] { get }
}

extension ConfigChoice {
  static var formerNames: [String: Self] { [:] }
  init?(_ value: ConfigValue) {
    guard case .text(let text) = value else { return nil }
    self.init(rawValue: text)
  }
  var configValue: ConfigValue { .text(rawValue) }
}

extension AttentionKind: ConfigChoice {}
extension LSHSight: ConfigChoice {}
extension Activation: ConfigChoice {}
extension ScheduleKind: ConfigChoice {}
