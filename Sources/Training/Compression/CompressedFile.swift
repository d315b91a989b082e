// The file that `compress` writes: what it was made with, the coded bytes, and two digests, of the text and of the file.
import Checkpointing
import Compute

/// What the bits of a compressed file depend on.
package struct CompressionModel: Equatable {
  /// SHA-256 of the parameters.
  let parameters: [UInt8]
  /// Digest of all else: the config's model and attention, and what computes them.
  let arithmetic: [UInt8]

  /// A checkpoint's model, as this program computes it.
  init(_ checkpoint: Checkpoint, parameters: View<Float>) {
    let config = checkpoint.config
    self.parameters = rawDigest(
      ModelFile.parametersSHA256(layout: checkpoint.layout, parameters: parameters))
    let keys = ConfigKey.all.filter {
      $0.name.hasPrefix("model.") || $0.name.hasPrefix("attention.")
        || ["run.seed", "data.length"].contains($0.name)
    }
    let lines =
      keys.map { "\($0.name) = \($0.get(config).toml)" }
      + [MatrixProducts.description, "program \(programVersion)"]
    arithmetic = Array(
      rawDigest(SHA256.digits(of: lines.joined(separator: "\n").utf8)).prefix(8))
  }

  fileprivate init(parameters: [UInt8], arithmetic: [UInt8]) {
    self.parameters = parameters
    self.arithmetic = arithmetic
  }

  /// The first digits of the parameters' digest, as `inspect` prints it.
  var name: String { hexadecimal(parameters.prefix(6)) }
}

/// A compressed text.
///
/// Layout, numbers little-endian: `RTCF`, version (1 byte); SHA-256 of the parameters (32), digest of the arithmetic (8);
/// bytes of the text (8), of a window (4), windows of a stream (8); coded bytes; SHA-256 of the text (32), the first 8
/// bytes of the SHA-256 of all before.
package struct CompressedFile: Equatable {
  /// What it was made with.
  package let model: CompressionModel
  /// How the text was cut.
  package let segments: Segments
  /// What the coder wrote.
  package let payload: ArraySlice<UInt8>
  /// SHA-256 of the text.
  package let digest: [UInt8]

  private static let magic = Array("RTCF".utf8) + [1]
  private static let headerCount = magic.count + 32 + 8 + 8 + 4 + 8
  private static let digestCount = 32
  private static let sealCount = 8

  /// The parts of a file that is to be written.
  package init(model: CompressionModel, segments: Segments, payload: [UInt8], digest: [UInt8]) {
    self.model = model
    self.segments = segments
    self.payload = payload[...]
    self.digest = digest
  }

  /// Its bytes.
  package var bytes: [UInt8] {
    func number(_ value: Int, _ count: Int) -> [UInt8] {
      (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
    let content =
      Self.magic + model.parameters + model.arithmetic + number(segments.count, 8)
      + number(segments.context, 4) + number(segments.windowsPerStream, 8) + payload + digest
    return content + Self.seal(content)
  }

  private static func seal(_ content: some Collection<UInt8>) -> ArraySlice<UInt8> {
    rawDigest(SHA256.digits(of: content)).prefix(sealCount)
  }

  /// Reads the content of the file at `path`.
  ///
  /// - Throws: `UserError` where it is no such file, or not as it was written.
  package init(_ bytes: [UInt8], path: String) throws(UserError) {
    guard bytes.starts(with: Self.magic.dropLast()) else {
      throw UserError("\(path): is no file that compress wrote")
    }
    guard bytes.count > Self.magic.count, bytes.starts(with: Self.magic) else {
      throw UserError("\(path): is of another version of the format")
    }
    let end = bytes.count - Self.sealCount
    guard end >= Self.headerCount + Self.digestCount, bytes[end...] == Self.seal(bytes[..<end])
    else { throw UserError("\(path): is damaged; its bytes are not those that were written") }
    var rest = bytes[Self.magic.count...]
    func take(_ count: Int) -> [UInt8] {
      defer { rest = rest.dropFirst(count) }
      return Array(rest.prefix(count))
    }
    func number(_ count: Int) -> UInt64 {
      take(count).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
    model = CompressionModel(parameters: take(32), arithmetic: take(8))
    let (count, context, windows) = (number(8), number(4), number(8))
    // Sizes whose memory there may be, and whose products are numbers.
    guard count <= Compressor.mostBytes, (1..<1 << 28).contains(context),
      (1..<1 << 32).contains(windows)
    else { throw UserError("\(path): is damaged; its sizes are none that compress writes") }
    segments = Segments(
      count: Int(count), context: Int(context), windowsPerStream: Int(windows))
    guard segments.streams <= Compressor.mostStreams else {
      throw UserError("\(path): is damaged; its sizes are none that compress writes")
    }
    payload = bytes[Self.headerCount..<end - Self.digestCount]
    digest = Array(bytes[(end - Self.digestCount)..<end])
  }
}

/// The bytes that hexadecimal digits stand for.
func rawDigest(_ digits: String) -> [UInt8] {
  let values = digits.utf8.map { $0 < 58 ? $0 - 48 : $0 - 87 }
  return stride(from: 0, to: values.count - 1, by: 2).map { values[$0] << 4 | values[$0 + 1] }
}

/// Two digits for each byte.
private func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
  bytes.map { byte in
    let digits = String(byte, radix: 16)
    return digits.count < 2 ? "0" + digits : digits
  }.joined()
}
