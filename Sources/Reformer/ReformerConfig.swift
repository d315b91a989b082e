// Everything that determines the model's mathematics. It is written into checkpoints; two runs with
// equal configs (and corpus, seed, instruction set, matrix back end) give equal bits.
import Attention

/// Activation of the feed-forward layer.
public enum Activation: String, Codable, Sendable, CaseIterable {
  /// max(x, 0).
  case relu
  /// x * Phi(x), exact (erf) form.
  case gelu
}

/// Sizes and constants of a Reformer language model.
///
/// Validated by whoever reads it (`RunConfig`).
public struct ReformerConfig: Codable, Sendable, Equatable {
  /// Token ids, V.
  public var vocabulary: Int
  /// Token id of byte 0.
  public var byteOffset: Int
  /// Positions of a training window, L; at most the product of `axialShape`.
  public var length: Int
  /// Features of each residual stream, D.
  public var width: Int
  /// Attention kind of each layer, first to last.
  public var layers: [AttentionKind]
  /// Attention heads, H.
  public var heads: Int
  /// Features per head, K.
  public var headWidth: Int
  /// Heads that share one pass over the sequence; divides `heads`.
  ///
  /// Rounding into the streams happens per group, so it is part of what fixes the bits.
  public var headsPerGroup: Int
  /// Hidden features of the feed-forward layer, F.
  public var feedForwardWidth: Int
  /// Activation of the feed-forward layer.
  public var activation: Activation
  /// Axes of the position grid; position p is row-major over them.
  public var axialShape: [Int]
  /// Features per axis; their sum is `width`.
  public var axialWidths: [Int]
  /// Dropout on embeddings and sub-layer outputs.
  public var dropout: Double
  /// Dropout on attention probabilities.
  public var attentionDropout: Double
  /// Added to the variance in LayerNorm.
  public var layerNormEpsilon: Double
  /// Fixed-point fraction bits of the residual streams.
  public var residualFractionBits: Int
  /// Sizes of the `lsh` layers.
  public var lsh: LSHAttentionSizes
  /// Sizes of the `local` layers.
  public var local: LocalAttentionSizes
  /// Whether `full` layers share one projection for queries and keys, as LSH attention does.
  public var fullSharedQueryKey: Bool

  /// All sizes at once.
  public init(
    vocabulary: Int = 256, byteOffset: Int = 0, length: Int, width: Int, layers: [AttentionKind],
    heads: Int, headWidth: Int, headsPerGroup: Int? = nil, feedForwardWidth: Int,
    activation: Activation = .relu, axialShape: [Int], axialWidths: [Int], dropout: Double = 0,
    attentionDropout: Double = 0, layerNormEpsilon: Double = 1e-12, residualFractionBits: Int = 18,
    lsh: LSHAttentionSizes, local: LocalAttentionSizes, fullSharedQueryKey: Bool = false
  ) {
    self.vocabulary = vocabulary
    self.byteOffset = byteOffset
    self.length = length
    self.width = width
    self.layers = layers
    self.heads = heads
    self.headWidth = headWidth
    self.headsPerGroup = headsPerGroup ?? heads
    self.feedForwardWidth = feedForwardWidth
    self.activation = activation
    self.axialShape = axialShape
    self.axialWidths = axialWidths
    self.dropout = dropout
    self.attentionDropout = attentionDropout
    self.layerNormEpsilon = layerNormEpsilon
    self.residualFractionBits = residualFractionBits
    self.lsh = lsh
    self.local = local
    self.fullSharedQueryKey = fullSharedQueryKey
  }
}
