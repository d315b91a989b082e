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
  /// The corpora of a mix, in order; nil for a single one.
  public var corpora: [CorpusScore]?
}

/// The score of one corpus of a mix.
public struct CorpusScore: Codable, Sendable, Equatable {
  /// Its name in `data.mix`.
  public let name: String
  /// Mean loss in bits per scored byte.
  public let bitsPerByte: Double
  /// Bytes scored.
  public let bytes: Int
}

/// Scores windows of corpora.
public struct Evaluator {
  private let model: ReformerModel
  private let corpora: [MixPart]
  private let communicator: any Communicator
  private let seed: UInt64
  private let stop: StopRequest
  // Separates the hash rotations of evaluation from those of all training steps.
  private static let step = UInt64.max

  /// An evaluator whose ranks all call `run` together.
  public init(
    model: ReformerModel, corpora: [MixPart], communicator: any Communicator, seed: UInt64,
    stop: StopRequest = StopRequest()
  ) {
    self.model = model
    self.corpora = corpora
    self.communicator = communicator
    self.seed = seed
    self.stop = stop
  }

  /// Scores each byte of `split` of each corpus once, but the first (and the first of each stretch
  /// of a corpus of several files).
  ///
  /// - `context`: bytes the model sees at once. `stride`: bytes scored per window, at most `context`;
  ///   equal to it, windows stand side by side and nothing is carried over (the Reformer papers' protocol);
  ///   smaller, each byte but those of the first window sees at least `context - stride` bytes.
  /// - `limit`: score only so many bytes from the start of the split of each corpus; 0 for all.
  /// - `progress`: called after each of this rank's windows with the share done.
  /// - Returns: nil when any rank was asked to stop; the score is then unknown.
  public func run(
    parameters: View<Float>, split: CorpusSplit, context: Int, stride: Int, limit: Int,
    progress: (Double) -> Void = { _ in }
  ) throws -> EvaluationResult? {
    let windows = try corpora.flatMap { part in
      try part.corpus.evaluationWindows(
        split, length: model.config.length, stride: stride, limit: limit
      ).enumerated().map { Place(corpus: part.corpus, index: $0, window: $1) }
    }
    var own: [Double] = []
    var failure: (any Error)?
    let mine = Swift.stride(from: communicator.rank, to: windows.count, by: communicator.size)
    for index in mine {
      do {
        guard failure == nil, !stop.isMade else { break }
        own.append(
          try nats(
            windows[index], context: context, parameters: parameters))
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
    var bytes = 0
    var scores: [CorpusScore] = []
    for part in corpora {
      var (nats, scored) = (0.0, 0)
      for index in windows.indices where windows[index].corpus === part.corpus {
        nats += reports[index % communicator.size][index / communicator.size]
        scored += windows[index].window.bytes.count - 1
      }
      total += nats
      bytes += scored
      scores.append(
        CorpusScore(name: part.name, bitsPerByte: nats / Double(scored) / log(2), bytes: scored))
    }
    return EvaluationResult(
      bitsPerByte: total / Double(bytes) / log(2), bytes: bytes,
      corpora: scores.count > 1 ? scores : nil)
  }

  /// One window, and its number among those of its corpus: a corpus has the same score alone as in
  /// a mix.
  private struct Place {
    let corpus: ByteCorpus
    let index: Int
    let window: EvaluationWindow
  }

  /// Loss of the window's targets, given up to `context` bytes that reach back to the stretch's start.
  private func nats(
    _ window: Place, context: Int, parameters: View<Float>
  ) throws -> Double {
    let scored = window.window.bytes
    let first = min(max(window.window.reach, scored.upperBound - 1 - context), scored.lowerBound)
    return try model.loss(
      parameters: parameters,
      window: Window(
        bytes: window.corpus.bytes(in: first..<scored.upperBound),
        byteOffset: model.config.byteOffset, unscored: scored.lowerBound - first),
      address: RandomAddress(seed: seed, step: Self.step, sample: UInt64(window.index)),
      observer: StopWatch(stop: stop))
  }
}

/// Gives a pass up as soon as the run is asked to stop.
private struct StopWatch: PassObserver {
  let stop: StopRequest
  var shouldStop: Bool { stop.isMade }
}
