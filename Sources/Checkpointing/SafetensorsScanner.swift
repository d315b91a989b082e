// The JSON of a safetensors header, read strictly. General JSON readers keep one of two equal keys
// without a word; here two tensors of one name are an error.

/// Reads one header; knows the grammar of headers only.
struct SafetensorsScanner {
  /// A tensor as written, unchecked.
  struct Entry {
    var name = ""
    var type = ""
    var shape: [Int] = []
    var offsets: [Int] = []
  }

  private let bytes: [UInt8]
  private let file: String
  private var position = 0

  init(_ bytes: [UInt8], file: String) {
    self.bytes = bytes
    self.file = file
  }

  /// The whole header.
  mutating func header() throws(CheckpointError) -> ([Entry], [String: String]) {
    var entries: [Entry] = []
    var metadata: [String: String] = [:]
    var names: Set<String> = []
    try object { (scanner, name) throws(CheckpointError) in
      guard names.insert(name).inserted else {
        throw CheckpointError(scanner.file, "two entries are named \"\(name)\"")
      }
      if name == "__metadata__" {
        try scanner.object { (scanner, key) throws(CheckpointError) in
          guard metadata.updateValue(try scanner.string(), forKey: key) == nil else {
            throw CheckpointError(scanner.file, "two metadata entries are named \"\(key)\"")
          }
        }
      } else {
        entries.append(try scanner.entry(name))
      }
    }
    skipSpace()
    guard position == bytes.count else { throw failure("expected the end of the header") }
    return (entries, metadata)
  }

  private mutating func entry(_ name: String) throws(CheckpointError) -> Entry {
    var entry = Entry(name: name)
    var keys: Set<String> = []
    try object { (scanner, key) throws(CheckpointError) in
      switch key {
      case "dtype": entry.type = try scanner.string()
      case "shape": entry.shape = try scanner.integers()
      case "data_offsets": entry.offsets = try scanner.integers()
      default: throw CheckpointError(scanner.file, "tensor \(name) has unknown entry \"\(key)\"")
      }
      guard keys.insert(key).inserted else {
        throw CheckpointError(scanner.file, "tensor \(name) has two entries \"\(key)\"")
      }
    }
    for key in ["dtype", "shape", "data_offsets"] where !keys.contains(key) {
      throw CheckpointError(file, "tensor \(name) has no \"\(key)\"")
    }
    return entry
  }

  /// `{ "key": VALUE, ... }`; `value` reads each VALUE.
  private mutating func object(
    _ value: (inout SafetensorsScanner, String) throws(CheckpointError) -> Void
  ) throws(CheckpointError) {
    try expect("{")
    if take("}") { return }
    repeat {
      let key = try string()
      try expect(":")
      try value(&self, key)
    } while take(",")
    try expect("}")
  }

  private mutating func integers() throws(CheckpointError) -> [Int] {
    try expect("[")
    var numbers: [Int] = []
    if take("]") { return numbers }
    repeat { numbers.append(try integer()) } while take(",")
    try expect("]")
    return numbers
  }

  /// Digits only: sizes and offsets are never negative or broken.
  private mutating func integer() throws(CheckpointError) -> Int {
    skipSpace()
    let start = position
    var number = 0
    while position < bytes.count, case let digit = Int(bytes[position]) - 48, 0...9 ~= digit {
      let (tens, overflow) = number.multipliedReportingOverflow(by: 10)
      let (sum, carry) = tens.addingReportingOverflow(digit)
      guard !overflow, !carry else { throw failure("number too large") }
      number = sum
      position += 1
    }
    guard position > start else { throw failure("expected a whole number >= 0") }
    return number
  }

  private mutating func string() throws(CheckpointError) -> String {
    try expect("\"")
    var text: [UInt8] = []
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let result = String(validating: text, as: UTF8.self) else {
          throw failure("text is not UTF-8")
        }
        return result
      case UInt8(ascii: "\\"): text += try escape()
      case 0..<32: throw failure("control character in text")
      default: text.append(byte)
      }
    }
    throw failure("text without an end")
  }

  private mutating func escape() throws(CheckpointError) -> [UInt8] {
    guard position < bytes.count else { throw failure("text without an end") }
    let letter = bytes[position]
    position += 1
    switch letter {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [letter]
    case UInt8(ascii: "b"): return [8]
    case UInt8(ascii: "t"): return [9]
    case UInt8(ascii: "n"): return [10]
    case UInt8(ascii: "f"): return [12]
    case UInt8(ascii: "r"): return [13]
    case UInt8(ascii: "u"):
      var code = try hexUnit()
      // Characters beyond 16 bits are two escapes, high surrogate first.
      if 0xD800...0xDBFF ~= code, bytes[position...].starts(with: [0x5C, 0x75]) {
        position += 2
        let low = try hexUnit()
        guard 0xDC00...0xDFFF ~= low else { throw failure("broken \\u escape") }
        code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw failure("broken \\u escape") }
      return Array(String(Character(scalar)).utf8)
    default: throw failure("unknown escape in text")
    }
  }

  private mutating func hexUnit() throws(CheckpointError) -> UInt32 {
    let digits = bytes[position...].prefix(4)
    guard digits.count == 4, digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
      let unit = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
    else { throw failure("broken \\u escape") }
    position += 4
    return unit
  }

  private mutating func skipSpace() {
    while position < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[position]) {
      position += 1
    }
  }

  private mutating func take(_ character: Unicode.Scalar) -> Bool {
    skipSpace()
    guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  private mutating func expect(_ character: Unicode.Scalar) throws(CheckpointError) {
    guard take(character) else { throw failure("expected '\(character)'") }
  }

  private func failure(_ what: String) -> CheckpointError {
    CheckpointError(file, "header is broken at byte \(8 + position): \(what)")
  }
}
