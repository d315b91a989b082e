// The last word on a token: the network's logits and the logarithm of what counts of n-grams say, added with weights that
// are learnt (a product of experts, as compressors mix their models; Mahoney 2005, "Adaptive weighing of context models
// for lossless data compression"). Each learns alone: the network by its own cross-entropy, as if there were no counts, the
// share that shorter contexts get by the likelihood of the counts, the weights by that of the mixture.
import Compute

/// Prediction by counts, and its mixture with logits.
///
/// V vocabulary.
struct NGramMixture {
  let tables: NGramTables
  /// `[tables, 16, 15]`, by how often a context was there and how many tokens have followed it: added to the logit of
  /// the share that goes to the next shorter context.
  private let escapes: Slot
  /// `[2 (tables + 1), 2]`, by the longest context that is known and whether one token alone has followed it: added to
  /// the weights of counts and network.
  private let weights: Slot

  private static let sizes = 16
  // Few numbers that each position moves a little: they may move in longer steps than the network's.
  private static let pace: Float = 8
  // Where training begins; a network without training says nothing.
  private static let countWeight: Float = 0.7
  private static let networkWeight: Float = 0.3

  /// Names and shapes of its parameters.
  static func parameters(_ config: ReformerConfig) -> [ParameterSpecification] {
    let orders = config.ngrams.orders.count
    return orders == 0
      ? []
      : [
        ParameterSpecification(
          "ngrams.escapes", [orders, sizes, NGramRow.places], .vector, .constant(0)),
        ParameterSpecification("ngrams.weights", [2 * (orders + 1), 2], .vector, .constant(0)),
      ]
  }

  /// Behind the head's other parameters, which `layout` has; nil where `config` has no tables.
  init?(_ config: ReformerConfig, layout: inout ParameterLayout) {
    guard let tables = NGramTables(config, layout: &layout) else { return nil }
    self.tables = tables
    escapes = layout["ngrams.escapes"]
    weights = layout["ngrams.weights"]
  }

  /// The parameters that the gradient adds to.
  var slots: [Slot] { [escapes, weights] }

  /// What positions of one pass need in common, lent by `scratch`.
  struct Shares {
    /// Of every token wherever it stands, `[V]`.
    let anywhere: View<Float>
    /// e to the power of what lowers the odds of the next shorter context, like `escapes`.
    let lowered: View<Float>
  }

  /// Computes them for a pass.
  func shares(_ pass: Pass) -> Shares {
    let scratch = pass.engine.scratch
    let all = tables.followers(of: nil, in: pass.parameters)
    let shares = Shares(
      anywhere: scratch.floats(all.count), lowered: scratch.floats(escapes.count))
    let total = all.array.reduce(0) { $0 + Double($1) } + 0.3 * Double(all.count)
    for index in 0..<all.count {
      shares.anywhere[index] = Float((Double(all[index]) + 0.3) / total)
    }
    for index in 0..<escapes.count {
      let escape = pass.parameters[escapes.offset + index]
      shares.lowered[index] = Float(DoubleFunctions.exp(Double(-Self.pace * escape)))
    }
    return shares
  }

  /// A context that is known, as one position finds it.
  private struct Known {
    /// Its place in `escapes`.
    let cell: Int
    /// Share of the next shorter context, and what the others say of the position's target.
    let share: Float
    let target: Float
    /// What the next shorter one says of the target.
    let shorter: Float
  }

  /// `logits` of `rows` `[rows, V]` become those of the mixture, left out counts of what follows where `isRepeated`.
  ///
  /// With `tile` and `scale`, `scale` times the gradient of the loss is added to the tile's sums, and `loss` `[rows]` is set,
  /// that of the mixture in nats; `logits` are left as they are.
  func mix(
    _ logits: Matrix, rows: Range<Int>, window: Window, shares: Shares, parameters: View<Float>,
    scratch: ScratchArena, learning: (tile: RowTile, scale: Float, loss: View<Float>)? = nil
  ) {
    let predicted = scratch.matrix(rows.count, logits.columns)
    let buckets = scratch.integers(rows.count)
    for (index, position) in rows.enumerated() {
      buckets[index] = Int32(
        predict(
          window, position, into: predicted.row(index), shares: shares, parameters: parameters,
          gradient: learning.map { ($0.tile.partial(escapes), $0.scale) }))
    }
    let mixed = learning == nil ? logits : scratch.matrix(rows.count, logits.columns)
    for index in 0..<rows.count {
      let (count, network) = weights(Int(buckets[index]), parameters)
      Kernels.mix(
        probabilities: predicted.row(index), by: count, logits: logits.row(index), by: network,
        into: mixed.row(index))
    }
    guard let learning else { return }
    Kernels.crossEntropy(
      mixed, targets: window.targets[rows], gradientScale: learning.scale, into: learning.loss)
    let dots = scratch.matrix(2, rows.count)
    Kernels.rowDots(mixed, predicted, into: dots.row(0))
    Kernels.rowDots(mixed, logits, into: dots.row(1))
    let gradient = learning.tile.partial(weights)
    for index in 0..<rows.count {
      for part in 0..<2 {
        gradient[2 * Int(buckets[index]) + part] += Self.pace * dots.row(part)[index]
      }
    }
  }

  private func weights(_ bucket: Int, _ parameters: View<Float>) -> (count: Float, network: Float) {
    let start = weights.offset + 2 * bucket
    return (
      Self.countWeight + Self.pace * parameters[start],
      Self.networkWeight + Self.pace * parameters[start + 1]
    )
  }

  /// Sets `p` `[V]` to what counts say of the token after `position`; returns the place in `weights`.
  ///
  /// `gradient`: that of the likelihood of the target, times the scale, is added to it.
  private func predict(
    _ window: Window, _ position: Int, into p: View<Float>, shares: Shares,
    parameters: View<Float>, gradient: (sums: View<Float>, scale: Float)?
  ) -> Int {
    withUnsafeTemporaryAllocation(of: NGramRow.self, capacity: tables.tables.count) { contexts in
      tables.rows(window.inputs, position, in: parameters) {
        contexts.initializeElement(at: $0, to: $1)
      }
      return withUnsafeTemporaryAllocation(of: Known.self, capacity: tables.tables.count) { known in
        predict(
          window, position, into: p, shares: shares, parameters: parameters, contexts: contexts,
          known: known, gradient: gradient)
      }
    }
  }

  private func predict(
    _ window: Window, _ position: Int, into p: View<Float>, shares: Shares,
    parameters: View<Float>, contexts: UnsafeMutableBufferPointer<NGramRow>,
    known: UnsafeMutableBufferPointer<Known>, gradient: (sums: View<Float>, scale: Float)?
  ) -> Int {
    let target = Int(window.targets[position])
    // Where a window comes again, its own count is taken out as it went in.
    var leavesOut = window.isRepeated && target >= 0
    var leftOut = UInt64(0)
    for index in contexts.indices.reversed() where leavesOut && contexts[index].isKnown {
      let count = contexts[index].count(of: target)
      guard count > 0 else { continue }
      leftOut |= 1 << UInt64(index)
      leavesOut = count == 1
    }
    followers(
      tables.followers(of: window.inputs[position], in: parameters),
      without: leavesOut ? target : -1, anywhere: shares.anywhere, into: p)

    var (knownCount, bucket) = (0, 0)
    for (index, row) in contexts.enumerated() where row.isKnown {
      let without = leftOut >> UInt64(index) & 1 == 1 ? target : -1
      var (total, kinds, discounts) = (0, 0, Float(0))
      row.each { token, count in
        let count = token == without ? count - 1 : count
        guard count > 0 else { return }
        (total, kinds, discounts) = (total + count, kinds + 1, discounts + Self.discount(count))
      }
      guard total > 0 else { continue }
      let cell = (index * Self.sizes + Self.size(total)) * NGramRow.places + kinds - 1
      let base = discounts / Float(total)
      let share = base / (base + (1.001 - base) * shares.lowered[cell])
      let unit = (1 - share) / ((1 - base) * Float(total))
      let shorter = target >= 0 ? p[target] : 0
      Kernels.scale(p, by: share)
      var ofTarget: Float = 0
      row.each { token, count in
        let count = token == without ? count - 1 : count
        guard count > 0 else { return }
        let part = (Float(count) - Self.discount(count)) * unit
        p[token] += part
        if token == target { ofTarget = part / (1 - share) }
      }
      known[knownCount] = Known(
        cell: cell, share: share, target: ofTarget, shorter: shorter)
      knownCount += 1
      bucket = 2 * (index + 1) + (kinds == 1 ? 1 : 0)
    }
    if let gradient, target >= 0 {
      // From the longest context down: what is left of the mass, relative to what the target got in the end.
      var left = gradient.scale * Self.pace / p[target]
      for index in (0..<knownCount).reversed() {
        let context = known[index]
        gradient.sums[context.cell] -=
          (context.shorter - context.target) * left * context.share * (1 - context.share)
        left *= context.share
      }
    }
    return bucket
  }

  /// What followed a token, interpolated with what stands anywhere; `without`: a token to count once less.
  private func followers(
    _ counts: View<Float>, without: Int, anywhere: View<Float>, into p: View<Float>
  ) {
    var (total, discounts) = (0, Float(0))
    func count(_ token: Int) -> Int { Int(counts.base[token]) - (token == without ? 1 : 0) }
    for token in 0..<counts.count {
      let count = count(token)
      guard count > 0 else { continue }
      (total, discounts) = (total + count, discounts + Self.discount(count))
    }
    p.copy(from: anywhere)
    guard total > 0 else { return }
    Kernels.scale(p, by: discounts / Float(total))
    for token in 0..<counts.count {
      let count = count(token)
      if count > 0 { p.base[token] += (Float(count) - Self.discount(count)) / Float(total) }
    }
  }

  /// What a count gives to tokens that were not there; the formula's customary sizes.
  private static func discount(_ count: Int) -> Float {
    count == 1 ? 0.75 : count == 2 ? 0.9 : 1.2
  }

  /// Half powers of two in a count, at most 15.
  private static func size(_ count: Int) -> Int {
    let number = Float(count)
    return min(2 * Int(number.exponent) + (number.significand >= 1.414_213_5 ? 1 : 0), sizes - 1)
  }
}
