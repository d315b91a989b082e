// The model against what others compute: Hugging Face's Reformer, or kinds of attention that it has not; same weights, same
// inputs, same hash rotations (fixtures README). Used by the command and by the tests.
import Attention
import Checkpointing
import Compute
import Foundation
import Reformer

/// Differences between this implementation and a reference dump.
public struct ConformanceReport: Codable, Sendable {
  /// Largest |difference| of a logit.
  public let maxAbsLogitDifference: Double
  /// |difference| of the mean loss in nats.
  public let lossDifference: Double
  /// Largest over parameters of |difference| / |reference| of the gradient, Euclidean norms.
  public let maxRelativeGradientDifference: Double
  /// The same per parameter.
  public let relativeGradientDifferences: [String: Double]

  /// Whether all limits of the project hold: logits 1e-3, loss 1e-4, gradients 2e-3.
  public var passes: Bool {
    maxAbsLogitDifference <= 1e-3 && lossDifference <= 1e-4
      && maxRelativeGradientDifference <= 2e-3
  }
}

/// Runs the case in `folder` (`config.json`, `model.safetensors`, `reference.safetensors`).
///
/// A run's `config.toml` in place of `config.json` may have what Hugging Face cannot express.
public func runConformance(folder: String, threads: Int) throws -> ConformanceReport {
  let reference = try SafetensorsReader(folder + "/reference.safetensors")
  guard let idShape = reference.tensor("input_ids")?.shape, idShape.count == 2, idShape[1] >= 2
  else {
    throw UserError("\(reference.path): input_ids must be [batch, length] with length >= 2")
  }
  let (batch, length) = (idShape[0], idShape[1])
  let config = try caseConfig(folder, length: length)
  let model = try ReformerModel(config: config, engine: Engine(threads: threads))
  let layout = model.layout
  let parameters = Buffer<Float>(layout.parameterBufferCount)
  try ModelFile.read(folder + "/" + ModelFile.name, layout: layout, into: parameters.view)

  let rotations = try givenRotations(in: reference, config: config, passes: 1)
  let ids = try reference.integers("input_ids")
  let expectedLogits = try reference.floats("logits")
  guard ids.allSatisfy({ $0 >= 0 && $0 < config.vocabulary }),
    expectedLogits.count == batch * length * config.vocabulary
  else { throw UserError("\(reference.path): input_ids or logits do not fit the vocabulary") }

  let gradients = Buffer<Float>(layout.count)
  let gradient = Buffer<Float>(layout.count)
  let logits = Buffer<Float>(length * config.vocabulary)
  var loss = 0.0
  var logitDifference = 0.0
  for sample in 0..<batch {
    let tokens = ids[sample * length..<(sample + 1) * length].map { Int32($0) }
    let window = Window(inputs: tokens, targets: tokens.dropFirst() + [-1])
    let address = RandomAddress(seed: 0, step: 0, sample: UInt64(sample))
    _ = try model.loss(
      parameters: parameters.view, window: window, address: address, givenRotations: rotations,
      logits: Matrix(logits.view, rows: length, columns: config.vocabulary))
    for (index, value) in logits.view.array.enumerated() {
      let expected = expectedLogits[sample * length * config.vocabulary + index]
      // NaN must count as a difference, not vanish in a maximum.
      let difference = Double(abs(value - expected))
      logitDifference = difference.isNaN ? .infinity : max(logitDifference, difference)
    }
    loss += try model.lossAndGradients(
      parameters: parameters.view, gradients: gradient.view, window: window, address: address,
      givenRotations: rotations)
    Kernels.add(gradients.view, gradient.view)
  }
  Kernels.scale(gradients.view, by: 1 / Float(batch))
  let expectedLoss = Double(try reference.floats("loss").first ?? .nan)

  var differences: [String: Double] = [:]
  for slot in layout.slots {
    let expected = try reference.floats("grad." + slot.name)
    guard expected.count == slot.count else {
      throw UserError("\(reference.path): grad.\(slot.name) has \(expected.count) elements")
    }
    var squares = (difference: 0.0, reference: 0.0)
    for (index, value) in expected.enumerated() {
      let difference = Double(gradients.view[slot.offset + index]) - Double(value)
      squares.difference += difference * difference
      squares.reference += Double(value) * Double(value)
    }
    let relative = (squares.difference / max(squares.reference, 1e-30)).squareRoot()
    differences[slot.name] = relative.isNaN ? .infinity : relative
  }
  return ConformanceReport(
    maxAbsLogitDifference: logitDifference,
    lossDifference: abs(loss / Double(batch) - expectedLoss),
    maxRelativeGradientDifference: differences.values.max() ?? .infinity,
    relativeGradientDifferences: differences)
}

/// The model of a case with windows of `length`.
private func caseConfig(_ folder: String, length: Int) throws -> ReformerConfig {
  let stored = folder + "/" + Manifest.configName
  guard FileManager.default.fileExists(atPath: stored) else {
    return try HuggingFaceConfig(path: folder + "/config.json").reformerConfig(length: length)
  }
  let config = try RunConfig.load(stored: stored)
  try config.requireDecoder("compare with a reference")
  guard config.data.length == length else {
    throw UserError(
      "\(stored): data.length is \(config.data.length), input_ids have \(length) positions; give a window of that length"
    )
  }
  return config.reformer
}

/// `rotations.N` of a reference dump, by layer, where the layer hashes and the dump has them.
///
/// Each has the numbers of `passes` passes, one after the other: `[passes, H, K, R, sum(buckets) / 2]`.
func givenRotations(
  in reference: SafetensorsReader, config: ReformerConfig, passes: Int
) throws -> [Int: [Float]] {
  var rotations: [Int: [Float]] = [:]
  for (index, layer) in config.layers.enumerated() {
    guard let lsh = layer as? LSHAttention, reference.tensor("rotations.\(index)") != nil else {
      continue
    }
    let given = try reference.floats("rotations.\(index)")
    let needed = passes * config.heads * config.headWidth * lsh.hashes * lsh.rotationWidth
    guard given.count == needed else {
      throw UserError(
        "\(reference.path): rotations.\(index) has \(given.count) entries, the config asks for "
          + "\(needed)")
    }
    rotations[index] = given
  }
  return rotations
}
