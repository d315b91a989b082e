// What a run must remember beside parameters and moments. Everything else is a function of seed and
// step.
import Checkpointing
import Corpus
import Foundation

/// `state.json` of a checkpoint.
package struct TrainingState: Codable, Equatable, Sendable {
  /// Optimizer steps done, skipped ones included.
  package var step: Int
  /// Corpus trained on.
  package var corpus: CorpusDigest
  /// Training bytes seen so far.
  package var trainedBytes = 0
  /// Last score on the validation split, if any, and the step it belongs to.
  package var validationBitsPerByte: Double?
  package var validationStep: Int?
  /// The best checkpoint so far by that score, if any has one.
  package var bestStep: Int?
  package var bestBitsPerByte: Double?
  /// Steps that were not applied, all and those just before the next.
  package var skippedSteps = 0
  package var skippedInARow = 0
  /// What bytes cost when they were new; nil in a run that an older program began.
  package var prequential: PrequentialScore?
  /// The number of steps, where `--minutes` fixed it.
  package var fixedSteps: Int?
  /// Memory of loss and gradient norm.
  package var spikes = SpikeDetector()
  /// What wrote it, and what that went on from; nil for programs that did not say.
  package var origin: Origin?

  private enum CodingKeys: String, CodingKey {
    case step, corpus, prequential, spikes, origin
    case trainedBytes = "trained_bytes"
    case validationBitsPerByte = "validation_bits_per_byte"
    case validationStep = "validation_step"
    case bestStep = "best_step"
    case bestBitsPerByte = "best_bits_per_byte"
    case skippedSteps = "skipped_steps"
    case skippedInARow = "skipped_in_a_row"
    case fixedSteps = "fixed_steps"
  }

  /// The state before the first step.
  init(corpus: CorpusDigest, origin: Origin) {
    step = 0
    self.corpus = corpus
    self.origin = origin
    prequential = PrequentialScore()
  }

  /// Reads a state; keys that older programs did not write have the values of a fresh run.
  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    step = try values.decode(Int.self, forKey: .step)
    corpus = try values.decode(CorpusDigest.self, forKey: .corpus)
    trainedBytes = try values.decode(Int.self, forKey: .trainedBytes)
    validationBitsPerByte = try values.decodeIfPresent(
      Double.self, forKey: .validationBitsPerByte)
    validationStep = try values.decodeIfPresent(Int.self, forKey: .validationStep)
    bestStep = try values.decodeIfPresent(Int.self, forKey: .bestStep)
    bestBitsPerByte = try values.decodeIfPresent(Double.self, forKey: .bestBitsPerByte)
    skippedSteps = try values.decodeIfPresent(Int.self, forKey: .skippedSteps) ?? 0
    skippedInARow = try values.decodeIfPresent(Int.self, forKey: .skippedInARow) ?? 0
    fixedSteps = try values.decodeIfPresent(Int.self, forKey: .fixedSteps)
    prequential = try values.decodeIfPresent(PrequentialScore.self, forKey: .prequential)
    spikes = try values.decodeIfPresent(SpikeDetector.self, forKey: .spikes) ?? SpikeDetector()
    origin = try values.decodeIfPresent(Origin.self, forKey: .origin)
  }

  /// Brings the state up to the step just taken, on all ranks alike.
  ///
  /// - Returns: why the step was skipped; nil when it was applied. - Throws: `RunFailure` when too many
  ///   in a row were.
  mutating func count(
    _ result: StepResult, _ windows: TrainingWindows, _ config: RunConfig
  ) throws(RunFailure) -> String? {
    step += 1
    if var score = prequential {
      windows.score(result, step: step, into: &score)
      prequential = score
    }
    guard case .skipped(let reason) = result.outcome else {
      skippedInARow = 0
      trainedBytes += windows.byteCount(step: step)
      spikes.add(loss: result.lossNats, norm: result.gradientNorm)
      return nil
    }
    skippedSteps += 1
    skippedInARow += 1
    guard skippedInARow <= config.run.skipLimit else {
      throw RunFailure(
        "step \(step): \(reason); \(skippedInARow) steps in a row were skipped, more than "
          + "run.skip_limit = \(config.run.skipLimit); earlier checkpoints are intact: go on with "
          + "--resume auto and a lower optimizer.learning_rate")
    }
    return reason
  }

  /// The state as the checkpoint of its step says it: the best one, if that is what it is.
  var asCheckpoint: TrainingState {
    guard validationStep == step, let bits = validationBitsPerByte,
      bits < bestBitsPerByte ?? .infinity
    else { return self }
    var state = self
    (state.bestStep, state.bestBitsPerByte) = (step, bits)
    return state
  }

  /// Reads `state.json` of a step folder.
  init(folder: String) throws {
    let path = folder + "/" + Manifest.stateName
    try self.init(bytes: SmallFile.read(path, limit: Self.byteLimit), path: path)
  }

  /// Reads the content of the state at `path`.
  package init(bytes: [UInt8], path: String) throws(UserError) {
    do { self = try JSONDecoder().decode(Self.self, from: Data(bytes)) } catch {
      throw UserError("\(path): not a training state (\(shortReason(error)))")
    }
    // The program counts on from these.
    let counts = [
      ("step", step), ("trained_bytes", trainedBytes), ("skipped_steps", skippedSteps),
      ("skipped_in_a_row", skippedInARow), ("fixed_steps", fixedSteps ?? 0),
    ]
    for (key, value) in counts where !(0...Self.largestCount).contains(value) {
      throw UserError("\(path): not a training state (\(key) is \(value))")
    }
    guard prequential?.isPossible != false else {
      throw UserError("\(path): not a training state (prequential is negative)")
    }
  }

  /// The file's content.
  func json() throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    return Array(try encoder.encode(self)) + [0x0A]
  }

  /// A state is about 1,500 bytes.
  private static let byteLimit = 1 << 20
  /// Leaves room to count on without overflow.
  private static let largestCount = 1 << 61
}
