// What a step's windows are, and what the model has to pay for bytes it has not seen.
import Communication
import Corpus
import Reformer

/// The windows a run trains on: each is a function of the config, the corpora, and its place in the run.
final class TrainingWindows {
  private let mix: CorpusMix
  private let config: RunConfig
  private let plan: StepPlan
  private var unreadable: CorpusError?

  init(_ mix: CorpusMix, config: RunConfig) {
    self.mix = mix
    self.config = config
    plan = config.stepPlan
  }

  /// The window of a sample.
  func window(_ sample: Sample) throws(CorpusError) -> Window {
    do {
      let (part, bytes, epoch) = mix.window(sample)
      let corpus = mix.parts[part].corpus
      if let pair = try corpus.pair(at: bytes.lowerBound) {
        return Window(
          source: pair.source, target: pair.target, byteOffset: config.model.byteOffset,
          isRepeated: epoch > 0)
      }
      return Window(
        bytes: try mix.bytes(sample), byteOffset: config.model.byteOffset,
        isRepeated: epoch > 0, isContinued: mix.isContinued(sample)
      ) { corpus.isScored(bytes.lowerBound + $0) }
    } catch {
      unreadable = error
      throw error
    }
  }

  /// Bytes that all ranks together train on in a step; of pairs, those of their targets.
  func byteCount(step: Int) -> Int {
    guard config.data.task == .pairs else { return plan.stage(ofStep: step).stepBytes }
    return plan.samples(step: step).reduce(0) { sum, sample in
      let (part, places, _) = mix.window(sample)
      return sum + mix.parts[part].corpus.scoredCount(in: places)
    }
  }

  /// Bytes that are trained on after a step, up to and with step `last`; of pairs, as many as those have in the mean.
  func byteCount(after step: Int, through last: Int) -> Double {
    let places = plan.bytes(steps: last) - plan.bytes(steps: step)
    guard config.data.task == .pairs else { return places }
    let total = mix.parts.reduce(0) { $0 + $1.weight }
    return mix.parts.reduce(0) { sum, part in
      sum + places / Double(config.data.length) * (part.corpus.pairs?.meanScored ?? 0) * part.weight
        / total
    }
  }

  /// Adds what the windows of step `step` lost to a score of bytes that were not seen before.
  ///
  /// Where one of them has no loss, none has: which others a rank still computed depends on the number of ranks.
  func score(_ result: StepResult, step: Int, into score: inout PrequentialScore) {
    for (sample, loss) in zip(plan.samples(step: step), result.windowLossNats) {
      let (part, bytes, epoch) = mix.window(sample)
      guard epoch == 0 else { continue }
      score.add(
        nats: result.lossNats.isFinite ? loss : .nan,
        bytes: mix.parts[part].corpus.scoredCount(in: bytes.dropFirst()),
        unscored: config.data.task == .pairs ? 0 : mix.plans[part].unscoredShare)
    }
  }

  /// Throws on all ranks where any of them could not read a window: that is no reason to train on fewer.
  func requireReadable(_ communicator: any Communicator) throws {
    try agree(communicator) { if let unreadable { throw unreadable } }
  }
}
