// The model's main path: bytes -> embedding -> reversible blocks -> loss, and back through the same
// blocks.
import Attention
import Compute

/// A reversible LSH Reformer language model on one rank (Kitaev et al.
///
/// 2020).
///
/// Parameters and gradients are flat buffers with `layout`; the model owns only the residual
/// streams and their gradients, 16 bytes per position and feature. One pass at a time.
public final class ReformerModel {
  /// Sizes.
  public let config: ReformerConfig
  /// Where each parameter lies.
  public let layout: ParameterLayout
  private let engine: Engine
  private let embedding: Embedding
  private let blocks: [ReversibleBlock]
  private let head: LossHead

  private let firstStream: Buffer<Int32>
  private let secondStream: Buffer<Int32>
  private let firstGradient: Buffer<Float>
  private let secondGradient: Buffer<Float>
  private let rowLoss: Buffer<Float>
  /// Memory of `keep_activations`, else nil.
  private let keptArena: ScratchArena?

  /// A model for windows of up to `config.length` positions.
  ///
  /// `keepActivations` stores what the backward pass needs instead of recomputing it: the oracle
  /// for exact reversibility, at the memory cost of an ordinary network.
  public init(config: ReformerConfig, engine: Engine, keepActivations: Bool = false) {
    self.config = config
    self.engine = engine
    let layout = config.parameterLayout
    self.layout = layout
    embedding = Embedding(config, layout: layout)
    blocks = config.layers.indices.map { ReversibleBlock(config, layout: layout, layer: $0) }
    head = LossHead(config, layout: layout)
    let size = config.length * config.width
    firstStream = Buffer(size)
    secondStream = Buffer(size)
    firstGradient = Buffer(size)
    secondGradient = Buffer(size)
    rowLoss = Buffer(config.length)
    keptArena = keepActivations ? ScratchArena(capacity: 1 << 40) : nil
  }

  private func streams(_ length: Int) -> (ResidualStream, ResidualStream) {
    precondition(length >= 1 && length <= config.length, "window of \(length) positions")
    func stream(_ buffer: Buffer<Int32>) -> ResidualStream {
      ResidualStream(
        values: buffer.view[0..<length * config.width], width: config.width,
        fractionBits: config.residualFractionBits)
    }
    return (stream(firstStream), stream(secondStream))
  }

  private func pass(
    _ parameters: View<Float>, _ length: Int, _ address: RandomAddress, isTraining: Bool,
    _ givenRotations: [Int: [Float]]
  ) -> Pass {
    precondition(parameters.count == layout.count, "parameters of another layout")
    return Pass(
      parameters: parameters, length: length, address: address, isTraining: isTraining,
      givenRotations: givenRotations, engine: engine)
  }

  private func sum(_ losses: View<Float>) -> Double {
    var total = 0.0
    for index in 0..<losses.count { total += Double(losses[index]) }
    return total
  }

  /// Loss of one window and its gradient.
  ///
  /// - `inputs`, `targets`: `[L]` token ids; a negative target is not scored.
  /// - `gradients`: added to; the gradient of the mean loss over scored positions.
  /// - `groupNeeded`: called with the index of each parameter group before the forward pass reads
  ///   it, first to last.
  /// - `groupReady`: called with the index of each parameter group whose gradient is final, last
  ///   first.
  /// - `shouldStop`: asked before each block; where it says yes, the pass is given up.
  /// - `progress`: called after each block, with the share of the pass that is done.
  /// - Returns the mean loss in nats. Throws when a stream leaves its range, and `stopped`.
  public func lossAndGradients(
    parameters: View<Float>, gradients: View<Float>, inputs: View<Int32>, targets: View<Int32>,
    address: RandomAddress, givenRotations: [Int: [Float]] = [:],
    groupNeeded: (Int) -> Void = { _ in }, shouldStop: () -> Bool = { false },
    groupReady: (Int) -> Void = { _ in },
    progress: (Double) -> Void = { _ in }
  ) throws(ReformerError) -> Double {
    let length = inputs.count
    let (first, second) = streams(length)
    let pass = pass(parameters, length, address, isTraining: true, givenRotations)
    let scored = (0..<length).reduce(0) { $0 + (targets[$1] >= 0 ? 1 : 0) }
    precondition(scored > 0 && gradients.count == layout.count, "nothing to score")

    return try (keptArena ?? engine.scratch).frame { () throws(ReformerError) in
      let kept = keptArena.map { arena in
        blocks.map {
          $0.keep(length: length, width: config.width, from: arena)
        }
      }
      groupNeeded(0)
      try embedding.forward(tokens: inputs, first: first, second: second, pass: pass)
      for (index, block) in blocks.enumerated() {
        if shouldStop() { throw .stopped }
        groupNeeded(2 * index + 1)
        try block.forward(
          first: first, second: second, pass: pass, kept: kept?[index],
          feedForwardNeeded: { groupNeeded(2 * index + 2) })
        progress(Double(index + 1) / Double(4 * blocks.count))
      }
      let streamGradients = [firstGradient, secondGradient].map {
        Matrix($0.view[0..<length * config.width], rows: length, columns: config.width)
      }
      groupNeeded(2 * blocks.count + 1)
      head.forwardAndBackward(
        streams: [first, second], targets: targets, scale: 1 / Float(scored),
        rowLoss: rowLoss.view[0..<length], streamGradients: streamGradients,
        gradients: gradients, pass: pass)
      groupReady(2 * blocks.count + 1)
      for (index, block) in blocks.enumerated().reversed() {
        if shouldStop() { throw .stopped }
        try block.backward(
          first: first, second: second, firstGradient: streamGradients[0],
          secondGradient: streamGradients[1], gradients: gradients, pass: pass,
          kept: kept?[index], feedForwardReady: { groupReady(2 * index + 2) })
        groupReady(2 * index + 1)
        // On the way back a block is computed once more and differentiated: three times the work.
        progress(1 - 0.75 * Double(index) / Double(blocks.count))
      }
      embedding.backward(
        tokens: inputs, firstGradient: streamGradients[0], secondGradient: streamGradients[1],
        gradients: gradients, pass: pass)
      groupReady(0)
      return sum(rowLoss.view[0..<length]) / Double(scored)
    }
  }

  /// Sum of the loss in nats over the scored positions of one window, without dropout.
  ///
  /// `logits`: `[L, V]`, filled where given. Shapes and errors as in `lossAndGradients`.
  public func loss(
    parameters: View<Float>, inputs: View<Int32>, targets: View<Int32>, address: RandomAddress,
    givenRotations: [Int: [Float]] = [:], logits: Matrix? = nil,
    shouldStop: () -> Bool = { false }
  ) throws(ReformerError) -> Double {
    let length = inputs.count
    let (first, second) = streams(length)
    let pass = pass(parameters, length, address, isTraining: false, givenRotations)
    try embedding.forward(tokens: inputs, first: first, second: second, pass: pass)
    for block in blocks {
      if shouldStop() { throw .stopped }
      try block.forward(first: first, second: second, pass: pass, kept: nil)
    }
    head.forward(
      streams: [first, second], targets: targets, rowLoss: rowLoss.view[0..<length],
      allLogits: logits, pass: pass)
    return sum(rowLoss.view[0..<length])
  }

  /// The residual streams as they stand, X1 then X2: after `lossAndGradients` without kept
  /// activations, those the embedding set.
  ///
  /// For tests of exactness.
  package var currentStreams: (first: [Int32], second: [Int32]) {
    (firstStream.view.array, secondStream.view.array)
  }

  /// The streams right after the embedding.
  ///
  /// For tests of exactness.
  package func embeddedStreams(
    parameters: View<Float>, inputs: View<Int32>, address: RandomAddress
  ) throws(ReformerError) -> (first: [Int32], second: [Int32]) {
    let (first, second) = streams(inputs.count)
    let pass = pass(parameters, inputs.count, address, isTraining: true, [:])
    try embedding.forward(tokens: inputs, first: first, second: second, pass: pass)
    return currentStreams
  }
}
