// One optimizer step: the rank's samples forward and backward, gradients summed over samples and
// ranks in one fixed tree, clipped, applied to the owned parameters, parameters gathered.
import Communication
import Compute
import Corpus
import Optimizers
import Reformer

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
  /// Wall-clock seconds of the step on this rank.
  public let seconds: Double
  /// Seconds this rank waited for other ranks' gradients and parameters.
  public let communicationSeconds: Double
  /// Whether a signal asked any rank to stop.
  public let stopRequested: Bool
}

/// The moving parts of a step.
final class TrainStep {
  let model: ReformerModel
  let optimizer: Adam
  let parameters: Buffer<Float>
  private let config: RunConfig
  private let engine: Engine
  private let communicator: any Communicator
  private let accumulator: GradientAccumulator
  private let reduction: GradientReduction
  private let schedule: LearningRateSchedule

  init(config: RunConfig, communicator: any Communicator, engine: Engine) {
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
  }

  /// Takes step `step` (1 for the first).
  ///
  /// `batch` gives the tokens of a global sample index; `progress` is told the share of the step's
  /// computation that is done.
  ///
  /// - Throws: `RunFailure` on all ranks alike, with parameters as before the step, when any rank's
  ///   loss or the gradient is not finite or a residual stream left its range.
  func run(
    step: Int, progress: (Double) -> Void = { _ in }, batch: (Int) throws -> Batch
  ) throws -> StepResult {
    let start = ContinuousClock.now
    let samples = BatchPlan.samples(
      step: step - 1, globalBatch: config.run.globalBatch, rank: communicator.rank,
      ranks: communicator.size)
    var losses: [Double] = []
    var failure: (any Error)?
    var exchangeFailure: (any Error)?
    var started: Set<Int> = []
    let layout = model.layout
    var total: View<Float>?

    func startReduction(_ group: Int) throws {
      guard started.insert(group).inserted else { return }
      let sum = accumulator.sumLast(layout.groups[group].range)
      total = sum
      try reduction.start(group: group, gradients: sum)
    }
    for sample in samples {
      let gradients = accumulator.next()
      let isLast = sample == samples.upperBound - 1
      do {
        let tokens = try batch(sample)
        losses.append(
          try gradient(
            tokens, sample: sample, step: step, into: gradients,
            progress: {
              progress((Double(sample - samples.lowerBound) + $0) / Double(samples.count))
            }
          ) { group in
            // The last sample makes the rank's sum final, group by group: it can be sent at once.
            guard isLast && failure == nil && exchangeFailure == nil else { return }
            do { try startReduction(group) } catch { exchangeFailure = error }
          })
      } catch {
        // This rank goes on talking to the others, or they would wait for it; the loss tells them.
        failure = failure ?? error
        losses.append(.nan)
      }
      if !isLast { accumulator.push() }
    }
    // Without the others there is nothing to agree on: this ends the run on all ranks.
    if let exchangeFailure { throw exchangeFailure }
    for group in layout.groups.indices.reversed() { try startReduction(group) }
    guard let sum = total else { preconditionFailure("a model without parameters") }

    let waiting = ContinuousClock.now
    try reduction.finish(gradients: sum)
    _ = accumulator.total()
    let squares = try reduction.squaredNorm(gradients: sum)
    // The stop flag rides with the losses: one exchange instead of two.
    let reports = try communicator.gatherAll(
      doubles: losses + [StopSignal.number != 0 ? 1 : 0])
    var communication = seconds(since: waiting)
    let allLosses = reports.flatMap { $0.dropLast() }
    let batchSize = Double(config.run.globalBatch)
    let loss = allLosses.reduce(0, +) / batchSize
    let norm = squares.squareRoot() / batchSize
    if let failure {
      try agreeOnFailure(own: "\(failure)", step: step)
    } else if !(loss.isFinite && norm.isFinite) {
      try agreeOnFailure(own: nil, step: step)
    }

    let rate = schedule.rate(step: step)
    let scale =
      GradientClipping.scale(squaredNorm: norm * norm, limit: config.optimizer.clip) / batchSize
    engine.pool.run(optimizer.pieceCount) { piece, scratch in
      optimizer.update(
        piece: piece, parameters: parameters.view, gradients: sum, rate: rate,
        gradientScale: scale, step: step)
      scratch.lap(.optimizer)
    }
    let gathering = ContinuousClock.now
    try reduction.gather(parameters: parameters.view)
    communication += seconds(since: gathering)
    return StepResult(
      lossNats: loss, gradientNorm: norm, learningRate: rate, seconds: seconds(since: start),
      communicationSeconds: communicator.size == 1 ? 0 : communication,
      stopRequested: reports.contains { $0.last == 1 })
  }

  private func gradient(
    _ batch: Batch, sample: Int, step: Int, into gradients: View<Float>,
    progress: (Double) -> Void, groupReady: (Int) -> Void
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
      groupReady: groupReady, progress: progress)
  }

  /// Ends the step on all ranks with the reasons of those that have one.
  private func agreeOnFailure(own: String?, step: Int) throws -> Never {
    let reasons = try communicator.gatherAll(Array((own ?? "").utf8)).enumerated()
      .filter { !$0.element.isEmpty }
      .map { "rank \($0.offset): \(String(decoding: $0.element, as: UTF8.self))" }
    let reason =
      reasons.isEmpty
      ? "loss or gradient is not finite (try a lower optimizer.learning_rate or a smaller "
        + "optimizer.clip)" : reasons.joined(separator: "; ")
    throw RunFailure(
      "step \(step): \(reason); the step was not applied and earlier checkpoints are intact")
  }
}

/// Seconds since an instant.
func seconds(since start: ContinuousClock.Instant) -> Double {
  let parts = (ContinuousClock.now - start).components
  return Double(parts.seconds) + Double(parts.attoseconds) * 1e-18
}
