// Bits per byte on held-out bytes. Windows are shared out over the ranks; their losses are added in window
// order, so the figure has the same bits at any rank count.
import Attention
import Communication
import Compute
import Corpus
import Reformer

/// Scores windows of corpora.
public struct Evaluator {
  private let model: ReformerModel
  private let corpora: [MixPart]
  private let communicator: any Communicator
  private let config: RunConfig
  private let stop: StopRequest

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
  /// Layers with a memory go on from window to window: the windows are cut in `run.global_batch` streams, or as many as
  /// there are windows, which begin with nothing, as each stretch does.
  /// - `context`: bytes the model sees at once. `stride`: bytes scored per window, at most `context`;
  ///   equal to it, windows stand side by side and nothing is carried over (the Reformer papers' protocol);
  ///   smaller, each byte but those of the first window sees at least `context - stride` bytes.
  /// - `hashSeed`: each number, from 0, gives other hash rotations; those of 0 are used in training.
  /// - `limit`: score only so many bytes from the start of the split of each corpus; 0 for all.
  /// - `progress`: called after each of this rank's windows with the share done.
  /// - Returns: nil when any rank was asked to stop; the score is then unknown.
  /// - Throws: on all ranks alike, with the reason of each rank that has one.
  public func run(
    parameters: View<Float>, split: CorpusSplit, context: Int, stride: Int, limit: Int,
    hashSeed: Int = 0, progress: (Double) -> Void = { _ in }
  ) throws -> EvaluationResult? {
    let windows = try corpora.flatMap { part in
      try part.corpus.evaluationWindows(
        split, length: model.config.length, stride: stride, limit: limit
      ).enumerated().map { Place(corpus: part.corpus, index: $0, window: $1) }
    }
    let streams = streams(of: windows.count, isSliding: stride < context)
    let start = ContinuousClock.now
    let hashTally = HashTally()
    let own = ownLosses(
      of: windows, streams, hashSeed: hashSeed, carried: context - stride, parameters: parameters,
      hashTally: hashTally, progress: progress)
    communicator.limitWaits(
      to: config.run.waitLimitSeconds, own: (try? own.get().count) ?? 0,
      seconds: seconds(since: start), windows: windows.count,
      operations: FlopCount(model.config).forward)
    let reports = try communicator.gatherAll(
      doubles: agree(communicator) { try own.get().flatMap(\.numbers) }
    ).map(WindowLoss.all)
    guard reports.reduce(0, { $0 + $1.count }) == windows.count else { return nil }
    let order = (0..<communicator.size).flatMap { share(of: $0, in: streams).joined() }
    let losses = zip(order, reports.joined()).sorted { $0.0 < $1.0 }.map(\.1)
    if let wrong = losses.firstIndex(where: { !$0.nats.isFinite }) {
      throw RunFailure("evaluation: the loss of \(windows[wrong].description) is not finite")
    }
    return score(
      windows, losses, context: context, hashing: try hashScores(hashTally))
  }

  /// What the hashes of each layer came to in the windows of all ranks.
  private func hashScores(_ own: HashTally) throws -> [HashScore] {
    let layers = model.config.encoder.count..<model.config.encoder.count + model.config.layers.count
    let reports = try communicator.gatherAll(
      doubles: layers.flatMap { layer in
        (own.layers[layer] ?? HashCounts()).numbers.map(Double.init)
      })
    return layers.compactMap { layer in
      let width = HashCounts().numbers.count
      let counts = reports.reduce(HashCounts()) { sum, report in
        let first = (layer - layers.lowerBound) * width
        return sum + HashCounts(numbers: report[first..<first + width].map { Int($0) })
      }
      return counts.queries > 0 ? HashScore(layer: layer, counts) : nil
    }
  }

  /// Windows that are scored one after the other: those of a stream, or each by itself where nothing is carried over.
  private func streams(of count: Int, isSliding: Bool) -> [Range<Int>] {
    precondition(
      !isSliding || model.config.carriedRows == 0, "windows of streams that see bytes twice")
    let number = model.config.carriedRows > 0 ? min(config.run.globalBatch, count) : count
    return (0..<number).map { $0 * count / number..<($0 + 1) * count / number }
  }

  /// The streams of a rank.
  private func share(of rank: Int, in streams: [Range<Int>]) -> [Range<Int>] {
    stride(from: rank, to: streams.count, by: communicator.size).map { streams[$0] }
  }

  /// Loss of each of this rank's windows; of fewer when the run is asked to stop.
  private func ownLosses(
    of windows: [Place], _ streams: [Range<Int>], hashSeed: Int, carried: Int,
    parameters: View<Float>,
    hashTally: HashTally, progress: (Double) -> Void
  ) -> Result<[WindowLoss], any Error> {
    var own: [WindowLoss] = []
    do {
      let memory = model.config.carriedRows > 0 ? StreamMemory(model.config) : nil
      for stream in share(of: communicator.rank, in: streams) {
        for index in stream {
          guard !stop.isMade else { return .success(own) }
          let isContinued =
            index > stream.lowerBound && windows[index].follows(windows[index - 1])
          own.append(
            try loss(
              of: windows[index], isContinued: isContinued, hashSeed: hashSeed, carried: carried,
              parameters: parameters, memory: memory, hashTally: hashTally))
          memory?.commit()
          progress(Double(index + 1) / Double(windows.count))
        }
      }
    } catch ReformerError.stopped {
    } catch {
      let message = "evaluation: \(error)"
      return .failure(runExitCode(error) == 2 ? UserError(message) : RunFailure(message))
    }
    return .success(own)
  }

  /// The figures, added up in the order of the windows.
  private func score(
    _ windows: [Place], _ losses: [WindowLoss], context: Int, hashing: [HashScore]
  ) -> EvaluationResult {
    var all = EvaluationTally()
    var scores: [CorpusScore] = []
    for part in corpora {
      var own = EvaluationTally()
      for (place, loss) in zip(windows, losses) where place.corpus === part.corpus {
        own.add(loss)
      }
      all.add(own)
      scores.append(own.score(name: part.name))
    }
    return all.result(
      context: context, corpora: scores.count > 1 ? scores : nil, hashing: hashing)
  }

  /// One window, and its number among those of its corpus: a corpus has the same score alone as in
  /// a mix.
  private struct Place {
    let corpus: ByteCorpus
    let index: Int
    let window: EvaluationWindow

    /// The bytes that it needs: its own and `carried` before them, as far as the stretch reaches.
    func seen(carried: Int) -> Range<Int> {
      max(window.reach, window.bytes.lowerBound - carried)..<window.bytes.upperBound
    }

    /// Whether it begins where the one before it has ended.
    func follows(_ other: Place) -> Bool {
      corpus === other.corpus && window.bytes.lowerBound + 1 == other.window.bytes.upperBound
    }

    var description: String {
      if let pairs = corpus.pairs { return pairs.description(at: window.bytes.lowerBound) }
      return
        "bytes \(window.bytes.lowerBound + 1) to \(window.bytes.upperBound - 1) of \(corpus.path)"
    }
  }

  /// Loss of the window's targets, given its bytes and `carried` bytes before them, as far as the stretch reaches.
  private func loss(
    of place: Place, isContinued: Bool, hashSeed: Int, carried: Int, parameters: View<Float>,
    memory: StreamMemory?, hashTally: HashTally
  ) throws -> WindowLoss {
    if let pair = try place.corpus.pair(at: place.window.bytes.lowerBound) {
      return try loss(
        of: pair, index: place.index, hashSeed: hashSeed, parameters: parameters,
        hashTally: hashTally)
    }
    let seen = place.seen(carried: carried)
    let unscored = place.window.bytes.lowerBound - seen.lowerBound
    let bytes = try place.corpus.bytes(in: seen)
    let isScored = { $0 > unscored && place.corpus.isScored(seen.lowerBound + $0) }
    let losses = Buffer<Float>(seen.count - 1)
    let likeliest = place.corpus.sequences == nil ? nil : Buffer<Int32>(seen.count - 1)
    let nats = try model.loss(
      parameters: parameters,
      window: Window(
        bytes: bytes, byteOffset: model.config.byteOffset, isContinued: isContinued,
        isScored: isScored),
      address: .unseen(config, window: place.index, hashSeed: hashSeed),
      memory: memory, losses: losses.view, likeliest: likeliest?.view, hashTally: hashTally,
      observer: StopWatch(stop: stop))
    let hits = likeliest.map { tokens in
      bytes.indices.dropFirst().count {
        isScored($0) && Int(tokens.view[$0 - 1]) == Int(bytes[$0]) + model.config.byteOffset
      }
    }
    return WindowLoss(
      nats: nats, losses: losses.view.array, bytes: bytes, hits: hits, isScored: isScored)
  }

  /// Loss of a pair's target, whose end counts as the end of its line.
  private func loss(
    of pair: LinePair, index: Int, hashSeed: Int, parameters: View<Float>, hashTally: HashTally
  ) throws -> WindowLoss {
    let offset = model.config.byteOffset
    let losses = Buffer<Float>(pair.target.count + 1)
    let likeliest = Buffer<Int32>(pair.target.count + 1)
    let nats = try model.loss(
      parameters: parameters,
      window: Window(source: pair.source, target: pair.target, byteOffset: offset),
      address: .unseen(config, window: index, hashSeed: hashSeed), losses: losses.view,
      likeliest: likeliest.view, hashTally: hashTally, observer: StopWatch(stop: stop))
    let tokens = pair.target.map { Int32($0) + Int32(offset) } + [Int32(offset - 1)]
    let end = [UInt8(ascii: "\n")]
    return WindowLoss(
      nats: nats, losses: losses.view.array, bytes: end + pair.target + end,
      hits: zip(tokens, likeliest.view.array).count { $0 == $1 }, isScored: { _ in true })
  }
}

extension RandomAddress {
  /// Of window `window` of text that was not trained on; with each `hashSeed`, from 0, its hash rotations are others.
  ///
  /// Steps counted from the last number back separate them from those of training.
  static func unseen(_ config: RunConfig, window: Int, hashSeed: Int = 0) -> RandomAddress {
    RandomAddress(
      seed: UInt64(config.run.seed), step: UInt64.max - UInt64(hashSeed), sample: UInt64(window))
  }
}

/// Gives a pass up as soon as the run is asked to stop.
private struct StopWatch: PassObserver {
  let stop: StopRequest
  var shouldStop: Bool { stop.isMade }
}
