// Adam with decoupled weight decay, for the part of the parameters this rank owns.
import CKernels
import Compute

/// The constants of Adam; defaults are those of the Reformer paper's runs.
public struct AdamSettings: Sendable, Equatable {
  /// Decay of the average of gradients.
  public var beta1: Double
  /// Decay of the average of squared gradients.
  public var beta2: Double
  /// Added to the root of the second moment.
  public var epsilon: Double
  /// Weight decay; each step subtracts `rate * weightDecay * parameter` where decay applies.
  public var weightDecay: Double

  /// Decay of the average of the parameters; 0 keeps none.
  public var average: Double

  /// All constants at once.
  public init(
    beta1: Double = 0.9, beta2: Double = 0.98, epsilon: Double = 1e-9, weightDecay: Double = 0,
    average: Double = 0
  ) {
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    self.average = average
  }
}

/// Adam (Kingma and Ba 2015) with decoupled weight decay (Loshchilov and Hutter 2019).
///
/// Holds moments of the owned ranges only, so N ranks share their cost. Each element's update
/// depends on that element alone: the result has the same bits however ranges are cut.
public final class Adam: Sendable {
  /// The constants.
  public let settings: AdamSettings
  /// Owned places in the flat layout, in the order the moments are stored.
  public let ranges: [Range<Int>]
  /// Averages of the gradient, `[sum of range counts]`.
  public let firstMoment: Buffer<Float>
  /// Averages of the squared gradient, `[sum of range counts]`.
  public let secondMoment: Buffer<Float>
  /// Averages of the parameters after each step, `[sum of range counts]`; empty where none are kept.
  ///
  /// The step i of t counts by `average^(t - i)`, so that the first steps' average is not one of first values.
  public let averages: Buffer<Float>

  /// Number of pieces that may be updated at the same time; see `update(piece:...)`.
  public var pieceCount: Int { pieces.count }

  private struct Piece: Sendable {
    let range: Range<Int>
    let offset: Int
    let decays: Bool
  }
  private let pieces: [Piece]

  /// Elements of a piece at most: four streams of it fit in a core's cache.
  private static let pieceLength = 1 << 16

  /// Moments of zero for `ranges`.
  ///
  /// - `decayRanges`: ascending places where weight decay applies, see `decayRanges(of:)`.
  public init(settings: AdamSettings, ranges: [Range<Int>], decayRanges: [Range<Int>]) {
    self.settings = settings
    self.ranges = ranges
    let total = ranges.reduce(0) { $0 + $1.count }
    firstMoment = Buffer(total)
    secondMoment = Buffer(total)
    averages = Buffer(settings.average > 0 ? total : 0)
    var pieces: [Piece] = []
    var offset = 0
    for range in ranges {
      var start = range.lowerBound
      while start < range.upperBound {
        let here = decayRanges.first { $0.upperBound > start }
        let decays = here?.contains(start) ?? false
        let change = here.map { decays ? $0.upperBound : $0.lowerBound } ?? range.upperBound
        let end = min(range.upperBound, change, (start / Self.pieceLength + 1) * Self.pieceLength)
        pieces.append(Piece(range: start..<end, offset: offset, decays: decays))
        offset += end - start
        start = end
      }
    }
    self.pieces = pieces
  }

  /// Where weight decay applies.
  ///
  /// Ends are rounded up over the zero padding to multiples of 16, so that pieces start on cache lines.
  public static func decayRanges(of layout: ParameterLayout) -> [Range<Int>] {
    var merged: [Range<Int>] = []
    for slot in layout.slots where slot.specification.decays {
      let range = slot.offset..<((slot.range.upperBound + 15) / 16 * 16)
      if let last = merged.last, last.upperBound == range.lowerBound {
        merged[merged.count - 1] = last.lowerBound..<range.upperBound
      } else {
        merged.append(range)
      }
    }
    return merged
  }

  /// One step on all owned parameters.
  ///
  /// - `parameters`, `gradients`: flat buffers of the whole layout; only owned places are touched.
  /// - `rate`: learning rate. `gradientScale`: factor on every gradient (mean, clipping).
  /// - `step`: 1 for the first step, for the bias corrections.
  public func update(
    parameters: View<Float>, gradients: View<Float>, rate: Double, gradientScale: Double, step: Int
  ) {
    for piece in 0..<pieceCount {
      update(
        piece: piece, parameters: parameters, gradients: gradients, rate: rate,
        gradientScale: gradientScale, step: step)
    }
  }

  /// One step on one piece; threads may update different pieces at the same time.
  public func update(
    piece index: Int, parameters: View<Float>, gradients: View<Float>, rate: Double,
    gradientScale: Double, step: Int
  ) {
    precondition(step >= 1, "steps count from 1, got \(step)")
    let piece = pieces[index]
    let local = piece.offset..<(piece.offset + piece.range.count)
    // In double: 1 - beta2 is small, and beta^t in float loses digits of it.
    let firstCorrection = 1 - DoubleFunctions.power(settings.beta1, Double(step))
    let secondCorrection = 1 - DoubleFunctions.power(settings.beta2, Double(step))
    ck_adam(
      parameters[piece.range].base, gradients[piece.range].base, firstMoment.view[local].base,
      secondMoment.view[local].base, piece.range.count, Float(gradientScale), Float(rate),
      Float(settings.beta1), Float(settings.beta2), Float(settings.epsilon),
      piece.decays ? Float(settings.weightDecay) : 0, Float(firstCorrection),
      Float(secondCorrection))
    guard averages.count > 0 else { return }
    let past = DoubleFunctions.power(settings.average, Double(step))
    ck_follow(
      averages.view[local].base, parameters[piece.range].base, piece.range.count,
      Float((1 - settings.average) / (1 - past)))
  }

  /// Exchanges the owned parameters with their averages; once more, and all is as before.
  public func swapAverages(parameters: View<Float>) {
    precondition(averages.count > 0, "no averages are kept")
    for piece in pieces {
      for (index, place) in piece.range.enumerated() {
        swap(&parameters.base[place], &averages.view.base[piece.offset + index])
      }
    }
  }
}
