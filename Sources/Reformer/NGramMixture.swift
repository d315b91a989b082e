// The last word on a token: the network's logits and the logarithm of what counts of n-grams say, added with weights that
// are learnt (a product of experts, as compressors mix their models; Mahoney 2005, "Adaptive weighing of context models
// for lossless data compression"). Each learns alone: the network by its own cross-entropy, as if there were no counts, the
// share that shorter contexts get by the likelihood of the counts, the weights by that of the mixture. The counts are those
// of the tables, and behind them, as contexts that say more, those of the window itself. Shares and weights are learnt twice:
// by training, as what a window begins with, and from each token of a window for those that follow (`WindowLearning`).
import Compute

/// Prediction by counts, and its mixture with logits.
///
/// V vocabulary.
struct NGramMixture {
  let tables: NGramTables
  /// Contexts of the window that are looked for in it, ascending.
  let windowOrders: [Int]
  /// `[contexts + rules of passages, 16, 15]`, tables first, by how often a context was there and how many tokens have
  /// followed it, or by the tokens of a passage without a miss and its misses: added to the logit of the share that goes
  /// to the next shorter context.
  let escapes: Slot
  /// `[tables + 1, window's contexts + 1, 2, 4, 2]`, by the longest contexts that are known, whether one token alone has
  /// followed the last, and the length of a repeated passage: added to the weights of counts and network.
  let weights: Slot
  /// How far a window's tokens move them.
  let pace: NGramSizes.WindowPace

  static let sizes = 16
  /// Kinds of repeated passages: none, and three lengths.
  static let passageLengths = 4
  // Few numbers that each position moves a little: they may move in longer steps than the network's.
  static let parameterPace: Float = 8
  // What mixing raises lower ones to.
  static let leastProbability: Float = 1e-30
  // Of shares, as logarithms.
  static let mostOdds = 30.0
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
          "ngrams.escapes",
          [tables + window + RepeatedPassages.rules.count, sizes, Followers.places], .vector,
          .constant(0)),
        ParameterSpecification(
          "ngrams.weights", [tables + 1, window + 1, 2, passageLengths, 2], .vector, .constant(0)),
      ]
  }

  /// Behind the head's other parameters, which `layout` has; nil where `config` has no tables.
  init?(_ config: ReformerConfig, layout: inout ParameterLayout) {
    guard let tables = NGramTables(config, layout: &layout) else { return nil }
    self.tables = tables
    windowOrders = EarlierContexts.orders(config.ngrams.orders)
    escapes = layout["ngrams.escapes"]
    weights = layout["ngrams.weights"]
    pace = config.ngrams.windowPace
  }

  /// The parameters that the gradient adds to.
  var slots: [Slot] { [escapes, weights] }

  /// What follows from the parameters alone.
  struct Shares {
    /// Share of every token wherever it stands, `[V]`.
    let anywhere: View<Float>
    /// e to the power of what lowers the odds of the next shorter context, like `escapes`.
    let lowered: View<Float>
    /// What counts and network are weighed by, like `weights`.
    let weights: View<Float>
  }

  /// What positions of one window need in common.
  struct Common {
    let window: Window
    let parameters: View<Float>
    let shares: Shares
    /// Where contexts of the window stood before in it.
    let earlier: EarlierContexts
    /// Which passages of it may be going on again.
    let passages: RepeatedPassages
    /// What its tokens have taught so far.
    let learning: WindowLearning

    /// Adds the positions of `range`, which follow those that are known.
    func add(_ range: Range<Int>) {
      earlier.add(range, of: window.inputs)
      passages.add(range, of: window.inputs)
    }
  }

  /// Computes the shares, in memory lent by `arena`.
  func shares(_ parameters: View<Float>, from arena: ScratchArena) -> Shares {
    let all = tables.followers(of: nil, in: parameters)
    let shares = Shares(
      anywhere: arena.floats(all.count), lowered: arena.floats(escapes.count),
      weights: arena.floats(weights.count))
    let total = all.array.reduce(0) { $0 + Double($1) } + 0.3 * Double(all.count)
    for index in 0..<all.count {
      shares.anywhere[index] = Float((Double(all[index]) + 0.3) / total)
    }
    for index in 0..<escapes.count {
      let escape = parameters[escapes.offset + index]
      // Beyond the bounds a share is 0 or 1 to a Float, and further out its odds would be no number.
      let odds = max(-Self.mostOdds, min(Self.mostOdds, Double(-Self.parameterPace * escape)))
      shares.lowered[index] = Float(DoubleFunctions.exp(odds))
    }
    for index in 0..<weights.count {
      let first = index % 2 == 0 ? Self.countWeight : Self.networkWeight
      shares.weights[index] = first + Self.parameterPace * parameters[weights.offset + index]
    }
    return shares
  }

  /// That of `window`, none of whose positions is known yet, in memory lent by `arena`.
  func common(
    _ window: Window, _ parameters: View<Float>, shares: Shares, from arena: ScratchArena
  ) -> Common {
    let length = window.length
    return Common(
      window: window, parameters: parameters, shares: shares,
      earlier: EarlierContexts(
        capacity: length, orders: windowOrders,
        memory: arena.integers(EarlierContexts.size(capacity: length, orders: windowOrders))),
      passages: RepeatedPassages(
        capacity: length, memory: arena.integers(RepeatedPassages.size(capacity: length))),
      learning: WindowLearning(shares, pace: pace, from: arena))
  }

  /// That of a pass over `window`, in memory lent by the engine's scratch.
  func common(_ window: Window, _ pass: Pass) -> Common {
    let scratch = pass.engine.scratch
    let common = common(
      window, pass.parameters, shares: shares(pass.parameters, from: scratch), from: scratch)
    common.earlier.add(0..<window.length, of: window.inputs, pool: pass.engine.pool)
    common.passages.add(0..<window.length, of: window.inputs, pool: pass.engine.pool)
    return common
  }
}
