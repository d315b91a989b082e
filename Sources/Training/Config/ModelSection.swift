// `[model]`: sizes and constants of the network.
import Attention
import Compute
import Reformer

/// How a model tells positions apart.
public enum PositionKind: String, Codable, Sendable, CaseIterable {
  /// Learnt tables, one per axis of a grid (the Reformer paper's), up to their product.
  case axial
  /// Rotations of queries and keys by their position.
  case rotary
  /// Sinusoids added to what queries and keys are made of.
  case infused
}

extension PositionKind: ConfigChoice {}

extension ResidualKind: ConfigChoice {}

/// What a model is made of.
public enum ModelKind: String, Sendable, CaseIterable {
  /// One stack, which predicts each byte from those before it.
  case decoder
  /// One that also sees a source, which goes through a stack of its own.
  case encoderDecoder = "encoder-decoder"
}

extension ModelKind: ConfigChoice {}

/// Numbers that products read.
public enum PrecisionChoice: String, Sendable, CaseIterable {
  /// Single precision.
  case fp32
  /// The nearest bf16 numbers; `run.matrix_products` says in which order they are added.
  case bf16
}

extension PrecisionChoice: ConfigChoice {}

/// `[model]`; `keys` says what each property means.
package struct ModelSection: Sendable, Equatable {
  package var preset = ModelPreset.none
  package var kind = ModelKind.decoder
  package var width = 0
  package var layers: [AttentionKind] = []
  package var encoderLayers: [AttentionKind] = []
  package var heads = 0
  package var headWidth = 0
  package var headsPerGroup = 0
  package var feedForwardWidth = 0
  package var activation = Activation.relu
  package var tokenShift = false
  package var residual = ResidualKind.reversible
  package var precision = PrecisionChoice.fp32
  package var vocabulary = 256
  package var byteOffset = 0
  package var positions = PositionKind.axial
  package var axialShape: [Int] = []
  package var axialWidths: [Int] = []
  package var dropout = 0.0
  package var attentionDropout = 0.0
  package var layerNormEpsilon = 1e-12
  package var residualFractionBits = 18
  package var ngrams = NGramSizes()

  private static let size = Legal.from(1, to: ConfigLimits.size)

  private typealias Key = SectionKey<ModelSection>

  static let keys = SectionKeys(
    name: "model", text: "sizes and constants of the network",
    keys: [
      Key(
        "preset", \.preset, .any, .free,
        "What keys are that a config does not give: their defaults; those too, and nothing that Hugging Face's "
          + "Reformer cannot express; or rotary positions, squared ReLU, token shift, n-gram counts of up to 16 bytes and one round "
          + "of LSH with sight = \"bucket\" and window = 64."),
      Key(
        "kind", \.kind, .any, .fixed,
        "One stack; or an encoder of sources and a decoder, whose layers also attend to its output, with data.task = "
          + "\"pairs\"."),
      Key(
        "width", \.width, size, required: true, .fixed,
        "Features of each of the two residual streams."),
      Key(
        "layers", \.layers, .list(1...4096, of: .any), required: true, .fixed,
        "Attention kind per layer, first to last; of the decoder where there are two stacks."),
      Key(
        "encoder_layers", \.encoderLayers, .list(0...4096, of: .any), .fixed,
        "With model.kind = \"encoder-decoder\": kind per layer of the encoder, full, local or lsh, which there see "
          + "later positions, too: all, as many chunks after the own one as before it, or all of the chunks that the hashes give."
      ),
      Key(
        "heads", \.heads, size, required: true, .fixed, "Attention heads."),
      Key(
        "head_width", \.headWidth, size, required: true, .fixed,
        "Features per head."),
      Key(
        "heads_per_group", \.headsPerGroup, automatic: 0, or: size, .fixed,
        "Heads that go over the sequence together, a divisor of heads; auto: as many as fit."),
      Key(
        "feed_forward_width", \.feedForwardWidth, size, required: true, .fixed,
        "Hidden features of the feed-forward layers."),
      Key(
        "activation", \.activation, .any, .fixed,
        "Activation of the feed-forward layers."),
      Key(
        "token_shift", \.tokenShift, .any, .fixed,
        "A quarter of the features that each sub-layer reads of its stream is that of the byte before (RWKV)."
      ),
      Key(
        "residual", \.residual, .any, .fixed,
        "Two streams that can be computed back, so that activations are not stored; or, to compare them with, plain "
          + "residual blocks: one stream, x + F(x), activations stored, memory that grows with depth."
      ),
      Key(
        "precision", \.precision, .any, .fixed,
        "Numbers that products with weights and attention of LSH chunks read: fp32, or the nearest bf16 ones, faster "
          + "where the processor is (see doctor): up to 1.8 times with AVX512-BF16, or more with AMX and "
          + "run.matrix_products = \"amx\". Sums, parameters, gradients and the optimizer are fp32 either way."
      ),
      Key(
        "vocabulary", \.vocabulary, .from(256, to: ConfigLimits.size), .fixed,
        "Token ids; at least 256 + byte_offset."),
      Key(
        "byte_offset", \.byteOffset, .from(0, to: 65536), .fixed,
        "Token id of byte 0."),
      Key(
        "positions", \.positions, .any, .fixed,
        "How positions are told apart: by axial tables, as in the paper; by rotations of queries and keys; or by "
          + "sinusoids added to what queries and keys are made of, not values (position-infused attention). The last "
          + "two need no table and end at no length."),
      Key(
        "axial_shape", \.axialShape, .list(0...64, of: size), .fixed,
        "With axial positions, axes of the position grid; their product is at least data.length."),
      Key(
        "axial_widths", \.axialWidths, .list(0...64, of: size), .fixed,
        "Features per axis; they add up to width."),
      Key(
        "dropout", \.dropout, .from(0, below: 1), .fixed,
        "Dropout on embeddings and sub-layer outputs."),
      Key(
        "attention_dropout", \.attentionDropout, .from(0, below: 1), .fixed,
        "Dropout on attention probabilities."),
      Key(
        "layer_norm_epsilon", \.layerNormEpsilon, .from(1e-30, below: 1), .fixed,
        "Added to the variance in LayerNorm."),
      Key(
        "residual_fraction_bits", \.residualFractionBits, .from(8, to: 24), .fixed,
        "Fraction bits of the fixed-point residual streams."),
    ])

  static let ngramKeys = SectionKeys<NGramSizes>(
    name: "model.ngrams", text: "counts of what followed the last bytes, mixed with the network",
    keys: [
      SectionKey(
        "orders", \.orders, .list(0...16, of: .from(2, to: 32)), .fixed,
        "Bytes of context that are counted, beside one and none; [] for no counts."),
      SectionKey(
        "rows", \.rows, .from(1, to: 1 << 24), .fixed,
        "For the contexts of each length: rows of 64 bytes, or twice as many of 32 where they are longer than 3."
      ),
    ])
}
