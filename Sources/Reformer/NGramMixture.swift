// The last word on a token: the network's logits and the logarithm of what counts of n-grams say, added with weights that
// are learnt (a product of experts, as compressors mix their models; Mahoney 2005, "Adaptive weighing of context models
// for lossless data compression"). Each learns alone: the network by its own cross-entropy, as if there were no counts, the
// share that shorter contexts get by the likelihood of the counts, the weights by that of the mixture. The counts are those
// of the tables, and behind them, as contexts that say more, those of the window itself.
import Compute

/// Prediction by counts, and its mixture with logits.
///
/// V vocabulary.
struct NGramMixture {
  let tables: NGramTables
  /// Contexts of the window that are looked for in it, ascending.
  private let windowOrders: [Int]
  /// `[contexts, 16, 15]`, tables first, by how often a context was there and how many tokens have followed it: added to
  /// the logit of the share that goes to the next shorter context.
  private let escapes: Slot
  /// `[tables + 1, window's contexts + 1, 2, 2]`, by the longest contexts that are known and whether one token alone has
  /// followed the last: added to the weights of counts and network.
  private let weights: Slot

  private static let sizes = 16
  // Few numbers that each position moves a little: they may move in longer steps than the network's.
  private static let pace: Float = 8
  // What mixing raises lower ones to.
  private static let leastProbability: Float = 1e-30
  // Of shares, as logarithms.
  private static let mostOdds = 30.0
  // Where training begins; a network without training says nothing.
  private static let countWeight: Float = 0.7
  private static let networkWeight: Float = 0.3

  /// Names and shapes of its parameters.
  static func parameters(_ config: ReformerConfig) -> [ParameterSpecification] {
    let tables = config.ngrams.orders.count
    let window = EarlierContexts.orders(config.ngrams.orders).count
    return tables == 0
      ? []
      : [
        ParameterSpecification(
          "ngrams.escapes", [tables + window, sizes, Followers.places], .vector, .constant(0)),
        ParameterSpecification(
          "ngrams.weights", [tables + 1, window + 1, 2, 2], .vector, .constant(0)),
      ]
  }

  /// Behind the head's other parameters, which `layout` has; nil where `config` has no tables.
  init?(_ config: ReformerConfig, layout: inout ParameterLayout) {
    guard let tables = NGramTables(config, layout: &layout) else { return nil }
    self.tables = tables
    windowOrders = EarlierContexts.orders(config.ngrams.orders)
    escapes = layout["ngrams.escapes"]
    weights = layout["ngrams.weights"]
  }

  /// The parameters that the gradient adds to.
  var slots: [Slot] { [escapes, weights] }

  /// What follows from the parameters alone.
  struct Shares {
    /// Share of every token wherever it stands, `[V]`.
    let anywhere: View<Float>
    /// e to the power of what lowers the odds of the next shorter context, like `escapes`.
    let lowered: View<Float>
  }

  /// What positions of one window need in common.
  struct Common {
    let window: Window
    let parameters: View<Float>
    let shares: Shares
    /// Where contexts of the window stood before in it.
    let earlier: EarlierContexts
  }

  /// Computes the shares, in memory lent by `arena`.
  func shares(_ parameters: View<Float>, from arena: ScratchArena) -> Shares {
    let all = tables.followers(of: nil, in: parameters)
    let shares = Shares(anywhere: arena.floats(all.count), lowered: arena.floats(escapes.count))
    let total = all.array.reduce(0) { $0 + Double($1) } + 0.3 * Double(all.count)
    for index in 0..<all.count {
      shares.anywhere[index] = Float((Double(all[index]) + 0.3) / total)
    }
    for index in 0..<escapes.count {
      let escape = parameters[escapes.offset + index]
      // Beyond the bounds a share is 0 or 1 to a Float, and further out its odds would be no number.
      let odds = max(-Self.mostOdds, min(Self.mostOdds, Double(-Self.pace * escape)))
      shares.lowered[index] = Float(DoubleFunctions.exp(odds))
    }
    return shares
  }

  /// That of `window`, none of whose positions is known yet, in memory lent by `arena`.
  func common(
    _ window: Window, _ parameters: View<Float>, shares: Shares, from arena: ScratchArena
  ) -> Common {
    Common(
      window: window, parameters: parameters, shares: shares,
      earlier: EarlierContexts(
        capacity: window.length, orders: windowOrders,
        memory: arena.integers(
          EarlierContexts.size(capacity: window.length, orders: windowOrders))))
  }

  /// That of a pass over `window`, in memory lent by the engine's scratch.
  func common(_ window: Window, _ pass: Pass) -> Common {
    let scratch = pass.engine.scratch
    let common = common(
      window, pass.parameters, shares: shares(pass.parameters, from: scratch), from: scratch)
    common.earlier.add(0..<window.length, of: window.inputs, pool: pass.engine.pool)
    return common
  }

  /// `logits` of `rows` `[rows, V]` become those of the mixture, left out counts of what follows where `isRepeated`.
  ///
  /// With `tile` and `scale`, `scale` times the gradient of the loss is added to the tile's sums, and `loss` `[rows]` is set,
  /// that of the mixture in nats; `logits` are left as they are.
  func mix(
    _ logits: Matrix, rows: Range<Int>, common: Common, scratch: ScratchArena,
    learning: (tile: RowTile, scale: Float, loss: View<Float>)? = nil
  ) {
    let predicted = scratch.matrix(rows.count, logits.columns)
    let buckets = scratch.integers(rows.count)
    let gradient = learning.map { (sums: $0.tile.partial(escapes), scale: $0.scale) }
    for (index, position) in rows.enumerated() {
      buckets[index] = Int32(
        predict(position, into: predicted.row(index), common: common, gradient: gradient))
    }
    let mixed = learning == nil ? logits : scratch.matrix(rows.count, logits.columns)
    for index in 0..<rows.count {
      let start = weights.offset + 2 * Int(buckets[index])
      Kernels.mix(
        probabilities: predicted.row(index),
        by: Self.countWeight + Self.pace * common.parameters[start], logits: logits.row(index),
        by: Self.networkWeight + Self.pace * common.parameters[start + 1], into: mixed.row(index))
    }
    guard let learning else { return }
    Kernels.crossEntropy(
      mixed, targets: common.window.targets[rows], gradientScale: learning.scale,
      into: learning.loss)
    let dots = scratch.matrix(2, rows.count)
    Kernels.rowDots(mixed, predicted, into: dots.row(0))
    Kernels.rowDots(mixed, logits, into: dots.row(1))
    let sums = learning.tile.partial(weights)
    for index in 0..<rows.count {
      for part in 0..<2 {
        sums[2 * Int(buckets[index]) + part] += Self.pace * dots.row(part)[index]
      }
    }
  }

  /// Sets `p` `[V]` to what counts say of the token after `position`; returns the place in `weights`.
  ///
  /// `gradient`: that of the likelihood of the target, times the scale, is added to it.
  private func predict(
    _ position: Int, into p: View<Float>, common: Common,
    gradient: (sums: View<Float>, scale: Float)?
  ) -> Int {
    let contexts = tables.tables.count + windowOrders.count
    return withUnsafeTemporaryAllocation(of: Followers.self, capacity: contexts) { followers in
      let isNew = tableFollowers(position, into: followers, common: common)
      for index in windowOrders.indices {
        followers.initializeElement(
          at: tables.tables.count + index,
          to: common.earlier.followers(index, position, of: common.window.inputs))
      }
      shortest(
        tables.followers(of: common.window.inputs[position], in: common.parameters),
        without: isNew ? Int(common.window.targets[position]) : -1,
        anywhere: common.shares.anywhere,
        into: p)
      return withUnsafeTemporaryAllocation(of: Known.self, capacity: contexts) { known in
        interpolate(
          followers, target: Int(common.window.targets[position]), lowered: common.shares.lowered,
          into: p,
          known: known, gradient: gradient)
      }
    }
  }

  /// What followed the contexts of tables.
  ///
  /// Where the window comes again, its own count is taken out as it went in; returns whether it went on to the shortest.
  private func tableFollowers(
    _ position: Int, into followers: UnsafeMutableBufferPointer<Followers>, common: Common
  ) -> Bool {
    let window = common.window
    let target = Int(window.targets[position])
    return withUnsafeTemporaryAllocation(of: NGramRow.self, capacity: tables.tables.count) { rows in
      tables.rows(window.inputs, position, in: common.parameters) {
        rows.initializeElement(at: $0, to: $1)
      }
      var leavesOut = window.isRepeated && target >= 0
      for index in rows.indices.reversed() {
        let row = rows[index]
        let count = row.isKnown && leavesOut ? row.count(of: target) : 0
        if count > 0 { leavesOut = count == 1 }
        followers.initializeElement(
          at: index, to: row.isKnown ? row.followers(without: count > 0 ? target : -1) : Followers()
        )
      }
      return leavesOut
    }
  }

  /// A context that is known, as one position finds it.
  private struct Known {
    /// Its place in `escapes`.
    let cell: Int
    /// Share of the next shorter context, and its own.
    let share: Float
    let own: Float
    /// What it says of the position's target.
    let target: Float
    /// What the next shorter one says of the target.
    let shorter: Float
  }

  /// `p` `[V]`, what the shortest context says, becomes what all say; otherwise as `predict`.
  private func interpolate(
    _ contexts: UnsafeMutableBufferPointer<Followers>, target: Int, lowered: View<Float>,
    into p: View<Float>, known: UnsafeMutableBufferPointer<Known>,
    gradient: (sums: View<Float>, scale: Float)?
  ) -> Int {
    let tableCount = tables.tables.count
    var (knownCount, longest, longestOfWindow, isSingle) = (0, 0, 0, 0)
    for (index, followers) in contexts.enumerated() where followers.kinds > 0 {
      let (total, kinds) = (followers.total, followers.kinds)
      var discounts: Float = 0
      for place in 0..<kinds { discounts += Self.discount(followers[place].count) }
      let cell = (index * Self.sizes + Self.size(total)) * Followers.places + kinds - 1
      let base = discounts / Float(total)
      let rest = (1.001 - base) * lowered[cell]
      let (share, own) = (base / (base + rest), rest / (base + rest))
      let unit = 1 / ((1 - base) * Float(total))
      let shorter = target >= 0 ? p[target] : 0
      Kernels.scale(p, by: share)
      var ofTarget: Float = 0
      for place in 0..<kinds {
        let (token, count) = followers[place]
        let part = (Float(count) - Self.discount(count)) * unit
        p[token] += own * part
        if token == target { ofTarget = part }
      }
      known[knownCount] = Known(
        cell: cell, share: share, own: own, target: ofTarget, shorter: shorter)
      knownCount += 1
      if index < tableCount {
        longest = index + 1
      } else {
        longestOfWindow = index - tableCount + 1
      }
      isSingle = kinds == 1 ? 1 : 0
    }
    if let gradient, target >= 0 {
      // From the longest context down: what is left of the mass, relative to what the target got in the end.
      var left = gradient.scale * Self.pace / max(p[target], Self.leastProbability)
      for index in (0..<knownCount).reversed() {
        let context = known[index]
        let slope = (context.shorter - context.target) * context.share * context.own
        gradient.sums[context.cell] -= slope * left
        left *= context.share
      }
    }
    return 2 * (longest * (windowOrders.count + 1) + longestOfWindow) + isSingle
  }

  /// What followed a token, interpolated with what stands anywhere; `without`: a token to count once less.
  private func shortest(
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
