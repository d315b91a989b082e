// What a model with an encoder has beside one stack: a source in front of the window's own positions in both streams, whose
// blocks see all of it; and its output, which all layers of the decoder read.
import Attention
import Compute

/// The encoder's output: one constant while the decoder goes there and back.
///
/// S positions, D width. In the last rows of its way a source's streams are Y1 and Y2; the output is their mean, which each
/// layer of the decoder normalises for itself.
final class EncodedSource: Sendable {
  private let rows, gradient: Buffer<Float>
  private let width: Int

  /// Memory for sources of a model of these sizes.
  init(_ config: ReformerConfig) {
    rows = Buffer(config.sourceLength * config.width)
    gradient = Buffer(config.sourceLength * config.width)
    width = config.width
  }

  /// The part that serves one window.
  struct Part {
    /// `[S, D]`.
    let rows: Matrix
    /// `[S, D]`: to which the layers of the decoder add on their way back, last to first.
    let gradient: Matrix

    /// Positions, S.
    var length: Int { rows.rows }

    /// Sets the output from the streams at the encoder's end, and its gradient to zero.
    func set(_ streams: [ResidualStream], pass: Pass) {
      pass.over(length).eachTile { tile, scratch in
        let other = scratch.matrix(tile.count, rows.columns)
        streams[0].read(tile, into: rows.rows(tile))
        streams[1].read(tile, into: other)
        Kernels.weightedSum(
          rows.rows(tile).dense, by: 0.5, other.dense, by: 0.5, into: rows.rows(tile).dense)
        gradient.rows(tile).fill(0)
        scratch.lap(.streams)
      }
    }

    /// Sets the gradients of both streams at the encoder's end.
    func setGradients(_ streamGradients: [Matrix], pass: Pass) {
      pass.over(length).eachTile { tile, scratch in
        for stream in streamGradients {
          stream.rows(tile).copy(from: gradient.rows(tile))
          Kernels.scale(stream.rows(tile).dense, by: 0.5)
        }
        scratch.lap(.streams)
      }
    }
  }

  /// For the source of `window`.
  func part(of window: Window) -> Part {
    func matrix(_ buffer: Buffer<Float>) -> Matrix {
      Matrix(
        buffer.view[0..<window.sourceLength * width], rows: window.sourceLength, columns: width)
    }
    return Part(rows: matrix(rows), gradient: matrix(gradient))
  }
}

extension ReformerParts {
  /// Embeds a window, and takes its source through the encoder; returns its own streams, which stand before the decoder.
  func begin(
    _ streams: [ResidualStream], _ window: Window, pass: Pass, observer: any PassObserver
  ) throws(ReformerError) -> [ResidualStream] {
    observer.needs(group: embedding.group)
    try embedding.forward(
      tokens: window.inputs, streams: streams, pass: pass.over(window.inputs.count))
    guard let source = pass.source else { return streams }
    let own = streams.map { $0.part(0..<source.length) }
    try encoder.forward(own, pass: pass.over(source.length), observer: observer)
    source.set(own, pass: pass)
    return streams.map { $0.part(source.length..<source.length + window.length) }
  }
}

extension Pass {
  /// The pass over as many positions from 0, of the source or of source and window: the encoder's, which reads no source.
  func over(_ count: Int) -> Pass {
    guard source != nil else { return self }
    var pass = self
    pass.length = count
    pass.rows = 0..<count
    pass.source = nil
    pass.continuation = nil
    return pass
  }
}

extension ReformerConfig {
  /// Positions of both streams: those of a source and its target.
  public var positions: Int { sourceLength + length }

  /// Sub-layers of a layer of the stack that predicts.
  var sublayers: Int { encoder.isEmpty ? 2 : 3 }

  /// Attention to the encoder's output, where there is one.
  public var sourceAttention: EveryKeyAttention? {
    encoder.isEmpty ? nil : EveryKeyAttention(keys: sourceLength)
  }

  /// Attention of all layers in the order of the way forward, and how many positions its queries are at most.
  public var attentions: [(layer: any AttentionLayer, length: Int)] {
    encoder.map { ($0, sourceLength) }
      + layers.flatMap { layer in
        [(layer, length)] + (sourceAttention.map { [($0 as any AttentionLayer, length)] } ?? [])
      }
  }

  /// Throws for sizes that no model with an encoder has.
  func checkEncoder() throws(ReformerError) {
    guard !encoder.isEmpty else {
      return try require(sourceLength == 0, "a source of \(sourceLength)", "0 without an encoder")
    }
    for (index, layer) in encoder.enumerated() {
      if let problem = layer.problem { throw .config("encoder layer \(index): \(problem)") }
    }
    let longest = Self.largest - length
    try require(
      (1...longest).contains(sourceLength), "source length \(sourceLength)", "1 to \(longest)")
    try require(
      axialShape.isEmpty && !infusesPositions, "axial or infused positions",
      "rotary ones with an encoder")
    try require(residual == .reversible, "plain residuals", "reversible ones with an encoder")
    try require(ngrams.orders.isEmpty, "n-gram counts", "none with an encoder")
    try require(carriedRows == 0, "layers with a memory", "none with an encoder")
  }
}
