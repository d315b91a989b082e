import Attention
import Compute
import Reformer
import TestSupport
import Testing

@Suite("Gradients of the model against finite differences")
struct GradientTests {
  /// Checks every tensor of a model on its own, so that each layer's share is seen.
  private func check(
    _ config: ReformerConfig, length: Int? = nil, rotates: Bool = false, step: Double = 4e-3,
    limit: Double = 3e-3
  ) throws {
    var config = config
    // A choice of blocks jumps where it changes; where all are chosen there is none.
    for (index, layer) in config.layers.enumerated() {
      guard var blocks = layer as? BlocksAttention else { continue }
      blocks.top = config.length
      config.layers[index] = blocks
    }
    let probe = try ModelProbe(config, length: length)
    if config.activation == .relu { probe.decideHiddenUnits() }
    probe.decideSpans()
    // Hashes jump where they change. Without rotations all share a bucket and the order stays.
    for (index, layer) in config.layers.enumerated() where layer is LSHAttention && !rotates {
      probe.rotations[index] = [Float](repeating: 0, count: rotationCount(config))
    }
    try probe.checkGradients(limit: limit, step: step)
  }

  // Steps so small that no query of this model changes its bucket (bits are the same everywhere, so that holds
  // everywhere); noise is 16 times as much of them.
  @Test("buckets by drawn rotations")
  func rotations() throws {
    try check(
      smallConfig([.lsh], residualFractionBits: 22), rotates: true, step: 2.5e-4, limit: 3e-2)
  }

  // Losses carry noise of 1e-7 (single precision and streams of 2^-22), which is 3e-5 per step;
  // gradients are 0.03 and more. So errors are about 1e-3 at most.
  @Test(
    "every tensor of a layer of each kind, dropout off and on",
    arguments: AttentionKind.allCases.map { [$0] }, [0, 0.2])
  func layers(kinds: [AttentionKind], dropout: Double) throws {
    try check(
      smallConfig(
        kinds, dropout: dropout, attentionDropout: dropout, residualFractionBits: 22))
  }

  @Test("a shared projection in full attention")
  func sharedFull() throws {
    try check(smallConfig([.full], residualFractionBits: 22, fullSharedQueryKey: true))
  }

  @Test("three axes of positions, and a window shorter than their product")
  func threeAxes() throws {
    try check(
      smallConfig(
        [.local], axialShape: [2, 4, 5], axialWidths: [3, 4, 5], dropout: 0.1,
        residualFractionBits: 22), length: 33)
  }

  @Test("rotary positions of each kind", arguments: AttentionKind.allCases.map { [$0] })
  func rotary(kinds: [AttentionKind]) throws {
    try check(smallConfig(kinds, dropout: 0.1, residualFractionBits: 22, isRotary: true))
    try check(
      smallConfig(kinds, residualFractionBits: 22, fullSharedQueryKey: true, isRotary: true))
  }

  @Test("infused positions of each kind", arguments: AttentionKind.allCases.map { [$0] })
  func infused(kinds: [AttentionKind]) throws {
    try check(smallConfig(kinds, dropout: 0.1, residualFractionBits: 22, isInfused: true))
  }

  @Test("the penalty of wide sight is in the gradient of the spans, and nowhere else")
  func penalty() throws {
    let layers = [0, 0.5].map { SpanAttention(maximum: 9, ramp: 5, penalty: $0) }
    let probes = try layers.map { layer in
      var config = smallConfig([.local, .span], heads: 4, headsPerGroup: 2)
      config.layers[1] = layer
      let probe = try ModelProbe(config)
      probe.decideSpans()
      return probe
    }
    let losses = try probes.map { try $0.step() }
    #expect(losses[0] == losses[1])
    for slot in probes[0].model.layout.slots {
      let (plain, pulled) = (
        probes[0].gradients.view[slot.range].array, probes[1].gradients.view[slot.range].array
      )
      guard slot.specification.kind == .share else {
        #expect(plain.bitPatterns == pulled.bitPatterns, "\(slot.name)")
        continue
      }
      // Heads with spans of 2.5, 5.5 and 8.5 positions; that of the last one is beyond the largest.
      let shares = zip(plain, pulled).map { $1 - $0 }
      for share in shares[..<3] { #expect(abs(share - 0.5 * 9 / 4) < 1e-6) }
      #expect(plain[3] == 0 && pulled[3] == 0)
    }
  }

  @Test("squared relu")
  func squaredReLU() throws {
    try check(smallConfig([.local], activation: .relu2, dropout: 0.1, residualFractionBits: 22))
  }

  @Test("token shift, in one tile and over the edges of tiles and blocks")
  func tokenShift() throws {
    try check(
      smallConfig([.local, .lsh], tokenShift: true, dropout: 0.1, residualFractionBits: 22))
    try check(
      smallConfig(
        [.local], length: 1300, tokenShift: true, axialShape: [26, 50], residualFractionBits: 22))
  }

  @Test("relu")
  func relu() throws {
    try check(smallConfig([.local], activation: .relu, dropout: 0.1, residualFractionBits: 22))
  }

  @Test("a whole model of several kinds, heads in groups, dropout on")
  func mixed() throws {
    try check(
      smallConfig(
        [.local, .lsh, .full], heads: 4, headsPerGroup: 2, dropout: 0.1, attentionDropout: 0.1,
        residualFractionBits: 22))
  }

  @Test("plain residual blocks, of which each reads what the one before has written")
  func plain() throws {
    for dropout in [0, 0.2] {
      try check(
        smallConfig(
          [.local, .full], heads: 4, headsPerGroup: 2, dropout: dropout, attentionDropout: dropout,
          residualFractionBits: 22, residual: .plain))
    }
    try check(
      smallConfig([.lsh], tokenShift: true, residualFractionBits: 22, residual: .plain))
  }

  @Test("a window of many tiles and more than one block")
  func long() throws {
    try check(
      smallConfig(
        [.lsh], length: 1300, axialShape: [26, 50], dropout: 0.1, attentionDropout: 0.1,
        residualFractionBits: 22))
  }
}
