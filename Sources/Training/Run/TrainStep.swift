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
  /// Mean loss over the step's windows, in nats per byte.
  public let lossNats: Double
  /// That of each window, in order; not a number where a rank has none.
  public let windowLossNats: [Double]
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
  /// How long the ranks computed; nil where there is one.
  public let pace: Pace?
}

/// How long the ranks of a step computed, waiting left out.
public struct Pace: Sendable, Equatable {
  /// The rank that computed longest; the lowest of several.
  public let slowest: Int
  /// Its seconds.
  public let slowestSeconds: Double
  /// Seconds of all ranks in the mean.
  public let meanSeconds: Double

  /// The pace of ranks that computed for so many seconds each, at least one.
  package init(secondsOfRanks seconds: [Double]) {
    slowestSeconds = seconds.max() ?? 0
    slowest = seconds.firstIndex(of: slowestSeconds) ?? 0
    meanSeconds = seconds.reduce(0, +) / Double(seconds.count)
  }
}

/// What one rank's samples came to.
private struct OwnSamples {
  /// Nats per byte, in order; NaN where there is none.
  var losses: [Double] = []
  /// The first error.
  var failure: (any Error)?
  /// What computing them took, without waiting for other ranks.
  var seconds = 0.0
}

/// What all ranks know about a step once they have told each other.
private struct Agreement {
  let lossNats: Double
  let windowLossNats: [Double]
  let gradientNorm: Double
  let outcome: StepOutcome
  let stopRequested: Bool
  let pace: Pace?
}

/// The moving parts of a step.
package final class TrainStep {
  let model: ReformerModel
  let optimizer: Optimizer
  /// What this rank's streams carry over.
  let streams: RunStreams
  private let parameters: Buffer<Float>
  private let config: RunConfig
  private let engine: Engine
  private let communicator: any Communicator
  private let exchange: StepExchange
  private let plan: StepPlan
  private let schedule: LearningRateSchedule
  private let stop: StopRequest

  // What a rank says about stopping beside its losses.
  private static let stopFlag = 1.0
  private static let abandonFlag = 2.0

  package init(
    config: RunConfig, communicator: any Communicator, engine: Engine,
    stop: StopRequest = StopRequest()
  ) throws {
    self.stop = stop
    self.config = config
    self.communicator = communicator
    self.engine = engine
    model = try ReformerModel(
      config: config.reformer, engine: engine, keepActivations: config.run.keepActivations)
    parameters = Buffer(model.layout.parameterBufferCount)
    exchange = StepExchange(
      config: config, layout: model.layout, communicator: communicator, engine: engine, stop: stop)
    optimizer = Optimizer(
      settings: config.optimizerSettings, layout: model.layout, ranges: exchange.ownedRanges)
    streams = RunStreams(config, rank: communicator.rank, ranks: communicator.size)
    plan = config.stepPlan
    schedule = config.learningRateSchedule
  }

  /// All parameters, once the pieces still on their way from other ranks have come.
  func currentParameters() throws(CommunicationError) -> View<Float> {
    try exchange.endGather()
    return parameters.view
  }

  /// Runs `body` with the averaged parameters in the place of the others; all ranks call it.
  ///
  /// Each rank exchanges its share in place, and sends it to the others: it takes time, but no memory.
  func withAverages<Result>(_ body: (View<Float>) throws -> Result) throws -> Result {
    try swapAverages()
    let result = Swift.Result { try body(parameters.view) }
    try swapAverages()
    return try result.get()
  }

  private func swapAverages() throws {
    try exchange.endGather()
    optimizer.swapAverages(parameters: parameters.view)
    try exchange.shareParameters(parameters.view[0..<model.layout.count])
    try exchange.endGather()
  }

  /// Takes step `step` (1 for the first).
  ///
  /// `window` gives that of a sample. `objection` may name a reason to skip the step,
  /// given its loss and gradient norm; it must say the same on all ranks. `progress` is told the share of
  /// the step's computation that is done. `givenRotations`: by layer, what LSH layers hash with in place of what the
  /// address says, as in `ReformerModel.loss`.
  ///
  /// A step is skipped when any rank's loss or the gradient is not finite or a residual stream left its
  /// range. The outcome is the same on all ranks.
  package func run(
    step: Int, objection: (Double, Double) -> String? = { _, _ in nil },
    progress: @escaping (Double) -> Void = { _ in }, givenRotations: [Int: [Float]] = [:],
    window: (Sample) throws -> Window
  ) throws -> StepResult {
    let start = ContinuousClock.now
    let own = passes(
      step: step, progress: progress, givenRotations: givenRotations, window: window)
    communicator.limitWaits(
      to: config.run.waitLimitSeconds, own: own.losses.count, seconds: own.seconds,
      windows: plan.samples(step: step).count, operations: FlopCount(model.config).step)
    let (gradients, squaredNorm) = try exchange.sumOverRanks()
    let agreement = try agree(own, squaredNorm: squaredNorm, objection: objection)
    streams.settle(agreement.outcome)
    let rate = schedule.rate(step: step)
    if agreement.outcome == .applied {
      update(
        step: step, gradients: gradients, norm: agreement.gradientNorm, rate: rate,
        windows: agreement.windowLossNats.count)
      try exchange.shareParameters(parameters.view[0..<model.layout.count])
      // All ranks count the windows of all, so nothing has to travel.
      for sample in model.ngrams == nil ? [] : plan.samples(step: step) {
        let window = try window(sample)
        if !window.isRepeated { model.ngrams?.count(window, in: parameters.view) }
      }
    }
    return StepResult(
      lossNats: agreement.lossNats, windowLossNats: agreement.windowLossNats,
      gradientNorm: agreement.gradientNorm, learningRate: rate, outcome: agreement.outcome,
      seconds: seconds(since: start),
      communicationExposedSeconds: communicator.size == 1 ? 0 : exchange.waited,
      stopRequested: agreement.stopRequested, pace: agreement.pace)
  }

  /// This rank's samples, forward and backward.
  ///
  /// After an error the rest is left out, but the rank goes on talking to the others, or they would wait
  /// for it; the losses tell them.
  private func passes(
    step: Int, progress: @escaping (Double) -> Void, givenRotations: [Int: [Float]],
    window: (Sample) throws -> Window
  ) -> OwnSamples {
    let samples = plan.samples(
      step: step, rank: communicator.rank, ranks: communicator.size)
    var own = OwnSamples()
    let start = ContinuousClock.now
    exchange.begin(samples: samples.count, report: progress)
    if samples.isEmpty { exchange.passNothing() }
    for sample in samples {
      let gradients = exchange.beginSample()
      var loss = Double.nan
      do {
        if own.failure == nil {
          loss = try model.lossAndGradients(
            parameters: parameters.view, gradients: gradients, window: window(sample),
            address: RandomAddress(
              seed: UInt64(config.run.seed), step: UInt64(step), sample: UInt64(sample.index)),
            givenRotations: givenRotations, memory: streams.memory(of: sample),
            observer: exchange)
        }
      } catch {
        own.failure = error
      }
      if !exchange.endSample() {
        loss = .nan
        own.failure = ReformerError.stopped
      }
      own.losses.append(loss)
    }
    own.seconds = seconds(since: start) - exchange.waited
    return own
  }

  /// What becomes of the step, from what all ranks have to say about it.
  private func agree(
    _ own: OwnSamples, squaredNorm: Double, objection: (Double, Double) -> String?
  ) throws -> Agreement {
    var flag = stop.isMade ? Self.stopFlag : 0
    if case .stopped? = own.failure as? ReformerError { flag = Self.abandonFlag }
    // Time and flag ride with the losses: one exchange instead of three.
    let reports = try exchange.gather(own.losses + [own.seconds, flag])
    let losses = reports.flatMap { $0.dropLast(2) }
    let batchSize = Double(losses.count)
    let loss = losses.reduce(0, +) / batchSize
    // A pass that failed has left in parts of its gradient what was there.
    let norm = loss.isFinite ? squaredNorm.squareRoot() / batchSize : .nan
    let flags = reports.compactMap(\.last)
    let outcome: StepOutcome =
      if flags.contains(Self.abandonFlag) {
        .abandoned
      } else if !(loss.isFinite && norm.isFinite) {
        .skipped(try commonReason(own: own.failure.map { "\($0)" }))
      } else if let reason = objection(loss, norm) {
        .skipped(reason)
      } else {
        .applied
      }
    return Agreement(
      lossNats: loss, windowLossNats: losses, gradientNorm: norm, outcome: outcome,
      stopRequested: flags.contains { $0 != 0 },
      pace: reports.count > 1 ? Pace(secondsOfRanks: reports.map { $0[$0.count - 2] }) : nil)
  }

  /// Moves the parameters that this rank owns.
  private func update(
    step: Int, gradients: View<Float>, norm: Double, rate: Double, windows: Int
  ) {
    let scale =
      GradientClipping.scale(squaredNorm: norm * norm, limit: config.optimizer.clip)
      / Double(windows)
    engine.pool.run(optimizer.pieceCount) { piece, scratch in
      optimizer.update(
        piece: piece, parameters: parameters.view, gradients: gradients, rate: rate,
        gradientScale: scale, step: step, scratch: scratch)
      scratch.lap(.optimizer)
    }
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
