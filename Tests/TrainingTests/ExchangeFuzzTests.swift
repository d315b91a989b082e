import Foundation
import TestSupport
import Testing
import Training

@Suite("Damaged models of others never crash the reader")
struct ExchangeFuzzTests {
  @Test("configs and tensor files", .timeLimit(.minutes(60)), arguments: ["local", "lsh", "mixed"])
  func folders(fixture: String) throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    try ModelFolder("\(ConformanceTests.fixtures)/\(fixture)").write(to: folder.path("model"))
    let path = folder.path("model")
    for name in ["config.json", "model.safetensors"] {
      let url = URL(fileURLWithPath: path + "/" + name)
      let whole = try Data(contentsOf: url)
      let problem = try Fuzzing(inputs: 600).problem(
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
