// Mistakes of a user, as whole runs: one line that names the key, the value and what is legal, exit code 2, nothing
// written.
import Foundation
import TestSupport
import Testing

@Suite("Wrong input", .serialized)
struct WrongInputTests {
  let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private func expectRefused(
    _ arguments: [String], ranks: Int? = nil, naming parts: [String], output: String = "refused"
  ) throws {
    let run = try tiny.train(output, ranks: ranks, arguments)
    #expect(run.status == 2, "\(arguments): \(run.output)")
    let lines = run.output.split(separator: "\n").filter { $0.hasPrefix("error: ") }
    #expect(lines.count == 1, "\(arguments): \(run.output)")
    for part in parts {
      #expect(lines.first?.contains(part) == true, "\(arguments): \(part) not in \(run.output)")
    }
    #expect(!FileManager.default.fileExists(atPath: tiny.output(output)), "\(arguments)")
  }

  @Test(
    "each names its key and value",
    arguments: [
      (["--set", "model.layrs=3"], ["model.layrs", "model.layers"]),
      (["--set", "model.width=wide"], ["model.width", "wide"]),
      (["--set", "model.axial_shape=[4, 8]"], ["model.axial_shape", "[4, 8]", "90"]),
      (["--set", "model.axial_widths=[8, 16]"], ["model.axial_widths", "[8, 16]", "32"]),
      (["--set", "attention.lsh.buckets=7"], ["attention.lsh.buckets", "7", "even"]),
      (["--set", "data.corpus=nowhere"], ["nowhere", "launch/corpus.sh"]),
      (["--set", "data.length=12000", "--set", "model.axial_shape=[120, 100]"], ["12001"]),
      (["--set", "run.memory_budget_gb=0.01"], ["run.memory_budget_gb", "0.01"]),
      (["--set", "run.wait_limit_seconds=-1.0"], ["run.wait_limit_seconds", "-1"]),
      (["--set", "run.replica_check_every=-1"], ["run.replica_check_every", "-1"]),
      (["--steps", "0"], ["--steps 0"]),
      (["--stepz", "5"], ["--stepz", "--help"]),
      (["--resume", "nowhere"], ["nowhere", "no such checkpoint"]),
    ])
  func named(arguments: [String], parts: [String]) throws {
    try expectRefused(arguments, naming: parts)
  }

  @Test(
    "ranks refuse together and say it once",
    .needs(.mpirun))
  func ranks() throws {
    try expectRefused(
      [], ranks: 3, naming: ["run.global_batch", "4", "multiple of the number of ranks, 3"])
    try expectRefused(["--set", "data.corpus=nowhere"], ranks: 2, naming: ["nowhere"])
  }

  @Test("a run folder that cannot be written is named")
  func unwritable() throws {
    let file = try tiny.folder.write("file", text: "no folder")
    let run = try tiny.train("file/run")
    #expect(run.status == 2, "\(run.output)")
    #expect(run.output.contains("error: run folder \(file)/run"))
  }

  @Test("a run folder in use is not overwritten, and other models do not resume from it")
  func runFolder() throws {
    let first = try tiny.train("run", ["--steps", "2"])
    #expect(first.status == 0, "\(first.output)")
    let before = try tiny.digest("run")
    let again = try tiny.train("run")
    #expect(again.status == 2 && again.output.contains("--resume auto"), "\(again.output)")
    let other = try tiny.train(
      "run", ["--resume", "auto", "--set", "model.feed_forward_width=64"])
    #expect(other.status == 2, "\(other.output)")
    #expect(other.output.contains("model.feed_forward_width: 48 in the checkpoint, 64 now"))
    #expect(try tiny.digest("run") == before)
  }

  @Test("a damaged checkpoint is named and the one before it is used")
  func damaged() throws {
    let first = try tiny.train("run", ["--steps", "10"])
    #expect(first.status == 0, "\(first.output)")
    let model = tiny.output("run") + "/step-00000010/model.safetensors"
    var bytes = try Data(contentsOf: URL(fileURLWithPath: model))
    bytes[bytes.count / 2] ^= 1
    try bytes.write(to: URL(fileURLWithPath: model))
    let resumed = try tiny.train("run", ["--resume", "auto", "--steps", "11"])
    #expect(resumed.status == 0, "\(resumed.output)")
    #expect(resumed.output.contains("step-00000010/model.safetensors"))
    #expect(resumed.output.contains("resuming") && resumed.output.contains("step-00000005"))
  }

  @Test("--resume alone goes on with the run folder, whatever follows it")
  func resumeAlone() throws {
    #expect(try tiny.train("run", ["--steps", "2"]).status == 0)
    for (step, options) in [(3, ["--resume", "--steps", "3"]), (4, ["--steps", "4", "--resume"])] {
      let run = try tiny.train("run", options)
      #expect(run.status == 0 && run.output.contains("resuming"), "\(run.output)")
      #expect(try tiny.digest("run").contains("\"step\" : \(step),"))
    }
  }

  @Test("help shows what a first run needs, and completion knows legal values")
  func help() throws {
    func output(_ arguments: String...) throws -> String {
      try ProgramRun("reformer-train", arguments: arguments).output
    }
    let top = try output("--help")
    for part in ["plan --config", "mpirun -np 2", "evaluate checkpoints", "help config", "0 done"] {
      #expect(top.contains(part), "\(top)")
    }
    let train = try output("train", "--help")
    for part in ["metrics.jsonl", "--resume [<auto|folder>]", "--config FILE", "help config"] {
      #expect(train.contains(part), "\(train)")
    }
    let completion = try output("--generate-completion-script", "bash")
    for word in ["run.global_batch=", "validation", "toml"] {
      #expect(completion.contains(word), "\(word)")
    }
    let run = try ProgramRun("reformer-train", arguments: ["evaluate", "x", "--split", "tset"])
    #expect(run.status == 2 && run.output.contains("'train', 'validation' or 'test'"))
    #expect(run.output.split(separator: "\n").count == 1, "\(run.output)")
  }

  @Test(
    "a reference case that no model can have is refused, not trapped on",
    arguments: [
      (#""hidden_size": 64"#, #""hidden_size": -8"#, "hidden_size: width -8; legal"),
      (#""num_hashes": 2"#, #""num_hashes": 4"#, "rotations.0 has 512 entries, the config asks"),
      (#""lsh_attn_chunk_length": 16"#, #""lsh_attn_chunk_length": 0"#, "chunk_length = 0"),
      (#""vocab_size": 256"#, #""vocab_size": 0"#, "vocab_size = 0"),
      (
        #""num_attention_heads": 2"#, #""num_attention_heads": 0"#,
        "num_attention_heads: heads 0; legal"
      ),
    ])
  func conformance(old: String, new: String, expected: String) throws {
    let folder = try TemporaryFolder()
    let fixture = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Fixtures/lsh").path
    for file in ["model.safetensors", "reference.safetensors"] {
      try FileManager.default.copyItem(atPath: "\(fixture)/\(file)", toPath: folder.path(file))
    }
    let config = try String(contentsOfFile: fixture + "/config.json", encoding: .utf8)
    #expect(config.contains(old))
    try folder.write("config.json", text: config.replacing(old, with: new))
    let run = try ProgramRun("reformer-train", arguments: ["conformance", folder.path])
    #expect(run.status == 2, "\(run.output)")
    #expect(run.output.hasPrefix("error: ") && run.output.contains(expected), "\(run.output)")
    #expect(run.output.split(separator: "\n").count == 1, "\(run.output)")
  }
}
