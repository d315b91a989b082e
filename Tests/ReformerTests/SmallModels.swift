// Small models with made-up parameters and windows.
import Attention
import Compute
import Reformer
import TestSupport
import Testing

/// Sizes that have nothing to do with each other, so that swapped dimensions show.
func smallConfig(
  _ layers: [AttentionKind], length: Int = 40, width: Int = 12, vocabulary: Int = 23,
  heads: Int = 2, headsPerGroup: Int? = nil, activation: Activation = .gelu,
  tokenShift: Bool = false,
  axialShape: [Int] = [5, 8], axialWidths: [Int] = [5, 7], dropout: Double = 0,
  attentionDropout: Double = 0, residualFractionBits: Int = 18, fullSharedQueryKey: Bool = false,
  lsh: LSHAttention = smallLSH, isRotary: Bool = false, isInfused: Bool = false,
  ngrams: NGramSizes = NGramSizes(),
  precision: Precision = .fp32, residual: ResidualKind = .reversible
) -> ReformerConfig {
  var sizes = AttentionSizes(
    local: LocalAttention(chunk: 8, chunksBefore: 1), lsh: lsh,
    fullSharedQueryKey: fullSharedQueryKey)
  sizes.sliding = SlidingAttention(window: 9, dilation: [1, 3], global: 2, globalEvery: 50)
  sizes.span = SpanAttention(maximum: 9, ramp: 5, penalty: 0)
  sizes.strided = StridedAttention(stride: 7)
  sizes.fixed = FixedAttention(stride: 9, summary: 2)
  sizes.bigBird = BigBirdAttention(block: 5, window: 2, global: 1, random: 2)
  sizes.blocks = BlocksAttention(block: 6, window: 2, top: 2)
  sizes.linear = LinearAttention(features: 16)
  sizes.compressed = CompressedAttention(block: 8, rows: 2)
  sizes.memory = MemoryAttention(rows: 11, isCarried: true)
  return ReformerConfig(
    vocabulary: vocabulary, length: length, width: width, layers: layers.map(sizes.layer),
    heads: heads,
    headWidth: isRotary ? 6 : 5, headsPerGroup: headsPerGroup, feedForwardWidth: 21,
    activation: activation, tokenShift: tokenShift, precision: precision,
    axialShape: isRotary || isInfused ? [] : axialShape,
    axialWidths: isRotary || isInfused ? [] : axialWidths, infusesPositions: isInfused,
    dropout: dropout,
    attentionDropout: attentionDropout, residualFractionBits: residualFractionBits, ngrams: ngrams,
    residual: residual)
}

/// Sizes of the `lsh` layers of `smallConfig`.
let smallLSH = LSHAttention(chunk: 8, chunksBefore: 1, hashes: 2, buckets: [4, 2])

/// The same with strict sight, and a window.
func strictLSH(hashes: Int = 2, window: Int = 0) -> LSHAttention {
  LSHAttention(
    chunk: 8, chunksBefore: 2, hashes: hashes, buckets: [4, 2], sight: .bucket, window: window)
}

/// Numbers of one layer's rotations in a model of `smallConfig`.
func rotationCount(_ config: ReformerConfig) -> Int {
  config.heads * config.headWidth * smallLSH.hashes * smallLSH.rotationWidth
}

/// A model, its parameters and one window.
///
/// Not for use from several threads.
final class ModelProbe {
  let model: ReformerModel
  let engine: Engine
  let parameters: Buffer<Float>
  let gradients: Buffer<Float>
  var inputs: [Int32]
  var targets: [Int32]
  /// Of a model with an encoder.
  var source: [Int32]
  var window: Window {
    Window(source: source, inputs: inputs, targets: targets, isContinued: isContinued)
  }
  /// Of the stream that windows are part of, which passes read and do not commit.
  var memory: StreamMemory?
  var isContinued = false
  var address = RandomAddress(seed: 11, step: 5, sample: 3)
  var rotations: [Int: [Float]] = [:]

  /// All parameters are moved off their first values by `disorder`, so that no gradient is 0.
  init(
    _ config: ReformerConfig, length: Int? = nil, threads: Int = 1, keepActivations: Bool = false,
    seed: UInt64 = 1, disorder: Float = 0.2
  ) throws {
    engine = Engine(threads: threads)
    engine.poison(1 << 16)
    model = try ReformerModel(config: config, engine: engine, keepActivations: keepActivations)
    parameters = Buffer(model.layout.parameterBufferCount)
    gradients = Buffer(model.layout.count)
    model.layout.initialise(parameters.view, seed: seed)
    for (index, slot) in model.layout.slots.enumerated() {
      let noise = madeUpNormals(slot.count, seed: seed * 100 + UInt64(index), scale: disorder)
      for (place, number) in zip(slot.range, noise) { parameters.view[place] += number }
    }
    let length = length ?? config.length
    inputs = madeUpTokens(length, vocabulary: config.vocabulary, seed: seed)
    targets = madeUpTokens(length, vocabulary: config.vocabulary, seed: seed + 7)
    source = madeUpTokens(config.sourceLength, vocabulary: config.vocabulary, seed: seed + 13)
  }

  /// Mean loss; gradients afresh in `gradients`.
  @discardableResult
  func step(
    observer: any PassObserver = Unobserved()
  ) throws -> Double {
    // What was there must not matter.
    for slot in model.layout.groups.flatMap(\.slots) { gradients.view[slot.range].fill(.nan) }
    return try model.lossAndGradients(
      parameters: parameters.view, gradients: gradients.view, window: window, address: address,
      givenRotations: rotations, memory: memory, observer: observer)
  }

  /// The streams right after the embedding of a training pass: one that is given up there.
  func embeddedStreams() -> (first: [Int32], second: [Int32]) {
    struct Stop: PassObserver { var shouldStop: Bool { true } }
    #expect(throws: ReformerError.self) { try step(observer: Stop()) }
    return model.currentStreams
  }

  /// Takes a step, and checks that its way back has left the streams as the embedding made them, bit for bit, and that
  /// the way up does change them.
  func checkStreamsComeBack() throws {
    try step()
    let recovered = model.currentStreams
    let embedded = embeddedStreams()
    #expect(recovered == embedded)
    _ = try loss()
    let top = model.currentStreams
    #expect(top.first != embedded.first && top.second != embedded.second)
  }

  /// Takes a step, and checks the gradient of each tensor but those that `skips` names against differences of the mean
  /// loss, `step` apart; relative errors up to `limit` pass.
  func checkGradients(
    limit: Double, step size: Double = 4e-3, skips: (String) -> Bool = { _ in false }
  ) throws {
    try step()
    let gradients = gradients.view.array
    for (index, slot) in model.layout.slots.enumerated() where !skips(slot.name) {
      let error = try GradientCheck.worstError(
        of: Array(gradients[slot.range]), at: parameters.view[slot.range], step: size,
        floor: 1e-3, seed: UInt64(index)
      ) { try step() }
      #expect(error <= limit, "\(slot.name)")
    }
  }

  /// Summed loss without dropout.
  func loss(logits: Matrix? = nil) throws -> Double {
    try model.loss(
      parameters: parameters.view, window: window, address: address, givenRotations: rotations,
      memory: memory, logits: logits)
  }

  /// Logits of the whole window without dropout, `[L, V]` flat.
  func logits() throws -> [Float] {
    let (length, classes) = (inputs.count, model.config.vocabulary)
    let buffer = Buffer<Float>(length * classes)
    _ = try loss(logits: Matrix(buffer.view, rows: length, columns: classes))
    return buffer.view.array
  }

  /// Keeps hidden units clear of the kink of relu, where differences mean nothing.
  ///
  /// Every other one is always on, the others always off.
  func decideHiddenUnits() {
    for layer in model.config.layers.indices {
      let bias = values("reformer.encoder.layers.\(layer).feed_forward.dense.dense.bias")
      for unit in 0..<bias.count { bias[unit] = unit % 2 == 0 ? 4 : -4 }
    }
  }

  /// Gives heads spans clear of whole positions, where differences mean nothing.
  func decideSpans() {
    for slot in model.layout.slots where slot.specification.kind == .share {
      for (head, place) in slot.range.enumerated() {
        parameters.view[place] = (Float(3 * head + 2) + 0.5) / 9
      }
    }
  }

  /// The parameters of one tensor.
  func values(_ name: String) -> View<Float> { parameters.view[model.layout[name].range] }
}
