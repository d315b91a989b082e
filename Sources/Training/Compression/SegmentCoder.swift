// The walk over a text that the writer and the reader of a compressed file take alike: the model's shares for each byte in
// turn, from the bytes before it.
import Compute
import Reformer

/// Codes a text by the probabilities of a model.
struct SegmentCoder {
  private let config: RunConfig
  private let pass: IncrementalPass
  private let engine: Engine
  private let segments: Segments

  /// Throws where the model cannot be made.
  init(
    config: RunConfig, parameters: View<Float>, segments: Segments, engine: Engine
  ) throws(ReformerError) {
    self.config = config
    self.engine = engine
    self.segments = segments
    pass = try IncrementalPass(
      config: config.reformer, parameters: parameters, sequences: max(1, segments.streams),
      engine: engine)
  }

  /// Calls `code` with the place of each byte and the shares of all values it may have, and goes on with the value that
  /// it returns; returns all of them.
  ///
  /// Throws what `code` throws, and when a stream of the model leaves its range.
  func run(
    progress: (Double) -> Void = { _ in }, _ code: (Int, ByteShares) throws -> UInt8
  ) throws -> Buffer<UInt8> {
    // A size that is not true costs no memory before that is found out.
    let buffer = Buffer<UInt8>(segments.count)
    let bytes = buffer.view
    for start in segments.starts { bytes[start] = try code(start, .equal) }
    let (context, offset) = (segments.context, config.model.byteOffset)
    var done = 0
    for round in segments.rounds where !round.isEmpty {
      pass.begin(round.map { .unseen(config, window: $0.window) })
      for position in 0..<round[0].length {
        let running = round.prefix { $0.length > position }
        let places = running.map { $0.window * context + position }
        let logits = try pass.step(places.map { Int32(bytes[$0]) + Int32(offset) })
        for (place, shares) in zip(places, shares(logits.columns(offset..<offset + 256))) {
          bytes[place + 1] = try code(place + 1, shares)
        }
        done += running.count
        if position % 64 == 0 { progress(Double(done) / Double(segments.count)) }
      }
    }
    return buffer
  }

  /// Those of each row of logits.
  private func shares(_ logits: Matrix) -> [ByteShares] {
    var result = [ByteShares](repeating: .equal, count: logits.rows)
    result.withUnsafeMutableBufferPointer { result in
      nonisolated(unsafe) let result = result
      engine.pool.run(logits.rows) { row, scratch in
        result[row] = ByteShares(logits.row(row))
        scratch.lap(.loss)
      }
    }
    return result
  }
}
