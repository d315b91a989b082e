// The header of a safetensors file: eight bytes of length, that many bytes of JSON, then the data.
// Format: https://github.com/huggingface/safetensors, section "Format". Nothing in a file is
// trusted: what this type holds has been checked against the file's size.

/// Element types a safetensors file may hold; F32, F16, BF16 and I64 are read here.
public enum SafetensorsType: String, Sendable, CaseIterable {
  // The raw values are the names in the file.
  case float64 = "F64"
  case float32 = "F32"
  case float16 = "F16"
  case bfloat16 = "BF16"
  case float8E4M3 = "F8_E4M3"
  case float8E5M2 = "F8_E5M2"
  case int64 = "I64"
  case int32 = "I32"
  case int16 = "I16"
  case int8 = "I8"
  case uint64 = "U64"
  case uint32 = "U32"
  case uint16 = "U16"
  case uint8 = "U8"
  case bool = "BOOL"

  /// Bytes per element.
  public var byteCount: Int {
    switch self {
    case .float64, .int64, .uint64: 8
    case .float32, .int32, .uint32: 4
    case .float16, .bfloat16, .int16, .uint16: 2
    case .float8E4M3, .float8E5M2, .int8, .uint8, .bool: 1
    }
  }
}

/// One tensor of a safetensors file.
public struct SafetensorsTensor: Sendable, Equatable {
  /// Name, unique in the file.
  public let name: String
  /// Element type.
  public let type: SafetensorsType
  /// Row-major shape; empty for a single number.
  public let shape: [Int]
  /// Place of its bytes, counted from the end of the header.
  public let byteRange: Range<Int>

  /// Number of elements.
  public var count: Int { byteRange.count / type.byteCount }
}

/// Names, types, shapes and places of a file's tensors, and its free text entries.
public struct SafetensorsHeader: Sendable, Equatable {
  /// Largest header accepted, as in the reference implementation.
  public static let byteLimit = 100_000_000

  /// In the order of their bytes.
  public let tensors: [SafetensorsTensor]
  /// The `__metadata__` entries.
  public let metadata: [String: String]

  /// Bytes of all tensors together.
  public var dataByteCount: Int { tensors.last?.byteRange.upperBound ?? 0 }

  /// Lays F32 tensors out one after the other, in the given order.
  ///
  /// Traps when two tensors have one name: names come from our own parameter layout.
  public init(float32 tensors: [(name: String, shape: [Int])], metadata: [String: String]) {
    var offset = 0
    var seen: Set<String> = ["__metadata__"]
    self.tensors = tensors.map { tensor in
      precondition(seen.insert(tensor.name).inserted, "two tensors named \(tensor.name)")
      let start = offset
      offset += tensor.shape.reduce(4, *)
      return SafetensorsTensor(
        name: tensor.name, type: .float32, shape: tensor.shape, byteRange: start..<offset)
    }
    self.metadata = metadata
  }

  /// Parses and checks the JSON part of a header.
  ///
  /// - `json`: the bytes after the length field. `dataByteCount`: what follows them in the file.
  /// - Throws: `CheckpointError` naming `file` and the tensor: bad JSON, duplicate names, unknown
  ///   types, overflowing shapes, sizes that disagree, and places that overlap, leave gaps or lie
  ///   outside the file.
  public init(json: [UInt8], dataByteCount: Int, file: String) throws(CheckpointError) {
    var scanner = SafetensorsScanner(json, file: file)
    let (entries, metadata) = try scanner.header()
    self.metadata = metadata
    var tensors: [SafetensorsTensor] = []
    for entry in entries { tensors.append(try Self.checked(entry, file: file)) }
    tensors.sort {
      ($0.byteRange.lowerBound, $0.byteRange.upperBound)
        < ($1.byteRange.lowerBound, $1.byteRange.upperBound)
    }
    var end = 0
    for tensor in tensors {
      let start = tensor.byteRange.lowerBound
      guard tensor.byteRange.upperBound <= dataByteCount else {
        throw CheckpointError(
          file,
          "tensor \(tensor.name) ends at data byte \(tensor.byteRange.upperBound), the file "
            + "has \(dataByteCount); it was cut short")
      }
      guard start == end else {
        let what = start < end ? "overlaps the tensor before it" : "leaves a gap before it"
        throw CheckpointError(
          file, "tensor \(tensor.name) starts at data byte \(start), expected \(end): it \(what)")
      }
      end = tensor.byteRange.upperBound
    }
    guard end == dataByteCount else {
      throw CheckpointError(
        file, "holds \(dataByteCount) data bytes but its tensors fill \(end)")
    }
    self.tensors = tensors
  }

  private static func checked(
    _ entry: SafetensorsScanner.Entry, file: String
  ) throws(CheckpointError) -> SafetensorsTensor {
    guard let type = SafetensorsType(rawValue: entry.type) else {
      throw CheckpointError(
        file,
        "tensor \(entry.name) has unknown type \"\(entry.type)\"; known are "
          + SafetensorsType.allCases.map(\.rawValue).joined(separator: ", "))
    }
    var bytes = type.byteCount
    // A zero dimension makes every product fit, whatever stands beside it.
    for size in entry.shape.contains(0) ? [0] : entry.shape {
      let (product, overflow) = bytes.multipliedReportingOverflow(by: size)
      guard !overflow else {
        throw CheckpointError(file, "tensor \(entry.name) has an impossible shape \(entry.shape)")
      }
      bytes = product
    }
    guard entry.offsets.count == 2, entry.offsets[0] <= entry.offsets[1] else {
      throw CheckpointError(
        file, "tensor \(entry.name) has data_offsets \(entry.offsets); expected [start, end]")
    }
    let range = entry.offsets[0]..<entry.offsets[1]
    guard range.count == bytes else {
      throw CheckpointError(
        file,
        "tensor \(entry.name) has \(range.count) bytes, but \(type.rawValue) \(entry.shape) "
          + "needs \(bytes)")
    }
    return SafetensorsTensor(name: entry.name, type: type, shape: entry.shape, byteRange: range)
  }

  /// The header as it stands at the start of a file: length, JSON, spaces up to a multiple of 8.
  public var serialized: [UInt8] {
    var items: [String] = []
    if !metadata.isEmpty {
      let pairs = metadata.sorted { $0.key < $1.key }
        .map { "\(Self.quoted($0.key)):\(Self.quoted($0.value))" }
      items.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
    }
    for tensor in tensors {
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      items.append(
        "\(Self.quoted(tensor.name)):{\"dtype\":\"\(tensor.type.rawValue)\",\"shape\":[\(shape)],"
          + "\"data_offsets\":[\(tensor.byteRange.lowerBound),\(tensor.byteRange.upperBound)]}")
    }
    var json = Array("{\(items.joined(separator: ","))}".utf8)
    json += [UInt8](repeating: 0x20, count: (8 - json.count % 8) % 8)
    return withUnsafeBytes(of: UInt64(json.count).littleEndian) { Array($0) } + json
  }

  private static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case _ where scalar.value < 32:
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
