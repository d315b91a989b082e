// Training steps of this program beside those of Hugging Face's Reformer: same first values, windows and hash
// rotations (fixtures README). A bucket that flips moves a loss at once and for good, so no fixed limit would do:
// the dump says how far transformers itself is moved by next to nothing.
import Checkpointing
import Communication
import Compute
import Foundation
import Reformer

/// Losses of a training here and of one by transformers.
public struct TrainingConformanceReport: Codable, Sendable {
  /// Loss of each step here, in nats per token.
  public let lossNats: [Double]
  /// That of transformers.
  public let expectedLossNats: [Double]
  /// How far first values that differ by 1e-6 have moved transformers' loss, at most, up to and with each step.
  public let floorNats: [Double]

  /// |difference| of each step's losses.
  public var differences: [Double] {
    zip(lossNats, expectedLossNats).map { abs($0 - $1) }
  }
  /// Largest difference as a multiple of the floor at its step.
  public var worstShareOfFloor: Double {
    // NaN must count as a difference, not vanish in a maximum.
    zip(differences, floorNats).map { $0 / $1 }.reduce(0) { $1.isNaN ? .infinity : max($0, $1) }
  }
  /// Whether the difference of every step is within twice the floor.
  public var passes: Bool { worstShareOfFloor <= 2 }
}

/// Takes the steps of the case in `folder` (`config.json`, `model.safetensors`, `training.safetensors`).
///
/// - Throws: `UserError` or `CheckpointError` naming what is wrong with the case.
public func runTrainingConformance(
  folder: String, threads: Int
) throws -> TrainingConformanceReport {
  let reference = try SafetensorsReader(folder + "/training.safetensors")
  var config = try HuggingFaceConfig(path: folder + "/config.json").runConfig()
  let length = config.data.length
  guard let shape = reference.tensor("input_ids")?.shape, shape.count == 2, shape[1] == length
  else {
    throw UserError("\(reference.path): input_ids must be [steps, \(length)], as config.json says")
  }
  let steps = shape[0]
  let ids = try reference.integers("input_ids")
  let expected = try reference.floats("losses").map(Double.init)
  let floor = try reference.floats("floor").map(Double.init)
  let rates = try reference.floats("learning_rate")
  guard ids.allSatisfy({ $0 >= 0 && $0 < config.model.vocabulary }), expected.count == steps,
    floor.count == steps, rates.count == 1
  else {
    throw UserError(
      "\(reference.path): input_ids do not fit the vocabulary, or losses, floor and learning_rate "
        + "are not of \(steps), \(steps) and 1 numbers")
  }
  // The rest of the optimizer is what a config says that does not name it.
  config.run.steps = max(steps, 1)
  config.optimizer.learningRate = Double(rates[0])
  config.optimizer.warmupSteps = 0
  do { try config.validate() } catch { throw UserError("\(reference.path): \(error)") }
  let rotations = try givenRotations(in: reference, config: config.reformer, passes: steps)

  let train = try TrainStep(
    config: config, communicator: SoloCommunicator(), engine: Engine(threads: threads))
  try ModelFile.read(
    folder + "/" + ModelFile.name, layout: train.model.layout, into: train.currentParameters())
  let losses = try (0..<steps).map { step in
    let tokens = ids[step * length..<(step + 1) * length].map { Int32($0) }
    let given = rotations.mapValues { all in
      Array(all[step * all.count / steps..<(step + 1) * all.count / steps])
    }
    return try train.run(step: step + 1, givenRotations: given) { _ in
      Window(inputs: tokens, targets: tokens.dropFirst() + [-1])
    }.lossNats
  }
  return TrainingConformanceReport(
    lossNats: losses, expectedLossNats: expected, floorNats: floor)
}
