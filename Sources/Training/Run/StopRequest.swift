// When a run should end before its last step: after a signal, or when its time budget is used up.

/// What this rank knows about stopping; the ranks agree by telling each other after each step.
public final class StopRequest {
  /// Seconds a step may go on after a signal.
  ///
  /// Steps shorter than this are finished, of longer ones nothing is kept: schedulers give 30 s or
  /// more between warning and kill, and most of that belongs to the checkpoint.
  static let patience = 5.0

  private let deadline: ContinuousClock.Instant?
  /// Seconds the next step and the checkpoint after it will take, as far as known.
  var secondsToNextEnd = 0.0

  /// A request that comes by a signal, or `seconds` from now where they are given.
  public init(after seconds: Double? = nil) {
    deadline = seconds.map { ContinuousClock.now + .seconds($0) }
  }

  /// Whether the step under way should be the last.
  var isMade: Bool { StopSignal.number != 0 || isOver(in: secondsToNextEnd) }

  /// Whether the work under way should be given up.
  var isUrgent: Bool { StopSignal.age > Self.patience || isOver(in: 0) }

  private func isOver(in seconds: Double) -> Bool {
    deadline.map { ContinuousClock.now + .seconds(seconds) > $0 } ?? false
  }

  /// Seconds of a text such as `90s`, `45m`, `2h`, `1h30m` or `3d`; nil for anything else, and for 0.
  package static func seconds(_ text: String) -> Double? {
    let units: [Character: Double] = ["s": 1, "m": 60, "h": 3600, "d": 86400]
    var total = 0.0
    var digits = ""
    for character in text {
      if character.isASCII, character.isNumber {
        digits.append(character)
      } else {
        // Nine digits are more days than anyone computes, and keep the sum finite.
        guard let unit = units[character], digits.count <= 9, let count = Int(digits) else {
          return nil
        }
        total += Double(count) * unit
        digits = ""
      }
    }
    return digits.isEmpty && total > 0 ? total : nil
  }
}
