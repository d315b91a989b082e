import Foundation
import Reformer
import TestSupport
import Testing
import Training

@Suite("Damaged configs and states never crash a reader")
struct ConfigFuzzTests {
  @Test("configs", .timeLimit(.minutes(60)))
  func config() throws {
    let required = """
      [run]
      name = "test"
      steps = 10
      [data]
      corpus = "books.txt"
      length = 4096
      [model]
      width = 64
      layers = ["local", "lsh"]
      heads = 4
      head_width = 16
      feed_forward_width = 128
      axial_shape = [64, 64]
      axial_widths = [16, 48]
      """
    let all = try RunConfig(toml: required, file: "config.toml").toml
    let mix =
      required.replacing("corpus = \"books.txt\"\n", with: "") + """

        [[data.mix]]
        name = "books"
        path = ["a", "corpus:b"]
        weight = 1.5
        [[data.mix]]
        name = "code"
        path = "c"
        weight = 2
        """
    let problem = try Fuzzing(inputs: 6_000).problem(
      "config.toml", samples: [required, all, mix].map { Array($0.utf8) },
      words: [
        "[attention.lsh]", "buckets = [2, 4]", "length = 134217728", "chunk = 1048576", "\"auto\"",
        "axial_shape = [1048576, 1048576, 1048576, 1048576]", "hashes = 1024", "[[run]]",
        "run.a = ",
        "[[data.mix]]", "[data.mix]", "corpus = []", "weight = 0",
        "heads_per_group = 3", "{ a = 1 }", "2024-02-30",
      ]
    ) { input in
      // As the file reader: only text without zeros comes this far.
      guard !input.contains(0), let text = String(validating: input, as: UTF8.self) else {
        throw Refused()
      }
      let config = try RunConfig(toml: text, file: "config.toml")
      // What is accepted can be written and read again.
      #expect(try RunConfig(toml: config.toml, file: "config.toml") == config)
    }
    #expect(problem == nil)
  }

  private struct Refused: Error, CustomStringConvertible {
    var description = "config.toml: is not UTF-8 text"
  }

  @Test("states", .timeLimit(.minutes(60)))
  func state() throws {
    let samples = [
      #"{"step":1200,"corpus":{"bytes":1000,"xxh64":12345678901234567890},"trained_bytes":90000,"#
        + #""validation_bits_per_byte":1.25,"validation_step":1200,"best_step":1200,"#
        + #""best_bits_per_byte":1.25,"skipped_steps":3,"skipped_in_a_row":0,"spikes":{"#
        + #""loss":{"count":100,"mean":1.5,"variance":0.25},"#
        + #""logNorm":{"count":100,"mean":-0.5,"variance":1e-3}}}"#,
      #"{ "step" : 0, "corpus" : {"bytes" : 0, "xxh64" : 0}, "trained_bytes" : 0 }"#,
    ].map { Array($0.utf8) }
    let problem = try Fuzzing(inputs: 15_000).problem(
      "state.json", samples: samples, words: ["\"step\":-3", "\"spikes\":{}", "\"corpus\":7"]
    ) { input in
      let state = try TrainingState(bytes: input, path: "state.json")
      #expect(state.step >= 0 && state.trainedBytes >= 0)
    }
    #expect(problem == nil)
  }

  @Test("Hugging Face configs", .timeLimit(.minutes(60)))
  func huggingFace() throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    let samples = try ["local", "lsh", "mixed"].map {
      [UInt8](try Data(contentsOf: fixtures.appendingPathComponent("Fixtures/\($0)/config.json")))
    }
    let path = folder.path("config.json")
    let problem = try Fuzzing(inputs: 6_000).problem(
      "config.json", samples: samples,
      words: [
        "\"hidden_size\": -8,", "\"num_attention_heads\": 9223372036854775807,",
        "\"lsh_attn_chunk_length\": 0,", "\"axial_pos_shape\": [],", "\"num_buckets\": [-4, 3],",
      ]
    ) { input in
      try Data(input).write(to: URL(fileURLWithPath: path))
      do {
        let config = try HuggingFaceConfig(path: path).reformerConfig(length: 64)
        #expect(config.parameterLayout.count > 0)
      } catch let error as UserError {
        throw Refused(description: error.description.replacing(folder.path + "/", with: ""))
      }
    }
    #expect(problem == nil)
  }
}
