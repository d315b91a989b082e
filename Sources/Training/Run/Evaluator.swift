// Bits per byte on held-out bytes. Windows are shared out over the ranks; their losses are added in window
// order, so the figure has the same bits at any rank count.
import Communication
import Compute
import Corpus
import Foundation
import Reformer

/// A score on a split.
public struct EvaluationResult: Codable, Sendable, Equatable {
  /// Mean loss in bits per scored byte.
  public let bitsPerByte: Double
  /// Bytes scored.
  public let bytes: Int
}

/// Scores windows of a corpus.
public struct Evaluator {
  private let model: ReformerModel
  private let corpus: ByteCorpus
  private let communicator: any Communicator
  private let seed: UInt64
  private let stop: StopRequest
  // Separates the hash rotations of evaluation from those of all training steps.
  private static let step = UInt64.max

  /// An evaluator whose ranks all call `run` together.
  public init(
    model: ReformerModel, corpus: ByteCorpus, communicator: any Communicator, seed: UInt64,
    stop: StopRequest = StopRequest()
  ) {
    self.model = model
    self.corpus = corpus
    self.communicator = communicator
    self.seed = seed
    self.stop = stop
  }

  /// Scores each byte of `split` (but the first) once.
  ///
  /// - `context`: bytes the model sees at once. `stride`: bytes scored per window, at most `context`;
  ///   equal to it, windows stand side by side and nothing is carried over (the Reformer papers' protocol);
  ///   smaller, each byte but those of the first window sees at least `context - stride` bytes.
  /// - `limit`: score only so many bytes from the start; 0 for all.
  /// - `progress`: called after each of this rank's windows with the share done.
  /// - Returns: nil when any rank was asked to stop; the score is then unknown.
  public func run(
    parameters: View<Float>, split: CorpusSplit, context: Int, stride: Int, limit: Int,
    progress: (Double) -> Void = { _ in }
  ) throws -> EvaluationResult? {
    let windows = try corpus.evaluationWindows(split, length: stride, limit: limit)
    let start = corpus.range(of: split).lowerBound
    var own: [Double] = []
    var failure: (any Error)?
    let mine = Swift.stride(from: communicator.rank, to: windows.count, by: communicator.size)
    for index in mine {
      do {
        guard failure == nil, !stop.isMade else { break }
        own.append(
          try nats(
            windows[index], reachingBack: max(start, windows[index].upperBound - 1 - context),
            index: index, parameters: parameters))
      } catch {
        failure = error
      }
      progress(Double(index + 1) / Double(windows.count))
    }
    if case .stopped? = failure as? ReformerError { failure = nil }
    let reports = try communicator.gatherAll(doubles: failure == nil ? own : [.nan])
    if let failure { throw RunFailure("evaluation: \(failure)") }
    guard !reports.contains(where: { $0.contains { !$0.isFinite } }) else {
      throw RunFailure("evaluation: the loss is not finite")
    }
    guard reports.reduce(0, { $0 + $1.count }) == windows.count else { return nil }
    var total = 0.0
    for index in windows.indices {
      total += reports[index % communicator.size][index / communicator.size]
    }
    let bytes = windows.reduce(0) { $0 + $1.count - 1 }
    return EvaluationResult(bitsPerByte: total / Double(bytes) / log(2), bytes: bytes)
  }

  /// Loss of the window's targets, given all bytes from `first` on.
  private func nats(
    _ window: Range<Int>, reachingBack first: Int, index: Int, parameters: View<Float>
  ) throws -> Double {
    let first = min(first, window.lowerBound)
    return try model.loss(
      parameters: parameters,
      window: Window(
        bytes: corpus.bytes(in: first..<window.upperBound), byteOffset: model.config.byteOffset,
        unscored: window.lowerBound - first),
      address: RandomAddress(seed: seed, step: Self.step, sample: UInt64(index)),
      observer: StopWatch(stop: stop))
  }
}

/// Gives a pass up as soon as the run is asked to stop.
private struct StopWatch: PassObserver {
  let stop: StopRequest
  var shouldStop: Bool { stop.isMade }
}
