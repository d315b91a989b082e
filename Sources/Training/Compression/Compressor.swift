// Files that a model makes smaller, and whole again.
import Checkpointing
import Compute
import Reformer

/// Compresses texts with the model of a checkpoint.
public struct Compressor {
  private let checkpoint: Checkpoint
  private let engine: Engine
  /// Bytes a text may have, which is in memory as a whole.
  static let mostBytes = 1 << 32
  /// Most parts of a text that are coded side by side.
  public static let mostStreams = 256

  /// Throws where the model does not decode what it encodes.
  public init(_ checkpoint: Checkpoint, threads: Int) throws(UserError) {
    let config = checkpoint.config
    try config.requireDecoder("compress")
    guard config.run.matrixProducts != .openblas else {
      throw UserError(
        "\(checkpoint.folder): run.matrix_products is openblas, which makes no promise about its bits; a model that is "
          + "to compress needs tiles or amx")
    }
    guard config.reformer.layers.allSatisfy(\.isStrictlyCausal) else {
      throw UserError(
        "\(checkpoint.folder): not strictly causal, so no decoder has its probabilities; train with "
          + "attention.lsh.sight = \"bucket\"")
    }
    guard config.reformer.carriedRows == 0 else {
      throw UserError(
        "\(checkpoint.folder): its layers of kind memory carry over what they have seen, and parts of a file are coded "
          + "side by side; compress with a model of data.order = \"random\"")
    }
    self.checkpoint = checkpoint
    engine = Engine(threads: threads)
  }

  /// What a file came to.
  public struct Outcome: Sendable {
    /// Bytes of the text.
    public let text: Int
    /// Bytes of the compressed file.
    public let compressed: Int
  }

  /// Compresses the file at `path` into that at `output`, coding up to `streams` parts of it side by side.
  ///
  /// - Throws: where a file cannot be read or written, and `ReformerError` where the model fails.
  public func compress(
    _ path: String, to output: String, streams: Int, progress: (Double) -> Void = { _ in }
  ) throws -> Outcome {
    let text = try SmallFile.read(path, limit: Self.mostBytes)
    let segments = Segments(
      count: text.count, context: checkpoint.config.data.length, streams: streams)
    let bytes = try checkpoint.withParameters { parameters in
      var encoder = RangeEncoder()
      _ = try coder(segments, parameters).run(progress: progress) { place, shares in
        encoder.encode(shares[text[place]])
        return text[place]
      }
      return CompressedFile(
        model: CompressionModel(checkpoint, parameters: parameters), segments: segments,
        payload: encoder.finish(), digest: rawDigest(SHA256.digits(of: text))
      ).bytes
    }
    try SmallFile.replace(output, with: bytes)
    return Outcome(text: text.count, compressed: bytes.count)
  }

  /// Writes the text of the compressed file at `path` to `output`, once it is known to be right.
  ///
  /// - Throws: `UserError` where the file is damaged or was made with another model, and where a file cannot be read or
  ///   written.
  public func decompress(
    _ path: String, to output: String, progress: (Double) -> Void = { _ in }
  ) throws -> Outcome {
    let bytes = try SmallFile.read(path, limit: Self.mostBytes)
    let file = try CompressedFile(bytes, path: path)
    let text = try checkpoint.withParameters { parameters in
      try check(file, CompressionModel(checkpoint, parameters: parameters), path)
      return try decode(file, parameters, path, progress: progress)
    }
    try SmallFile.replace(output, with: text)
    return Outcome(text: text.count, compressed: bytes.count)
  }

  private func coder(
    _ segments: Segments, _ parameters: View<Float>
  ) throws(ReformerError) -> SegmentCoder {
    try SegmentCoder(
      config: checkpoint.config, parameters: parameters, segments: segments, engine: engine)
  }

  private func check(
    _ file: CompressedFile, _ own: CompressionModel, _ path: String
  ) throws(UserError) {
    guard file.model.parameters == own.parameters else {
      throw UserError(
        "\(path): was compressed with parameters_sha256 \(file.model.name)..., those of \(checkpoint.folder) are "
          + "\(own.name)...; give the checkpoint it was compressed with")
    }
    guard file.model == own, file.segments.context == checkpoint.config.data.length else {
      throw UserError(
        "\(path): was compressed with these parameters, but under another config or by another version of the program"
      )
    }
  }

  /// The text, which is that of the digest.
  private func decode(
    _ file: CompressedFile, _ parameters: View<Float>, _ path: String,
    progress: (Double) -> Void
  ) throws -> [UInt8] {
    let damaged = UserError(
      "\(path): is damaged; what it decodes to is not the text that was compressed")
    var decoder = RangeDecoder(file.payload)
    let bytes = try coder(file.segments, parameters).run(progress: progress) { _, shares in
      let byte = shares.byte(at: decoder.part)
      decoder.decode(shares[byte])
      guard decoder.missing <= 0 else { throw damaged }
      return byte
    }
    let text = withExtendedLifetime(bytes) { bytes.view.array }
    guard decoder.missing == 0, rawDigest(SHA256.digits(of: text)) == file.digest else {
      throw damaged
    }
    return text
  }
}
