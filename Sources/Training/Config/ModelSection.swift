// `[model]`: sizes and constants of the network.
import Attention
import Reformer

/// `[model]`; `keys` says what each property means.
package struct ModelSection: Sendable, Equatable {
  package var width = 0
  package var layers: [AttentionKind] = []
  package var heads = 0
  package var headWidth = 0
  package var headsPerGroup = 0
  package var feedForwardWidth = 0
  package var activation = Activation.relu
  package var vocabulary = 256
  package var byteOffset = 0
  package var axialShape: [Int] = []
  package var axialWidths: [Int] = []
  package var dropout = 0.0
  package var attentionDropout = 0.0
  package var layerNormEpsilon = 1e-12
  package var residualFractionBits = 18
  package var ngrams = NGramSizes()

  private static let size = Legal.from(1, to: RunConfig.largestSize)

  static let keys = ConfigSection(
    name: "model", text: "sizes and constants of the network",
    keys: [
      ConfigKey(
        "model.width", \.model.width, size, required: true, .fixed,
        "Features of each of the two residual streams."),
      ConfigKey(
        "model.layers", \.model.layers, .list(1...4096, of: .any), required: true, .fixed,
        "Attention kind per layer, first to last."),
      ConfigKey(
        "model.heads", \.model.heads, size, required: true, .fixed, "Attention heads."),
      ConfigKey(
        "model.head_width", \.model.headWidth, size, required: true, .fixed,
        "Features per head."),
      ConfigKey(
        "model.heads_per_group", \.model.headsPerGroup, automatic: 0, or: size, .fixed,
        "Heads that go over the sequence together, a divisor of heads; auto: as many as fit."),
      ConfigKey(
        "model.feed_forward_width", \.model.feedForwardWidth, size, required: true, .fixed,
        "Hidden features of the feed-forward layers."),
      ConfigKey(
        "model.activation", \.model.activation, .any, .fixed,
        "Activation of the feed-forward layers."),
      ConfigKey(
        "model.vocabulary", \.model.vocabulary, .from(256, to: RunConfig.largestSize), .fixed,
        "Token ids; at least 256 + byte_offset."),
      ConfigKey(
        "model.byte_offset", \.model.byteOffset, .from(0, to: 65536), .fixed,
        "Token id of byte 0."),
      ConfigKey(
        "model.axial_shape", \.model.axialShape, .list(1...64, of: size), required: true, .fixed,
        "Axes of the position grid; their product is at least data.length."),
      ConfigKey(
        "model.axial_widths", \.model.axialWidths, .list(1...64, of: size), required: true, .fixed,
        "Features per axis; they add up to width."),
      ConfigKey(
        "model.dropout", \.model.dropout, .from(0, below: 1), .fixed,
        "Dropout on embeddings and sub-layer outputs."),
      ConfigKey(
        "model.attention_dropout", \.model.attentionDropout, .from(0, below: 1), .fixed,
        "Dropout on attention probabilities."),
      ConfigKey(
        "model.layer_norm_epsilon", \.model.layerNormEpsilon, .from(1e-30, below: 1), .fixed,
        "Added to the variance in LayerNorm."),
      ConfigKey(
        "model.residual_fraction_bits", \.model.residualFractionBits, .from(8, to: 24), .fixed,
        "Fraction bits of the fixed-point residual streams."),
    ])

  static let ngramKeys = ConfigSection(
    name: "model.ngrams", text: "tables of what the last bytes say of the next one",
    keys: [
      ConfigKey(
        "model.ngrams.orders", \.model.ngrams.orders, .list(0...16, of: .from(1, to: 32)), .fixed,
        "Bytes of context of each table, different ones; none for no tables."),
      ConfigKey(
        "model.ngrams.rows", \.model.ngrams.rows, .from(1, to: 1 << 24), .fixed,
        "Most rows of a table, of a number per token id each; contexts share rows where there are more."
      ),
    ])
}
