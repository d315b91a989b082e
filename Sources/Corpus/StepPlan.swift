// Which windows each step of a run takes, and where their bytes stand in the training order: a pure function of
// the step's number, whatever the ranks.

/// A stretch of a run whose steps all take as many windows of one length.
public struct Stage: Sendable, Equatable {
  /// Its share of the run's bytes.
  public let share: Double
  /// Bytes of a window.
  public let length: Int
  /// Windows of a step, over all ranks.
  public let windows: Int

  /// All at once; sizes are above 0.
  public init(share: Double, length: Int, windows: Int) {
    precondition(length > 0 && windows > 0, "\(windows) windows of \(length)")
    self.share = share
    self.length = length
    self.windows = windows
  }

  /// Bytes of a step.
  public var stepBytes: Int { length * windows }

  /// The windows of a step that `rank` of `ranks` computes.
  ///
  /// The ranks' runs are contiguous, in rank order; their sizes differ by one where `ranks` does not divide the
  /// number of windows.
  public func windows(rank: Int, ranks: Int) -> Range<Int> {
    precondition(rank >= 0 && rank < ranks, "rank \(rank) of \(ranks)")
    return rank * windows / ranks..<(rank + 1) * windows / ranks
  }
}

/// One window of a run.
public struct Sample: Sendable, Equatable {
  /// Its number among all windows of the run, from 0.
  public let index: Int
  /// Its number among the windows of its step, from 0.
  public let place: Int
  /// Bytes of the training order before it, all epochs counted.
  public let position: Int
  /// Inputs of the window.
  public let length: Int
}

/// The stages of a run of so many steps.
///
/// The training order is one sequence of blocks, epoch after epoch (`BatchPlan`). Stages cut it from its start
/// on into their windows, each the bytes that follow those of the window before. A stage but the last ends where
/// a block ends, so no window is cut by the edge of a block and no byte is left out, whatever the lengths.
public struct StepPlan: Sendable {
  /// Steps of each stage, first to last.
  public let stepCounts: [Int]
  /// Steps of the run.
  public var steps: Int { stepCounts.reduce(0, +) }
  private let stages: [Stage]

  /// Plans `steps` steps over `stages`, whose shares add up to 1 and whose lengths divide `block`.
  ///
  /// Each stage but the last has the most steps with which its bytes are whole blocks and it ends no later than its share
  /// and those before it say; the last has the rest. A run too short for a block of a stage goes without that stage.
  public init(stages: [Stage], block: Int, steps: Int) {
    precondition(!stages.isEmpty && steps >= 0, "\(steps) steps in \(stages.count) stages")
    precondition(
      stages.allSatisfy { block % $0.length == 0 }, "stages that do not divide \(block)")
    self.stages = stages
    // Steps that stages of these shares of the bytes have, relative to each other.
    let weights = stages.map { $0.share / Double($0.stepBytes) }
    let total = weights.reduce(0, +)
    var (counts, end, given) = ([Int](), 0.0, 0)
    for (stage, weight) in zip(stages, weights).dropLast() {
      let unit = block / Self.commonDivisor(block, stage.stepBytes)
      // What rounding took from a stage goes to the next one: a step of the last may be worth a hundred of the first.
      end += Double(steps) * weight / total
      counts.append((Int(end) - given) / unit * unit)
      given += counts[counts.count - 1]
    }
    counts.append(steps - given)
    stepCounts = counts
  }

  /// The windows of `step` (1 for the first) that `rank` of `ranks` computes; past the last step the last stage
  /// goes on.
  public func samples(step: Int, rank: Int = 0, ranks: Int = 1) -> [Sample] {
    let place = place(ofStep: step)
    let stage = stages[place.stage]
    return stage.windows(rank: rank, ranks: ranks).map { window in
      Sample(
        index: place.samplesBefore + window, place: window,
        position: place.bytesBefore + window * stage.length, length: stage.length)
    }
  }

  /// The stage of `step` (1 for the first).
  public func stage(ofStep step: Int) -> Stage { stages[place(ofStep: step).stage] }

  /// Bytes that the first `steps` steps train on; exact up to 2^53.
  public func bytes(steps: Int) -> Double {
    var (bytes, left) = (0.0, steps)
    for (index, stage) in stages.enumerated() {
      let count = index == stages.count - 1 ? left : min(left, stepCounts[index])
      bytes += Double(count) * Double(stage.stepBytes)
      left -= count
    }
    return bytes
  }

  private func place(ofStep step: Int) -> (stage: Int, samplesBefore: Int, bytesBefore: Int) {
    precondition(step >= 1, "steps count from 1, got \(step)")
    var (index, samples, bytes, left) = (0, 0, 0, step - 1)
    while index < stages.count - 1, left >= stepCounts[index] {
      samples += stepCounts[index] * stages[index].windows
      bytes += stepCounts[index] * stages[index].stepBytes
      left -= stepCounts[index]
      index += 1
    }
    let stage = stages[index]
    return (index, samples + left * stage.windows, bytes + left * stage.stepBytes)
  }

  private static func commonDivisor(_ a: Int, _ b: Int) -> Int {
    b == 0 ? a : commonDivisor(b, a % b)
  }
}
