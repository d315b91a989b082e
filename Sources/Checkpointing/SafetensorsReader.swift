// Reads tensors of a safetensors file straight into the memory they belong in.
import Compute

/// An open, checked safetensors file.
///
/// Threads may read from it at the same time.
public final class SafetensorsReader: Sendable {
  /// Path it was opened with.
  public let path: String
  /// Tensors in the order of their bytes.
  public let tensors: [SafetensorsTensor]
  /// The file's free text entries.
  public let metadata: [String: String]
  private let file: OpenFile
  private let dataStart: Int
  private let byName: [String: SafetensorsTensor]

  /// Opens `path` and checks its header against its size; reads no tensor yet.
  ///
  /// - Throws: `CheckpointError`, see `SafetensorsHeader`.
  public init(_ path: String) throws(CheckpointError) {
    self.path = path
    file = try OpenFile(reading: path)
    guard file.byteCount >= 8 else {
      throw CheckpointError(path, "is no safetensors file: only \(file.byteCount) bytes long")
    }
    let length = try file.array(at: 0, count: 8).reversed().reduce(UInt64(0)) {
      $0 << 8 | UInt64($1)
    }
    guard length <= UInt64(SafetensorsHeader.byteLimit), Int(length) <= file.byteCount - 8 else {
      throw CheckpointError(
        path,
        "is no safetensors file, or cut short: header of \(length) bytes in a file of "
          + "\(file.byteCount), limit \(SafetensorsHeader.byteLimit)")
    }
    dataStart = 8 + Int(length)
    let header = try SafetensorsHeader(
      json: file.array(at: 8, count: Int(length)), dataByteCount: file.byteCount - dataStart,
      file: path)
    tensors = header.tensors
    metadata = header.metadata
    byName = Dictionary(uniqueKeysWithValues: header.tensors.map { ($0.name, $0) })
  }

  /// The tensor called `name`, or nil.
  public func tensor(_ name: String) -> SafetensorsTensor? { byName[name] }

  /// Reads a whole F32 tensor.
  ///
  /// - `values`: `[count]`, overwritten; traps when its size is another than the tensor's.
  /// - Throws: `CheckpointError` when there is no such F32 tensor or the disk fails.
  public func read(_ name: String, into values: View<Float>) throws(CheckpointError) {
    let tensor = try expect(name, .float32)
    precondition(tensor.count == values.count, "\(name): \(tensor.count) into \(values.count)")
    try read(name, elements: 0..<tensor.count, into: values)
  }

  /// Reads the elements `elements` of an F32 tensor, counted row-major.
  ///
  /// - `values`: `[elements.count]`, overwritten. Traps when `elements` leaves the tensor.
  /// - Throws: `CheckpointError` when there is no such F32 tensor or the disk fails.
  public func read(
    _ name: String, elements: Range<Int>, into values: View<Float>
  ) throws(CheckpointError) {
    let tensor = try expect(name, .float32)
    precondition(
      elements.lowerBound >= 0 && elements.upperBound <= tensor.count
        && elements.count == values.count,
      "\(name): \(elements) of \(tensor.count) into \(values.count)")
    try file.read(
      at: dataStart + tensor.byteRange.lowerBound + 4 * elements.lowerBound,
      into: UnsafeMutableRawBufferPointer(values.bytes))
  }

  /// Reads a whole tensor of numbers of 16 or 32 bits, each of which is a number of 32 bits exactly.
  ///
  /// - `values`: `[count]`, overwritten; traps when its size is another than the tensor's.
  /// - Throws: `CheckpointError` when there is no F32, F16 or BF16 tensor of this name or the disk fails.
  public func readConverted(_ name: String, into values: View<Float>) throws(CheckpointError) {
    guard let tensor = byName[name], [.float16, .bfloat16].contains(tensor.type) else {
      return try read(name, into: values)
    }
    precondition(tensor.count == values.count, "\(name): \(tensor.count) into \(values.count)")
    let halves = Buffer<UInt16>(min(tensor.count, OpenFile.piece))
    for start in stride(from: 0, to: tensor.count, by: OpenFile.piece) {
      let piece = halves.view[0..<min(OpenFile.piece, tensor.count - start)]
      try file.read(
        at: dataStart + tensor.byteRange.lowerBound + 2 * start,
        into: UnsafeMutableRawBufferPointer(piece.bytes))
      for index in 0..<piece.count {
        values[start + index] =
          tensor.type == .bfloat16
          ? Float(bitPattern: UInt32(piece[index]) << 16) : Float(Float16(bitPattern: piece[index]))
      }
    }
  }

  /// A whole F32 tensor as an array.
  public func floats(_ name: String) throws(CheckpointError) -> [Float] {
    let buffer = Buffer<Float>(try expect(name, .float32).count)
    try read(name, into: buffer.view)
    return buffer.view.array
  }

  /// A whole I64 tensor as an array.
  public func integers(_ name: String) throws(CheckpointError) -> [Int64] {
    let tensor = try expect(name, .int64)
    let buffer = Buffer<Int64>(tensor.count)
    try file.read(at: dataStart + tensor.byteRange.lowerBound, into: buffer.view.bytes)
    return buffer.view.array
  }

  private func expect(
    _ name: String, _ type: SafetensorsType
  ) throws(CheckpointError) -> SafetensorsTensor {
    guard let tensor = byName[name] else { throw CheckpointError(path, "has no tensor \(name)") }
    guard tensor.type == type else {
      throw CheckpointError(
        path, "tensor \(name) has type \(tensor.type.rawValue); expected \(type.rawValue)")
    }
    return tensor
  }
}

extension OpenFile {
  /// `count` bytes from `offset` on.
  func array(at offset: Int, count: Int) throws(CheckpointError) -> [UInt8] {
    let buffer = Buffer<UInt8>(count)
    try read(at: offset, into: buffer.view.bytes)
    return buffer.view.array
  }
}
