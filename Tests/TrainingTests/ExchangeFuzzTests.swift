import Checkpointing
import Compute
import Foundation
import TestSupport
import Testing
import Training

@Suite("Damaged models of others never crash the reader")
struct ExchangeFuzzTests {
  /// A model with both kinds of layers, so narrow that names and sizes are a good part of its file.
  private func narrowModel(in folder: TemporaryFolder) throws -> String {
    let path = folder.path("foreign-model")
    var model = try ModelFolder("\(ConformanceTests.fixtures)/mixed")
    model.tensors = [:]
    for (key, value) in [
      ("hidden_size", 4), ("attention_head_size", 2), ("feed_forward_size", 2),
    ] {
      model.config[key] = value
    }
    model.config["axial_pos_embds_dim"] = [2, 2]
    try model.write(to: path)
    let layout = try HuggingFaceConfig(path: path + "/config.json").reformerConfig(length: 64)
      .parameterLayout
    let parameters = Buffer<Float>(layout.parameterBufferCount)
    layout.initialise(parameters.view, seed: 1)
    _ = try ModelFile.write(layout: layout, parameters: parameters.view, to: path)
    return path
  }

  @Test("configs and tensor files", .timeLimit(.minutes(60)))
  func folders() throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let path = try narrowModel(in: folder)
    for name in ["config.json", "model.safetensors"] {
      let url = URL(fileURLWithPath: path + "/" + name)
      let whole = try Data(contentsOf: url)
      let problem = try Fuzzing(inputs: 2_000).problem(
        path, samples: [[UInt8](whole)],
        words: [
          "\"hidden_size\": -8,", "\"num_buckets\": [-4, 3],", "\"axial_pos_shape\": [],",
          "\"byte_offset\": 9223372036854775807,", "\"F16\"", "\"attn_layers\":[\"lsh\"],",
        ]
      ) { input in
        try Data(input).write(to: url)
        do {
          _ = try ImportedModel(folder: path) { _ in }
        } catch let error as UserError where error.description.hasPrefix("config.json: ") {
          throw UserError(path + "/" + error.description)
        }
      }
      #expect(problem == nil, "\(name)")
      try whole.write(to: url)
    }
  }
}
