// A run small enough for tests: every part of a real one, in about a second.
import Foundation

/// A corpus and a config in a temporary folder.
public struct TinyRun: Sendable {
  /// Where everything is.
  public let folder: TemporaryFolder
  /// Path of the config file.
  public let config: String

  /// Writes both.
  public init() throws {
    folder = try TemporaryFolder()
    let corpus = try folder.write("corpus", text: Self.text())
    config = try folder.write(
      "tiny.toml",
      text: """
        [run]
        name = "tiny"
        steps = 20
        global_batch = 4
        threads = 1
        checkpoint_every = 5
        [data]
        corpus = "\(corpus)"
        length = 90
        [model]
        width = 32
        layers = ["local", "lsh", "full"]
        heads = 2
        head_width = 16
        heads_per_group = 1
        feed_forward_width = 48
        axial_shape = [8, 12]
        axial_widths = [8, 24]
        dropout = 0.1
        attention_dropout = 0.1
        [model.ngrams]
        orders = [1, 2, 4]
        rows = 300
        [attention.local]
        chunk = 16
        [attention.lsh]
        chunk = 16
        hashes = 2
        [optimizer]
        learning_rate = 0.003
        schedule = "cosine"
        warmup_steps = 3
        weight_decay = 0.01
        """)
  }

  /// Words in a fixed made-up order.
  public static func text(bytes: Int = 12_000) -> String {
    let words = [
      "chunk", "bucket", "round", "stream", "query", "value", "byte", "sort", "of", "the",
    ]
    var state: UInt32 = 7
    var text = ""
    while text.utf8.count < bytes {
      state = state &* 1_664_525 &+ 1_013_904_223
      text += words[Int(state >> 16) % words.count] + (state % 7 == 0 ? ".\n" : " ")
    }
    return text
  }

  /// Path of the run folder `name`.
  public func output(_ name: String) -> String { folder.path(name) }

  /// Trains into the run folder `name`.
  public func train(_ name: String, ranks: Int? = nil, _ more: [String] = []) throws -> ProgramRun {
    try ProgramRun(
      "reformer-train", ranks: ranks,
      arguments: ["train", "--config", config, "--output", output(name)] + more)
  }

  /// `parameters_sha256` of the newest checkpoint in the run folder `name`, with its step.
  public func digest(_ name: String) throws -> [String] {
    let run = try ProgramRun(
      "reformer-train", arguments: ["inspect", output(name), "--json"])
    let lines = run.output.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
    return lines.filter { $0.hasPrefix("\"step\"") || $0.hasPrefix("\"parameters_sha256\"") }
      .sorted()
  }
}
