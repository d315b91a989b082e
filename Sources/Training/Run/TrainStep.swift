// One optimizer step: the rank's samples forward and backward, gradients summed over samples and
// ranks in one fixed tree, clipped, applied to the owned parameters, parameters gathered.
import Communication
import Compute
import Corpus
import Optimizers
import Reformer

/// What became of a step.
public enum StepOutcome: Sendable, Equatable {
  /// The parameters have moved.
  case applied
  /// Parameters and moments are as before the step, for this reason.
  case skipped(String)
  /// A rank had to stop in the middle: it is as if the step had not been tried.
  case abandoned
}

/// What one step measured.
///
/// Equal on all ranks but for the times.
public struct StepResult: Sendable {
  /// Mean loss over the global batch, in nats per byte.
  public let lossNats: Double
  /// Norm of the mean gradient before clipping.
  public let gradientNorm: Double
  /// Learning rate applied.
  public let learningRate: Double
  /// What became of it.
  public let outcome: StepOutcome
  /// Wall-clock seconds of the step on this rank.
  public let seconds: Double
  /// Seconds this rank waited for other ranks and summed their gradients, computing nothing else.
  ///
  /// Parameters that were still on their way count for the step that waited for them.
  public let communicationExposedSeconds: Double
  /// Whether any rank was asked to stop.
  public let stopRequested: Bool
}

/// The moving parts of a step.
final class TrainStep {
  let model: ReformerModel
  let optimizer: Adam
  private let parameters: Buffer<Float>
  private let config: RunConfig
  private let engine: Engine
  private let communicator: any Communicator
  private let accumulator: GradientAccumulator
  private let reduction: GradientReduction
  private let schedule: LearningRateSchedule
  private let stop: StopRequest

  // What a rank says about stopping beside its losses.
  private static let stopFlag = 1.0
  private static let abandonFlag = 2.0

  init(
    config: RunConfig, communicator: any Communicator, engine: Engine,
    stop: StopRequest = StopRequest()
  ) {
    self.stop = stop
    self.config = config
    self.communicator = communicator
    self.engine = engine
    model = ReformerModel(
      config: config.reformer, engine: engine, keepActivations: config.run.keepActivations)
    let layout = model.layout
    parameters = Buffer(layout.count)
    accumulator = GradientAccumulator(count: layout.count, pool: engine.pool)
    reduction = GradientReduction(
      communicator: communicator, layout: layout, pool: engine.pool)
    optimizer = Adam(
      settings: config.adam, ranges: reduction.ownedRanges,
      decayRanges: Adam.decayRanges(of: layout))
    schedule = config.learningRateSchedule
    guard config.run.overlap, communicator.size > 1 else { return }
    engine.pool.betweenTasks = { communicator.progress() }
  }

  /// All parameters, once the pieces still on their way from other ranks have come.
  func currentParameters() throws(CommunicationError) -> View<Float> {
    try reduction.endGather()
    return parameters.view
  }

  /// Takes step `step` (1 for the first).
  ///
  /// `batch` gives the tokens of a global sample index. `objection` may name a reason to skip the step,
  /// given its loss and gradient norm; it must say the same on all ranks. `progress` is told the share of
  /// the step's computation that is done.
  ///
  /// A step is skipped when any rank's loss or the gradient is not finite or a residual stream left its
  /// range. The outcome is the same on all ranks.
  func run(
    step: Int, objection: (Double, Double) -> String? = { _, _ in nil },
    progress: (Double) -> Void = { _ in }, batch: (Int) throws -> Batch
  ) throws -> StepResult {
    let start = ContinuousClock.now
    let samples = BatchPlan.samples(
      step: step - 1, globalBatch: config.run.globalBatch, rank: communicator.rank,
      ranks: communicator.size)
    var losses: [Double] = []
    var failure: (any Error)?
    var exchangeFailure: (any Error)?
    var waited = 0.0
    var started: Set<Int> = []
    let layout = model.layout
    var total: View<Float>?

    func startReduction(_ group: Int) throws {
      guard started.insert(group).inserted else { return }
      let sum = accumulator.sumLast(layout.groups[group].range)
      total = sum
      try reduction.start(group: group, gradients: sum)
    }
    /// Runs an exchange from inside the model, which knows no such errors; the first ends the step.
    func exchange(_ body: () throws -> Void) {
      guard exchangeFailure == nil else { return }
      do { try body() } catch { exchangeFailure = error }
    }
    func timed(_ wait: () throws -> Void) throws {
      let start = ContinuousClock.now
      defer { waited += seconds(since: start) }
      try wait()
    }
    for sample in samples {
      let gradients = accumulator.next()
      let isLast = sample == samples.upperBound - 1
      do {
        // The sum is of no use any more, so only the exchange is left to do.
        if failure != nil { throw ReformerError.stopped }
        let tokens = try batch(sample)
        losses.append(
          try gradient(
            tokens, sample: sample, step: step, into: gradients,
            groupNeeded: { group in
              exchange { try timed { try reduction.finishGather(group: group) } }
            },
            groupReady: { group in
              // The last sample makes the rank's sum final, group by group: it can be sent at once.
              guard config.run.overlap && isLast && failure == nil else { return }
              exchange { try startReduction(group) }
            },
            progress: {
              progress((Double(sample - samples.lowerBound) + $0) / Double(samples.count))
            }))
      } catch {
        // This rank goes on talking to the others, or they would wait for it; the loss tells them.
        failure = failure ?? error
        losses.append(.nan)
      }
      if !isLast { accumulator.push() }
    }
    // Ranks that do equal work wait for each other less than that work takes, however slow their
    // machines.
    if config.run.waitLimitSeconds > 0 {
      communicator.waitLimit = max(config.run.waitLimitSeconds, seconds(since: start) - waited)
    }
    // Without the others there is nothing to agree on: this ends the run on all ranks.
    if let exchangeFailure { throw exchangeFailure }
    // The update will change this rank's pieces, which may still be on their way to others.
    try timed { try reduction.endGather() }
    for group in layout.groups.indices.reversed() { try startReduction(group) }
    guard let sum = total else { preconditionFailure("a model without parameters") }

    var squares = 0.0
    var reports: [[Double]] = []
    var flag = stop.isMade ? Self.stopFlag : 0
    if case .stopped? = failure as? ReformerError { flag = Self.abandonFlag }
    try timed {
      try reduction.finish(gradients: sum)
      _ = accumulator.total()
      squares = try reduction.squaredNorm(gradients: sum)
      // The stop flag rides with the losses: one exchange instead of two.
      reports = try communicator.gatherAll(doubles: losses + [flag])
    }
    let allLosses = reports.flatMap { $0.dropLast() }
    let batchSize = Double(config.run.globalBatch)
    let loss = allLosses.reduce(0, +) / batchSize
    let norm = squares.squareRoot() / batchSize
    let rate = schedule.rate(step: step)
    func result(_ outcome: StepOutcome) -> StepResult {
      StepResult(
        lossNats: loss, gradientNorm: norm, learningRate: rate, outcome: outcome,
        seconds: seconds(since: start),
        communicationExposedSeconds: communicator.size == 1 ? 0 : waited,
        stopRequested: reports.contains { $0.last != 0 })
    }
    if reports.contains(where: { $0.last == Self.abandonFlag }) { return result(.abandoned) }
    if !(loss.isFinite && norm.isFinite) {
      return result(.skipped(try commonReason(own: failure.map { "\($0)" })))
    }
    if let reason = objection(loss, norm) { return result(.skipped(reason)) }

    let scale =
      GradientClipping.scale(squaredNorm: norm * norm, limit: config.optimizer.clip) / batchSize
    engine.pool.run(optimizer.pieceCount) { piece, scratch in
      optimizer.update(
        piece: piece, parameters: parameters.view, gradients: sum, rate: rate,
        gradientScale: scale, step: step)
      scratch.lap(.optimizer)
    }
    try timed {
      try reduction.startGather(parameters: parameters.view)
      if !config.run.overlap { try reduction.endGather() }
    }
    return result(.applied)
  }

  private func gradient(
    _ batch: Batch, sample: Int, step: Int, into gradients: View<Float>,
    groupNeeded: (Int) -> Void, groupReady: (Int) -> Void, progress: (Double) -> Void
  ) throws -> Double {
    let inputs = Buffer<Int32>(batch.inputs.count)
    let targets = Buffer<Int32>(batch.targets.count)
    inputs.view.copy(from: batch.inputs)
    targets.view.copy(from: batch.targets)
    return try model.lossAndGradients(
      parameters: parameters.view, gradients: gradients, inputs: inputs.view,
      targets: targets.view,
      address: RandomAddress(
        seed: UInt64(config.run.seed), step: UInt64(step), sample: UInt64(sample)),
      groupNeeded: groupNeeded, shouldStop: { stop.isUrgent }, groupReady: groupReady,
      progress: progress)
  }

  /// The reasons of all ranks that have one, on all ranks.
  private func commonReason(own: String?) throws -> String {
    let reasons = try communicator.gatherAll(Array((own ?? "").utf8)).enumerated()
      .filter { !$0.element.isEmpty }
      .map { "rank \($0.offset): \(String(decoding: $0.element, as: UTF8.self))" }
    return reasons.isEmpty
      ? "loss or gradient is not finite (try a lower optimizer.learning_rate or a smaller "
        + "optimizer.clip)" : reasons.joined(separator: "; ")
  }
}
