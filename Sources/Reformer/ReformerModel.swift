// The model's main path: bytes -> embedding -> reversible sub-layers -> loss, and back through the same. A source goes
// through an encoder first (Encoder.swift).
import Attention
import Compute

/// A reversible LSH Reformer language model on one rank.
///
/// Parameters and gradients are flat buffers with `layout`; the model owns only the residual
/// streams and their gradients, 16 bytes per position and feature. One pass at a time.
public final class ReformerModel {
  /// Sizes.
  public let config: ReformerConfig
  /// Where each parameter lies.
  public var layout: ParameterLayout { parts.layout }
  /// Counts of n-grams, where the model has them.
  public var ngrams: NGramTables? { parts.head.ngrams?.tables }
  private let engine: Engine
  private let parts: ReformerParts
  private let rotary: RotaryPositions?
  private let infused: InfusedPositions?
  private let streams: [Buffer<Int32>]
  private let streamGradients: [Buffer<Float>]
  private let encoded: EncodedSource?
  private let rowLoss: Buffer<Float>
  private let kept: KeptActivations?

  /// A model for windows of up to `config.length` positions.
  ///
  /// - `keepActivations` stores what the backward pass needs instead of recomputing it, as plain residuals always do.
  /// - `withoutAttention`: layers whose attention adds nothing, to see what it is worth; for `loss` alone.
  /// - Throws where sizes do not fit each other.
  public init(
    config: ReformerConfig, engine: Engine, keepActivations: Bool = false,
    withoutAttention: Set<Int> = []
  ) throws(ReformerError) {
    try config.check()
    self.config = config
    self.engine = engine
    parts = ReformerParts(config, withoutAttention: withoutAttention)
    rotary = config.rotaryPositions
    infused = config.infusedPositions
    let size = config.positions * config.width
    streams = [Buffer(size), Buffer(size)]
    streamGradients = [Buffer(size), Buffer(size)]
    encoded = config.encoder.isEmpty ? nil : EncodedSource(config)
    rowLoss = Buffer(config.length)
    kept =
      keepActivations || config.residual == .plain
      ? KeptActivations(
        parts: (parts.encoder.steps + parts.stack.steps).map {
          ($0.sublayer.group, $0.sublayer.keptParts)
        },
        length: max(config.length, config.sourceLength), width: config.width) : nil
  }

  /// The streams of a window: those of its source, then its own.
  private func start(_ window: Window) throws(ReformerError) -> [ResidualStream] {
    try window.check(config)
    return streams.map {
      ResidualStream(
        values: $0.view[0..<(window.sourceLength + window.length) * config.width], first: 0,
        width: config.width, fractionBits: config.residualFractionBits)
    }
  }

  private func pass(
    _ parameters: View<Float>, _ window: Window, _ address: RandomAddress, isTraining: Bool,
    _ givenRotations: [Int: [Float]] = [:], _ memory: StreamMemory? = nil
  ) throws(ReformerError) -> Pass {
    precondition(parameters.count == layout.parameterBufferCount, "parameters of another layout")
    return Pass(
      parameters: parameters, length: window.length, rows: 0..<window.length, address: address,
      isTraining: isTraining, givenRotations: givenRotations, rotary: rotary, infused: infused,
      engine: engine, kept: isTraining ? kept : nil, stream: try memory?.part(of: window),
      source: encoded?.part(of: window))
  }

  private func sum(_ losses: View<Float>) -> Double {
    losses.array.reduce(0) { $0 + Double($1) }
  }

  /// Loss of one window and its gradient.
  ///
  /// - `gradients`: `[layout.count]`, set to the gradient of the mean loss over scored positions, the padding between
  ///   parameters left alone. `memory`: of the stream that the window is part of, which is to be committed by the caller.
  /// - Returns the mean loss in nats. Throws when the window does not fit, when a stream leaves its range, and
  ///   `stopped`.
  public func lossAndGradients(
    parameters: View<Float>, gradients: View<Float>, window: Window, address: RandomAddress,
    givenRotations: [Int: [Float]] = [:], memory: StreamMemory? = nil,
    observer: any PassObserver = Unobserved()
  ) throws(ReformerError) -> Double {
    let all = try start(window)
    let pass = try pass(parameters, window, address, isTraining: true, givenRotations, memory)
    precondition(window.scoredCount > 0 && gradients.count == layout.count, "nothing to score")
    let positions = window.sourceLength + window.length
    let allGradients = streamGradients.map {
      Matrix($0.view[0..<positions * config.width], rows: positions, columns: config.width)
    }
    let streamGradients = allGradients.map { $0.rows(window.sourceLength..<positions) }
    let rowLoss = rowLoss.view[0..<window.length]

    let streams = try parts.begin(all, window, pass: pass, observer: observer)
    try parts.stack.forward(streams, pass: pass, observer: observer)
    observer.needs(group: parts.head.group)
    parts.head.forwardAndBackward(
      streams: streams, window: window, scale: 1 / Float(window.scoredCount), rowLoss: rowLoss,
      streamGradients: streamGradients, gradients: gradients, pass: pass)
    observer.ready(group: parts.head.group)
    try parts.stack.backward(
      streams, streamGradients: streamGradients, gradients: gradients, pass: pass,
      observer: observer)
    if let source = pass.source {
      let rows = 0..<source.length
      let sourceGradients = allGradients.map { $0.rows(rows) }
      source.setGradients(sourceGradients, pass: pass)
      try parts.encoder.backward(
        all.map { $0.part(rows) }, streamGradients: sourceGradients, gradients: gradients,
        pass: pass.over(source.length), observer: observer)
    }
    parts.embedding.backward(
      tokens: window.inputs, streamGradients: allGradients, gradients: gradients,
      pass: pass.over(positions))
    observer.ready(group: parts.embedding.group)
    return sum(rowLoss) / Double(window.scoredCount)
  }

  /// Sum of the loss in nats over the scored positions of one window, without dropout.
  ///
  /// - `logits`: `[L, V]`, filled where given. `losses`: `[L]`, likewise, with the loss of each position, 0 where it
  ///   is not scored. `likeliest`: `[L]`, likewise, with the token that is found likeliest after each position, the
  ///   smallest of equally likely ones. `memory`: as in `lossAndGradients`. `hashTally`: counts what the hashes come to.
  /// - Throws: as `lossAndGradients`.
  public func loss(
    parameters: View<Float>, window: Window, address: RandomAddress,
    givenRotations: [Int: [Float]] = [:], memory: StreamMemory? = nil, logits: Matrix? = nil,
    losses: View<Float>? = nil, likeliest: View<Int32>? = nil, hashTally: HashTally? = nil,
    observer: any PassObserver = Unobserved()
  ) throws(ReformerError) -> Double {
    let all = try start(window)
    var pass = try pass(parameters, window, address, isTraining: false, givenRotations, memory)
    pass.hashTally = hashTally
    let rowLoss = rowLoss.view[0..<window.length]
    let streams = try parts.begin(all, window, pass: pass, observer: observer)
    try parts.stack.forward(streams, pass: pass, observer: observer)
    parts.head.forward(
      streams: streams, window: window, rowLoss: rowLoss, allLogits: logits, likeliest: likeliest,
      pass: pass)
    losses?.copy(from: rowLoss)
    return sum(rowLoss)
  }

  /// A pass over one window that stands before its first sub-layer.
  ///
  /// For models without an encoder. Throws when the window does not fit.
  public func steppedPass(
    parameters: View<Float>, window: Window, address: RandomAddress
  ) throws(ReformerError) -> SteppedPass {
    precondition(config.encoder.isEmpty, "a pass in steps of a model with an encoder")
    let streams = try start(window)
    let pass = try pass(parameters, window, address, isTraining: false)
    try parts.embedding.forward(tokens: window.inputs, streams: streams, pass: pass)
    return SteppedPass(
      stack: parts.stack, residuals: streams, pass: pass, names: parts.stack.steps.map(\.name))
  }

  /// The residual streams as they stand, X1 then X2: after `lossAndGradients` without kept
  /// activations, those the embedding set.
  ///
  /// For tests of exactness.
  package var currentStreams: (first: [Int32], second: [Int32]) {
    (streams[0].view.array, streams[1].view.array)
  }

}

extension ReformerConfig {
  /// Where every parameter lies: one group for the embeddings, one per sub-layer, one for the head.
  public var parameterLayout: ParameterLayout { ReformerParts(self).layout }

  /// Angles of all positions, where they are rotary.
  var rotaryPositions: RotaryPositions? {
    axialShape.isEmpty && !infusesPositions
      ? RotaryPositions(length: farthest, headWidth: headWidth) : nil
  }

  /// Positions on either side of the start of a window.
  private var farthest: Int { max(length, carriedRows + 1, sourceLength) }

  /// Sinusoids of all positions, where they are infused.
  var infusedPositions: InfusedPositions? {
    infusesPositions ? InfusedPositions(length: farthest, width: width) : nil
  }

  /// Numbers of 32 bits that a model has of sinusoids of positions.
  public var positionFloats: Int {
    infusesPositions ? InfusedPositions.floats(length: farthest, width: width) : 0
  }

  /// Name of what belongs to a layer in the checkpoint: in Hugging Face's layout the only stack is the encoder.
  func layerName(_ index: Int) -> String {
    encoder.isEmpty || index < encoder.count
      ? "reformer.encoder.layers.\(index)." : "reformer.decoder.layers.\(index - encoder.count)."
  }
}
