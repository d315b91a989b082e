// Everything that determines the model's mathematics, and what its parts must agree on.
import Attention
import Compute

/// Activation of the feed-forward layer.
public enum Activation: String, Codable, Sendable, CaseIterable {
  /// max(x, 0).
  case relu
  /// max(x, 0)^2 (So et al. 2021, "Primer").
  case relu2
  /// x * Phi(x), exact (erf) form.
  case gelu
}

/// How sub-layers are joined.
public enum ResidualKind: String, Codable, Sendable, CaseIterable {
  /// Two streams, each of which gets functions of the other, and can be computed back from the last ones (RevNet).
  case reversible
  /// One stream, which gets functions of itself; what the way back needs is stored.
  case plain
}

/// Sizes and constants of a Reformer language model.
///
/// `check` says what is wrong with them; a model checks them when it is made.
public struct ReformerConfig: Sendable {
  /// Token ids, V.
  public var vocabulary: Int
  /// Token id of byte 0.
  public var byteOffset: Int
  /// Positions of a training window, L, of a target with an encoder; at most the product of `axialShape`.
  public var length: Int
  /// Features of each residual stream, D.
  public var width: Int
  /// Attention of each layer, first to last.
  public var layers: [any AttentionLayer]
  /// Attention of each layer of the encoder, first to last; none: a model that reads no source.
  public var encoder: [any AttentionLayer]
  /// Positions of a source, at most; 0 without an encoder.
  public var sourceLength: Int
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
  /// Whether a quarter of what a sub-layer reads is of the position before (`SourceNorm`).
  public var tokenShift: Bool
  /// Numbers that products with weights read.
  public var precision: Precision
  /// Axes of the position grid; position p is row-major over them.
  ///
  /// None: positions are rotary or infused, and of any length.
  public var axialShape: [Int]
  /// Features per axis; their sum is `width`.
  public var axialWidths: [Int]
  /// Whether sinusoids of the position are added to what queries and keys are made of, and nothing else is known of it.
  public var infusesPositions: Bool
  /// Dropout on embeddings and sub-layer outputs.
  public var dropout: Double
  /// Dropout on attention probabilities.
  public var attentionDropout: Double
  /// Added to the variance in LayerNorm.
  public var layerNormEpsilon: Double
  /// Fixed-point fraction bits of the residual streams.
  public var residualFractionBits: Int
  /// Tables of what the last bytes say of the next one.
  public var ngrams: NGramSizes
  /// How sub-layers are joined.
  public var residual: ResidualKind

  /// All sizes at once.
  public init(
    vocabulary: Int = 256, byteOffset: Int = 0, length: Int, width: Int,
    layers: [any AttentionLayer], encoder: [any AttentionLayer] = [], sourceLength: Int = 0,
    heads: Int, headWidth: Int, headsPerGroup: Int? = nil, feedForwardWidth: Int,
    activation: Activation = .relu, tokenShift: Bool = false, precision: Precision = .fp32,
    axialShape: [Int],
    axialWidths: [Int], infusesPositions: Bool = false, dropout: Double = 0,
    attentionDropout: Double = 0, layerNormEpsilon: Double = 1e-12, residualFractionBits: Int = 18,
    ngrams: NGramSizes = NGramSizes(), residual: ResidualKind = .reversible
  ) {
    self.vocabulary = vocabulary
    self.byteOffset = byteOffset
    self.length = length
    self.width = width
    self.layers = layers
    self.encoder = encoder
    self.sourceLength = sourceLength
    self.heads = heads
    self.headWidth = headWidth
    self.headsPerGroup = headsPerGroup ?? heads
    self.feedForwardWidth = feedForwardWidth
    self.activation = activation
    self.tokenShift = tokenShift
    self.precision = precision
    self.axialShape = axialShape
    self.axialWidths = axialWidths
    self.infusesPositions = infusesPositions
    self.dropout = dropout
    self.attentionDropout = attentionDropout
    self.layerNormEpsilon = layerNormEpsilon
    self.residualFractionBits = residualFractionBits
    self.ngrams = ngrams
    self.residual = residual
  }

  /// Throws for the first size that no model can have, or that does not fit the others.
  public func check() throws(ReformerError) {
    let most = Self.largest
    for (name, size) in [
      ("vocabulary", vocabulary), ("length", length), ("width", width), ("heads", heads),
      ("head width", headWidth), ("feed-forward width", feedForwardWidth),
    ] {
      try require((1...most).contains(size), "\(name) \(size)", "1 to \(most)")
    }
    try require(
      heads.multipliedReportingOverflow(by: headWidth).partialValue <= most,
      "\(heads) heads of \(headWidth) features", "at most \(most) together")
    try require(
      (1...heads).contains(headsPerGroup) && heads % headsPerGroup == 0,
      "\(headsPerGroup) heads per group", "a divisor of \(heads)")
    try require(
      byteOffset >= 0 && byteOffset < vocabulary, "byte offset \(byteOffset)",
      "0 to \(vocabulary - 1)")
    try require(!layers.isEmpty, "no layers", "at least one")
    for (index, layer) in layers.enumerated() {
      if let problem = layer.problem { throw .config("layer \(index): \(problem)") }
    }
    try checkEncoder()
    if infusesPositions {
      try require(width % 2 == 0, "width \(width)", "even with infused positions")
      try require(
        axialShape.isEmpty && axialWidths.isEmpty, "position axes \(axialShape)",
        "none with infused positions")
    } else if axialShape.isEmpty {
      try require(headWidth % 2 == 0, "head width \(headWidth)", "even with rotary positions")
      try require(axialWidths.isEmpty, "features per axis \(axialWidths)", "none without axes")
    } else {
      try checkAxes()
    }
    try require(0..<1 ~= dropout && 0..<1 ~= attentionDropout, "dropout", "0 <= dropout < 1")
    try require(
      layerNormEpsilon > 0 && layerNormEpsilon < 1, "layer norm epsilon \(layerNormEpsilon)",
      "above 0, below 1")
    try require(
      (1...30).contains(residualFractionBits), "\(residualFractionBits) fraction bits", "1 to 30")
    if let problem = ngrams.problem { throw .config(problem) }
    try require(
      ngrams.orders.isEmpty || vocabulary <= NGramRow.mostTokens,
      "n-gram counts of \(vocabulary) token ids", "at most \(NGramRow.mostTokens)")
  }

  static let largest = 1 << 27

  func require(_ holds: Bool, _ what: String, _ legal: String) throws(ReformerError) {
    if !holds { throw .config("\(what); legal: \(legal)") }
  }

  private func checkAxes() throws(ReformerError) {
    let most = Self.largest
    // Positions past the product would wrap around to rows of others.
    let positions = axialShape.reduce(1) { min($0 * max(0, min($1, most)), most) }
    try require(
      positions >= length, "position axes \(axialShape)",
      "sizes whose product is at least \(length)")
    try require(
      axialWidths.count == axialShape.count
        && axialWidths.allSatisfy { (1...width).contains($0) } && axialWidths.reduce(0, +) == width,
      "features per axis \(axialWidths)", "one per axis that add up to \(width)")
  }
}

/// The sizes of tables of n-gram counts.
public struct NGramSizes: Sendable, Equatable {
  /// Tokens of context that are counted, beside one and none.
  public var orders: [Int]
  /// Rows for the contexts of each length.
  public var rows: Int
  /// How far each token of a window moves what the window has learnt.
  package var windowPace = WindowPace()

  /// Lengths of steps in escapes and in weights; nothing but tests asks for others.
  package struct WindowPace: Sendable, Equatable {
    package var escapes: Float
    package var weights: Float

    package init(escapes: Float = 2, weights: Float = 0.05) {
      self.escapes = escapes
      self.weights = weights
    }
  }

  /// No counts, or those of each of `orders`.
  public init(orders: [Int] = [], rows: Int = 1 << 18) {
    self.orders = orders
    self.rows = rows
  }

  /// Numbers of 32 bits that a pass over `length` positions needs for the contexts and passages of its window, and what
  /// they say of a block of positions.
  public func scratch(length: Int, vocabulary: Int) -> Int {
    guard !orders.isEmpty else { return 0 }
    let window = EarlierContexts.orders(orders)
    let claims = orders.count + window.count + RepeatedPassages.rules.count
    return EarlierContexts.size(capacity: length, orders: window)
      + RepeatedPassages.size(capacity: length)
      + min(length, Tiling.blockRows)
      * (vocabulary + NGramEvidence.size(claims: claims, vocabulary: vocabulary))
  }

  /// What is wrong with them, if anything, and what would be right.
  var problem: String? {
    if !orders.allSatisfy({ (2...32).contains($0) }) || Set(orders).count != orders.count {
      return "orders of n-grams \(orders); legal: different numbers from 2 to 32"
    }
    return (1...1 << 24).contains(rows)
      ? nil : "\(rows) rows of n-gram counts; legal: 1 to \(1 << 24)"
  }
}
