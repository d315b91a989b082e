import Checkpointing
import Compute
import Foundation
import Reformer
import TestSupport
import Testing
import Training

// Three models that Hugging Face transformers 4.44.2 has computed; Fixtures/README.md says how.
@Suite("Conformance with Hugging Face")
struct ConformanceTests {
  static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Fixtures").path

  @Test(
    "logits, loss and every gradient are within the project's limits",
    arguments: ["local", "lsh", "mixed"], [1, 2])
  func reference(name: String, threads: Int) throws {
    let report = try runConformance(folder: "\(Self.fixtures)/\(name)", threads: threads)
    // The limits leave room for the streams' rounding (2^-18) and single precision on both sides.
    #expect(report.maxAbsLogitDifference <= 1e-3)
    #expect(report.lossDifference <= 1e-4)
    #expect(report.maxRelativeGradientDifference <= 2e-3)
    #expect(report.passes)
    let huggingFace = try HuggingFaceConfig(path: "\(Self.fixtures)/\(name)/config.json")
    let layout = try huggingFace.reformerConfig(length: 64).parameterLayout
    #expect(Set(report.relativeGradientDifferences.keys) == Set(layout.slots.map(\.name)))
  }

  /// A copy of a case with `change` made to the bytes of one tensor.
  private func copy(
    _ name: String, tensor: String, change: (inout Data, Range<Int>) -> Void
  ) throws -> TemporaryFolder {
    let folder = try TemporaryFolder()
    for file in ["config.json", "reference.safetensors"] {
      try FileManager.default.copyItem(
        atPath: "\(Self.fixtures)/\(name)/\(file)", toPath: folder.path(file))
    }
    var data = try Data(
      contentsOf: URL(fileURLWithPath: "\(Self.fixtures)/\(name)/model.safetensors"))
    let header = data.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
    let json = try JSONSerialization.jsonObject(with: data[8..<8 + header]) as? [String: Any]
    let entry = try #require(json?[tensor] as? [String: Any])
    let offsets = try #require(entry["data_offsets"] as? [Int])
    change(&data, 8 + header + offsets[0]..<8 + header + offsets[1])
    try folder.write("model.safetensors", data)
    return folder
  }

  @Test(
    "a model with one tensor negated does not conform",
    arguments: [
      ("local", "reformer.encoder.layers.1.attention.self_attention.key.weight"),
      ("lsh", "reformer.encoder.layers.0.attention.self_attention.value.weight"),
      ("mixed", "reformer.encoder.layers.3.feed_forward.dense.dense.weight"),
      ("mixed", "reformer.embeddings.position_embeddings.weights.1"),
    ])
  func perturbed(name: String, tensor: String) throws {
    let folder = try copy(name, tensor: tensor) { data, range in
      // The sign is the top bit of the last byte of each number.
      for place in stride(from: range.lowerBound + 3, to: range.upperBound, by: 4) {
        data[place] ^= 0x80
      }
    }
    let report = try runConformance(folder: folder.path, threads: 1)
    #expect(!report.passes)
    #expect(report.maxRelativeGradientDifference > 2e-3)
  }

  @Test("a weight that is not a number is no agreement")
  func notANumber() throws {
    let folder = try copy("local", tensor: "lm_head.bias") { data, range in
      data.replaceSubrange(range.lowerBound..<range.lowerBound + 4, with: [0, 0, 0xC0, 0x7F])
    }
    let report = try runConformance(folder: folder.path, threads: 1)
    #expect(!report.passes)
    #expect(report.maxAbsLogitDifference == .infinity)
  }

  @Test("a case may have a run's config, whose windows are as long as its own")
  func runConfig() throws {
    func report(length: Int) throws -> ConformanceReport {
      let folder = try TemporaryFolder()
      defer { withExtendedLifetime(folder) {} }
      for file in ["model.safetensors", "reference.safetensors"] {
        try FileManager.default.copyItem(
          atPath: "\(Self.fixtures)/local/\(file)", toPath: folder.path(file))
      }
      try folder.write(
        "config.toml",
        text: """
          [run]
          name = "case"
          steps = 1
          global_batch = 1
          [data]
          corpus = "nowhere"
          length = \(length)
          block = \(length)
          [model]
          width = 64
          layers = ["local", "local"]
          heads = 2
          head_width = 32
          feed_forward_width = 128
          axial_shape = [8, \(length / 8)]
          axial_widths = [16, 48]
          [attention.local]
          chunk = 16
          """)
      return try runConformance(folder: folder.path, threads: 1)
    }
    #expect(try report(length: 64).passes)
    #expect(throws: UserError.self) { try report(length: 128) }
  }

  /// The training case with a change to its model or to its dump.
  private func training(
    threads: Int = 1, _ change: (inout ModelFolder, String) throws -> Void = { _, _ in }
  ) throws -> TrainingConformanceReport {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let path = folder.path("training")
    try FileManager.default.copyItem(atPath: "\(Self.fixtures)/training", toPath: path)
    var model = try ModelFolder(path)
    try change(&model, path)
    try model.write(to: path)
    return try runTrainingConformance(folder: path, threads: threads)
  }

  @Test("steps of training lose what they lose with transformers", arguments: [1, 2])
  func steps(threads: Int) throws {
    let report = try training(threads: threads)
    #expect(report.passes && report.lossNats.count == 12)
    // The floor is rounding here: no bucket flips in so short a training.
    #expect(report.differences.allSatisfy { $0 < 1e-5 }, "\(report.differences)")
    // It does train, and every step's loss is another.
    #expect(report.lossNats[11] < report.lossNats[0] - 0.3)
  }

  @Test("a training from other first values does not conform, nor one without a number")
  func otherTraining() throws {
    let moved = try training { model, _ in
      // The lowest of the exponent's bits: numbers between halved and doubled.
      model.tensors["lm_head.decoder.weight"]?.data[2] ^= 0x80
    }
    #expect(!moved.passes)
    let lost = try training { model, _ in
      model.tensors["lm_head.bias"]?.data.replaceSubrange(0..<4, with: [0, 0, 0xC0, 0x7F])
    }
    #expect(!lost.passes && lost.worstShareOfFloor == .infinity)
  }

  @Test("a training whose parts do not fit is refused by name")
  func brokenTraining() {
    #expect(throws: UserError.self) {
      try training { model, _ in model.config["axial_pos_shape"] = [8, 16] }
    }
    #expect(throws: UserError.self) {
      try training { model, _ in model.config["num_hashes"] = 3 }
    }
    #expect(throws: CheckpointError.self) {
      try training { _, path in
        try FileManager.default.removeItem(atPath: path + "/training.safetensors")
      }
    }
  }
}
