// Writes safetensors files in one pass: header from the known shapes, then the tensors' memory,
// hashed while it is written. No copy of the tensors is made.
import Compute
import Foundation

/// A tensor to be written: its memory is read while the file is written.
public struct TensorToWrite: Sendable {
  /// Name in the file.
  public let name: String
  /// Row-major shape; its product is `values.count`.
  public let shape: [Int]
  /// The elements.
  public let values: View<Float>

  /// Traps when shape and memory disagree.
  public init(name: String, shape: [Int], values: View<Float>) {
    precondition(
      shape.reduce(1, *) == values.count, "\(name): shape \(shape), \(values.count) elements")
    self.name = name
    self.shape = shape
    self.values = values
  }
}

/// Writer of F32 safetensors files.
public enum SafetensorsWriter {
  /// Writes `tensors` in the given order to `path` and waits until they are on the disk.
  ///
  /// - Returns: name, size and SHA-256 of the file, for the manifest.
  /// - Throws: `CheckpointError` when the disk refuses; a half-written file is then left, which
  ///   no manifest lists.
  public static func write(
    _ tensors: [TensorToWrite], metadata: [String: String] = [:], to path: String
  ) throws(CheckpointError) -> FileDigest {
    let header = SafetensorsHeader(
      float32: tensors.map { ($0.name, $0.shape) }, metadata: metadata)
    let file = try OpenFile(writing: path)
    let hash = SHA256()
    let start = header.serialized
    hash.update(start)
    try writeArray(start, to: file)
    for tensor in tensors {
      try inPieces(tensor.values) { (piece) throws(CheckpointError) in
        hash.update(piece)
        try file.write(piece)
      }
    }
    try file.synchronize()
    return FileDigest(
      name: lastComponent(path), bytes: start.count + header.dataByteCount,
      sha256: hash.finish())
  }
}

/// Calls `body` with the bytes of `values`, little-endian as safetensors wants them on every
/// machine this program runs on, a cache-sized piece at a time.
func inPieces(
  _ values: View<Float>, _ body: (UnsafeRawBufferPointer) throws(CheckpointError) -> Void
) throws(CheckpointError) {
  let bytes = UnsafeRawBufferPointer(values.bytes)
  var offset = 0
  while offset < bytes.count {
    let end = min(offset + OpenFile.piece, bytes.count)
    try body(UnsafeRawBufferPointer(rebasing: bytes[offset..<end]))
    offset = end
  }
}

/// Writes a small array whole.
func writeArray(_ bytes: [UInt8], to file: OpenFile) throws(CheckpointError) {
  let failure: CheckpointError? = bytes.withUnsafeBytes { pointer in
    do throws(CheckpointError) {
      try file.write(pointer)
      return nil
    } catch {
      return error
    }
  }
  if let failure { throw failure }
}
