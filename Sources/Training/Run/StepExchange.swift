// What a rank's passes exchange with the other ranks while they go on: parameters come before a layer
// reads them, gradients leave as soon as they are final.
import Communication
import Compute
import Reformer

/// The exchange of one rank, over all steps; it follows each pass of a step.
///
/// Per step: `begin`, then `beginSample` and `endSample` around each pass, then `sumOverRanks`, and
/// `shareParameters` where the step is applied. The first error of an exchange gives up the pass under
/// way at its next tile: without the others its work is lost.
final class StepExchange: PassObserver {
  private let communicator: any Communicator
  private let reduction: GradientReduction
  private let accumulator: GradientAccumulator
  private let pool: WorkerPool
  private let stop: StopRequest
  /// Whether gradients and parameters travel while passes go on.
  private let overlaps: Bool

  /// Seconds of this step in which this rank waited for others and summed what they sent.
  private(set) var waited = 0.0
  private var failure: CommunicationError?
  private var started: Set<Int> = []
  private var total: View<Float>?
  private var sample = 0
  private var sampleCount = 0
  private var isPassing = false
  private var report: (Double) -> Void = { _ in }

  /// The exchange of gradients and parameters in `layout`, beside the passes on `engine`.
  init(
    config: RunConfig, layout: ParameterLayout, communicator: any Communicator, engine: Engine,
    stop: StopRequest
  ) {
    self.communicator = communicator
    self.stop = stop
    pool = engine.pool
    overlaps = config.run.overlap && communicator.size > 1
    reduction = GradientReduction(
      communicator: communicator, layout: layout, shares: config.groupShares,
      wire: config.run.wire, pool: pool)
    accumulator = GradientAccumulator(count: layout.count, pool: pool)
    pool.betweenTasks = { [weak self] in self?.afterTile() }
  }

  /// The parameters this rank updates, a range per group.
  var ownedRanges: [Range<Int>] { reduction.ownedRanges }

  // MARK: A step in order

  /// Begins a step of `samples` passes; `report` is told the share of them that is done.
  func begin(samples: Int, report: @escaping (Double) -> Void) {
    waited = 0
    started = []
    total = nil
    sample = 0
    sampleCount = samples
    self.report = report
  }

  /// Where the gradient of the next sample is set, for the pass that follows.
  func beginSample() -> View<Float> {
    isPassing = true
    return accumulator.next()
  }

  /// In the place of passes, where a step has fewer samples than there are ranks: the rank's sum is zero.
  func passNothing() {
    sampleCount = 1
    beginSample().fill(0)
    _ = endSample()
  }

  /// Ends a sample's pass.
  ///
  /// - Returns: false where the pass was given up, whatever it returned.
  func endSample() -> Bool {
    isPassing = false
    defer { pool.isCancelled = false }
    if !isLastSample { accumulator.push() }
    sample += 1
    return !pool.isCancelled
  }

  /// The sum of all ranks' gradients in the ranges this rank owns, and the sum of squares of all of it.
  func sumOverRanks() throws -> (gradients: View<Float>, squaredNorm: Double) {
    // Without the others there is nothing to agree on: this ends the run on all ranks.
    if let failure { throw failure }
    // The update will change this rank's pieces, which may still be on their way to others.
    try timed { () throws(CommunicationError) in try reduction.endGather() }
    for group in reduction.layout.groups.indices.reversed() { try start(group) }
    guard let total else { preconditionFailure("a model without parameters") }
    var squaredNorm = 0.0
    try timed { () throws(CommunicationError) in
      try reduction.finish(gradients: total)
      _ = accumulator.total()
      squaredNorm = try reduction.squaredNorm(gradients: total)
    }
    return (total, squaredNorm)
  }

  /// What each rank has to say about its step, by rank.
  func gather(_ own: [Double]) throws -> [[Double]] {
    var all: [[Double]] = []
    try timed { () throws(CommunicationError) in all = try communicator.gatherAll(doubles: own) }
    return all
  }

  /// Sends the parameters this rank has updated to the others; they arrive during the next step's passes.
  func shareParameters(_ parameters: View<Float>) throws {
    try timed { () throws(CommunicationError) in
      try reduction.startGather(parameters: parameters)
      if !overlaps { try reduction.endGather() }
    }
  }

  /// Waits for the parameters still on their way.
  func endGather() throws(CommunicationError) { try reduction.endGather() }

  // MARK: During a pass

  /// A pass is about to read a group of parameters.
  func needs(group: Int) {
    attempt { () throws(CommunicationError) in
      try timed { () throws(CommunicationError) in try reduction.finishGather(group: group) }
    }
  }

  /// A pass has made a group of gradients final.
  ///
  /// That of the last sample makes the rank's sum final, group by group: it can be sent at once.
  func ready(group: Int) {
    guard overlaps, isLastSample, !pool.isCancelled else { return }
    attempt { () throws(CommunicationError) in try start(group) }
  }

  /// Whether the pass should be given up.
  var shouldStop: Bool { failure != nil || pool.isCancelled || stop.isUrgent }

  /// A share of the pass is done.
  func progress(_ share: Double) {
    guard !pool.isCancelled else { return }
    report((Double(sample) + share) / Double(sampleCount))
  }

  // MARK: Parts

  private var isLastSample: Bool { sample == sampleCount - 1 }

  private func start(_ group: Int) throws(CommunicationError) {
    guard started.insert(group).inserted else { return }
    let sum = accumulator.sumLast(reduction.layout.groups[group].range)
    total = sum
    try reduction.start(group: group, gradients: sum)
  }

  private func afterTile() {
    if overlaps {
      attempt { () throws(CommunicationError) in try communicator.progress() }
    }
    if isPassing, stop.isUrgent { pool.isCancelled = true }
  }

  /// Exchanges from inside a pass, which knows no such errors; the first one ends it.
  private func attempt(_ exchange: () throws(CommunicationError) -> Void) {
    guard failure == nil else { return }
    do throws(CommunicationError) { try exchange() } catch {
      failure = error
      if isPassing { pool.isCancelled = true }
    }
  }

  private func timed(_ wait: () throws(CommunicationError) -> Void) throws(CommunicationError) {
    let start = ContinuousClock.now
    defer { waited += seconds(since: start) }
    try wait()
  }
}
