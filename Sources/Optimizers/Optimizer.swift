// Moves the part of the parameters that this rank owns, piece by piece; the rules are in files of their own.
import CKernels
import Compute

/// What a piece's update is given beside the numbers themselves.
struct UpdateFactors {
  /// Learning rate.
  let rate: Double
  /// Factor on every gradient.
  let gradientScale: Double
  /// 1 for the first step.
  let step: Int
}

/// The optimizer of one rank.
///
/// Holds moments of the owned ranges only, so N ranks share their cost. The update of a piece depends on that piece
/// alone: the result has the same bits however pieces are dealt to ranks and threads.
public final class Optimizer: Sendable {
  /// Method and constants.
  public let settings: OptimizerSettings
  /// Averages of the gradient: of Adam's numbers and Muon's matrices.
  public let firstMoment: LayoutShard
  /// Averages of squares: of Adam's numbers, and Adafactor's by row and column.
  public let secondMoment: LayoutShard
  /// Averages of the parameters after each step, for all owned ranges; nil where none are kept.
  ///
  /// The step i of t counts by `average^(t - i)`, so that the first steps' average is not one of first values.
  public let averages: LayoutShard?

  /// All that a checkpoint has to keep.
  public var shards: [LayoutShard] { [firstMoment, secondMoment] + (averages.map { [$0] } ?? []) }

  private let pieces: [OptimizerPiece]
  /// Places of numbers that stay between 0 and 1.
  private let shares: [Range<Int>]

  /// Number of pieces that may be updated at the same time; see `update(piece:...)`.
  public var pieceCount: Int { pieces.count }

  /// Moments of zero for `ranges` of `layout`; traps where they hold part of a tensor that is updated as a whole.
  public init(settings: OptimizerSettings, layout: ParameterLayout, ranges: [Range<Int>]) {
    self.settings = settings
    let whole = OptimizerPieces(kind: settings.kind, layout: layout, ranges: ranges)
    pieces = whole.cut(layout)
    shares = layout.slots.filter { $0.specification.kind == .share }.map(\.range)
    firstMoment = LayoutShard("first_moment", ranges: whole.first)
    secondMoment = LayoutShard("second_moment", ranges: whole.second)
    averages = settings.average > 0 ? LayoutShard("average", ranges: ranges) : nil
  }

  /// One step on one piece; threads may update different pieces at the same time.
  ///
  /// - `parameters`, `gradients`: flat buffers of the whole layout; only owned places are touched.
  /// - `rate`: learning rate. `gradientScale`: factor on every gradient (mean, clipping).
  /// - `step`: 1 for the first step. `scratch`: taken back by the caller.
  public func update(
    piece index: Int, parameters: View<Float>, gradients: View<Float>, rate: Double,
    gradientScale: Double, step: Int, scratch: ScratchArena
  ) {
    precondition(step >= 1, "steps count from 1, got \(step)")
    let piece = pieces[index]
    let (own, gradient) = (parameters[piece.range], gradients[piece.range])
    let factors = UpdateFactors(rate: rate, gradientScale: gradientScale, step: step)
    let first = firstMoment.values.view[piece.first]
    let second = secondMoment.values.view[piece.second]
    let decay = piece.decays ? settings.weightDecay : 0
    switch piece.rule {
    case .adam:
      Adam.update(
        own, gradient, first: first, second: second, settings, decay: decay, factors: factors)
    case .muon(let rows, let columns):
      Muon.update(
        Matrix(own, rows: rows, columns: columns), gradient, momentum: first,
        keeping: settings.momentum, decay: decay, factors: factors, scratch: scratch)
    case .factored(let rows, let columns):
      let update = Adafactor.direction(
        Matrix(gradient, rows: rows, columns: columns), rowMeans: second[0..<rows],
        columnMeans: second[rows..<rows + columns], factors: factors, scratch: scratch)
      Adafactor.apply(update, to: own, decay: decay, rate: rate)
    case .unfactored:
      let update = Adafactor.direction(gradient, means: second, factors: factors, scratch: scratch)
      Adafactor.apply(update, to: own, decay: decay, rate: rate)
    }
    for range in shares where range.overlaps(piece.range) {
      for place in range.clamped(to: piece.range) {
        parameters[place] = min(max(parameters[place], 0), 1)
      }
    }
    guard let averages else { return }
    let past = DoubleFunctions.power(settings.average, Double(step))
    ck_follow(
      averages.values.view[piece.average].base, own.base, own.count,
      Float((1 - settings.average) / (1 - past)))
  }

  /// Exchanges the owned parameters with their averages; once more, and all is as before.
  public func swapAverages(parameters: View<Float>) {
    guard let averages else { preconditionFailure("no averages are kept") }
    for piece in pieces {
      for (place, average) in zip(piece.range, piece.average) {
        swap(&parameters.base[place], &averages.values.view.base[average])
      }
    }
  }
}
