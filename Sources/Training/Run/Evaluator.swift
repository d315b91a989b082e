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
  private let config: RunConfig
  private let stop: StopRequest
  // Separates the hash rotations of evaluation from those of all training steps.
  private static let step = UInt64.max

  /// An evaluator of the model that `config` says, whose ranks all call `run` together.
  public init(
    config: RunConfig, model: ReformerModel, corpora: [MixPart], communicator: any Communicator,
    stop: StopRequest = StopRequest()
  ) {
    self.config = config
    self.model = model
    self.corpora = corpora
    self.communicator = communicator
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
  /// - Throws: on all ranks alike, with the reason of each rank that has one.
  public func run(
    parameters: View<Float>, split: CorpusSplit, context: Int, stride: Int, limit: Int,
    progress: (Double) -> Void = { _ in }
  ) throws -> EvaluationResult? {
    let windows = try corpora.flatMap { part in
      try part.corpus.evaluationWindows(
        split, length: model.config.length, stride: stride, limit: limit
      ).enumerated().map { Place(corpus: part.corpus, index: $0, window: $1) }
    }
    let start = ContinuousClock.now
    let own = ownLosses(
      of: windows, carried: context - stride, parameters: parameters, progress: progress)
    communicator.limitWaits(to: config.run.waitLimitSeconds, orOwnWork: seconds(since: start))
    let reports = try communicator.gatherAll(doubles: agree(communicator) { try own.get() })
    guard reports.reduce(0, { $0 + $1.count }) == windows.count else { return nil }
    let losses = windows.indices.map {
      reports[$0 % communicator.size][$0 / communicator.size]
    }
    if let wrong = losses.firstIndex(where: { !$0.isFinite }) {
      throw RunFailure("evaluation: the loss of \(windows[wrong].description) is not finite")
    }
    return score(windows, losses)
  }

  /// Loss of each of this rank's windows, in nats; of fewer when the run is asked to stop.
  private func ownLosses(
    of windows: [Place], carried: Int, parameters: View<Float>, progress: (Double) -> Void
  ) -> Result<[Double], any Error> {
    var own: [Double] = []
    do {
      for index in stride(from: communicator.rank, to: windows.count, by: communicator.size) {
        guard !stop.isMade else { break }
        own.append(try nats(windows[index], carried: carried, parameters: parameters))
        progress(Double(index + 1) / Double(windows.count))
      }
    } catch ReformerError.stopped {
    } catch {
      let message = "evaluation: \(error)"
      return .failure(runExitCode(error) == 2 ? UserError(message) : RunFailure(message))
    }
    return .success(own)
  }

  /// The figures, added up in the order of the windows.
  private func score(_ windows: [Place], _ losses: [Double]) -> EvaluationResult {
    var total = 0.0
    var bytes = 0
    var scores: [CorpusScore] = []
    for part in corpora {
      var (nats, scored) = (0.0, 0)
      for (place, loss) in zip(windows, losses) where place.corpus === part.corpus {
        nats += loss
        scored += place.window.bytes.count - 1
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

    var description: String {
      "bytes \(window.bytes.lowerBound + 1) to \(window.bytes.upperBound - 1) of \(corpus.path)"
    }
  }

  /// Loss of the window's targets, given its bytes and `carried` bytes before them, as far as the stretch reaches.
  private func nats(
    _ window: Place, carried: Int, parameters: View<Float>
  ) throws -> Double {
    let scored = window.window.bytes
    let first = max(window.window.reach, scored.lowerBound - carried)
    return try model.loss(
      parameters: parameters,
      window: Window(
        bytes: window.corpus.bytes(in: first..<scored.upperBound),
        byteOffset: model.config.byteOffset, unscored: scored.lowerBound - first),
      address: RandomAddress(
        seed: UInt64(config.run.seed), step: Self.step, sample: UInt64(window.index)),
      observer: StopWatch(stop: stop))
  }
}

/// Gives a pass up as soon as the run is asked to stop.
private struct StopWatch: PassObserver {
  let stop: StopRequest
  var shouldStop: Bool { stop.isMade }
}
