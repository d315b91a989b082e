// The promise in whole runs of the program: the same parameters, bit for bit, however a run is cut over ranks,
// threads and interruptions.
import Foundation
import TestSupport
import Testing

@Suite("Same bits", .serialized, .needs(.mpirun))
struct SameBitsTests {
  let tiny: TinyRun
  let expected: [String]

  init() throws {
    tiny = try TinyRun()
    let run = try tiny.train("alone")
    try #require(run.status == 0, "\(run.output)")
    expected = try tiny.digest("alone")
    try #require(expected.contains("\"step\" : 20,") && expected.count == 2, "\(expected)")
  }

  @Test("rank counts and threads do not change the parameters")
  func ranksAndThreads() throws {
    for ranks in [1, 2, 4] {
      let run = try tiny.train("ranks\(ranks)", ranks: ranks)
      #expect(run.status == 0, "\(run.output)")
      #expect(try tiny.digest("ranks\(ranks)") == expected, "\(ranks) ranks")
    }
    for threads in [2, 3] {
      let run = try tiny.train("threads\(threads)", ["--set", "run.threads=\(threads)"])
      #expect(run.status == 0, "\(run.output)")
      #expect(try tiny.digest("threads\(threads)") == expected, "\(threads) threads")
    }
  }

  @Test("products by OpenBLAS give parameters of their own, the same at any rank count")
  func openBLAS() throws {
    let openBLAS = ["--set", "run.matrix_products=openblas"]
    #expect(try tiny.train("openblas", openBLAS).status == 0)
    let run = try tiny.train("openblas2", ranks: 2, openBLAS + ["--set", "run.threads=2"])
    #expect(run.status == 0, "\(run.output)")
    #expect(try tiny.digest("openblas2") == tiny.digest("openblas"))
    #expect(run.output.contains("OpenBLAS"), "\(run.output)")
    #expect(try tiny.digest("openblas") != expected)
  }

  @Test(
    "a run that diverges ends on all ranks, naming step and remedy, with its checkpoints intact")
  func divergence() throws {
    let run = try tiny.train(
      "diverging", ranks: 2,
      [
        "--set", "optimizer.learning_rate=1e9", "--set", "optimizer.clip=0", "--set",
        "run.checkpoint_every=1", "--set", "optimizer.warmup_steps=0",
      ])
    #expect(run.status == 1, "\(run.output)")
    let line = run.output.split(separator: "\n").first { $0.hasPrefix("error: step ") }
    #expect(line?.contains("optimizer.learning_rate") == true, "\(run.output)")
    #expect(line?.contains("6 steps in a row were skipped") == true, "\(run.output)")
    #expect(run.output.matches(of: #/step \d+ skipped: /#).count == 5, "\(run.output)")
    #expect(try tiny.digest("diverging").count == 2)
  }

  @Test("stored activations give the same parameters as recomputed ones")
  func keptActivations() throws {
    let run = try tiny.train("kept", ["--set", "run.keep_activations=true"])
    #expect(run.status == 0, "\(run.output)")
    #expect(try tiny.digest("kept") == expected)
  }

  @Test("strict LSH layers give the same parameters at any rank and thread count, kept or not")
  func strict() throws {
    let sight = [
      "--set", "model.layers=[\"lsh\", \"local\", \"lsh\"]", "--set",
      "attention.lsh.sight=bucket", "--set", "attention.lsh.window=5",
    ]
    #expect(try tiny.train("strict", sight).status == 0)
    let alone = try tiny.digest("strict")
    #expect(alone.count == 2 && alone != expected)
    for (name, ranks, more) in [
      ("strict2", 2, []), ("strict4", 4, ["--set", "run.threads=2"]),
      ("strictKept", 1, ["--set", "run.keep_activations=true", "--set", "run.threads=3"]),
    ] {
      let run = try tiny.train(name, ranks: ranks, sight + more)
      #expect(run.status == 0, "\(run.output)")
      #expect(try tiny.digest(name) == alone, "\(name)")
    }
    // What Hugging Face would load from it computes something else.
    let config = try String(
      contentsOfFile: tiny.output("strict") + "/step-00000020/config.json", encoding: .utf8)
    #expect(config.contains("\"model_type\" : \"reformer-train\""))
  }

  @Test(
    "bf16 products give the same parameters at any rank and thread count, kept, resumed, and with no instruction for them",
    arguments: [("tiles", "no instruction for bf16"), ("amx", "no AMX tiles")])
  func bf16(route: String, notice: String) throws {
    let bf16 = ["--set", "model.precision=bf16", "--set", "run.matrix_products=\(route)"]
    #expect(try tiny.train("bf16", bf16).status == 0)
    let alone = try tiny.digest("bf16")
    #expect(alone.count == 2 && alone != expected)
    for (name, ranks, more) in [
      ("bf16Ranks", 2, ["--set", "run.threads=2"]), ("bf16More", 4, []),
      ("bf16Kept", 1, ["--set", "run.keep_activations=true", "--set", "run.threads=3"]),
    ] {
      let run = try tiny.train(name, ranks: ranks, bf16 + more)
      #expect(run.status == 0, "\(run.output)")
      #expect(try tiny.digest(name) == alone, "\(name)")
    }
    #expect(try tiny.train("bf16Half", ranks: 2, bf16 + ["--steps", "9"]).status == 0)
    let tiles = ["--set", "run.matrix_products=tiles"]
    let other = try tiny.train("bf16Half", tiles + ["--resume", "auto"])
    #expect(other.status == 2 && other.output.contains("model.precision"), "\(other.output)")
    let rest = try ProgramRun(
      "reformer-train",
      arguments: ["train", "--config", tiny.config, "--output", tiny.output("bf16Half")]
        + ["--resume", "auto"] + bf16, environment: ["REFORMER_INSTRUCTIONS": "portable"])
    #expect(rest.status == 0, "\(rest.output)")
    #expect(rest.output.contains(notice), "\(rest.output)")
    #expect(try tiny.digest("bf16Half") == alone)
  }

  @Test("a run stopped and resumed with other ranks ends with the same parameters")
  func resume() throws {
    let first = try tiny.train("resumed", ranks: 2, ["--steps", "7"])
    #expect(first.status == 0, "\(first.output)")
    #expect(try tiny.digest("resumed").contains("\"step\" : 7,"))
    let second = try tiny.train("resumed", ranks: 4, ["--resume", "auto", "--steps", "13"])
    #expect(second.status == 0, "\(second.output)")
    let third = try tiny.train("resumed", ["--resume", "auto"])
    #expect(third.status == 0, "\(third.output)")
    #expect(try tiny.digest("resumed") == expected)
    // Every step once, in order, though the run was cut twice.
    let metrics = try String(
      contentsOfFile: tiny.output("resumed") + "/metrics.jsonl", encoding: .utf8)
    let steps = metrics.split(separator: "\n").filter { $0.contains("loss_nats") }
      .compactMap { $0.firstMatch(of: /"step":(\d+)/).flatMap { Int($0.1) } }
    #expect(steps == Array(1...20))
  }

  @Test("a signal stops the run after a step, with exit code 0 and nothing lost")
  func signal() throws {
    // Long enough to be still running when the signal comes.
    let long = ["--set", "run.steps=5000", "--set", "run.checkpoint_every=0"]
    let run = try ProgramRun(
      "reformer-train",
      arguments: ["train", "--config", tiny.config, "--output", tiny.output("signal")] + long,
      when: "step 3/"
    ) { $0.terminate() }
    #expect(run.status == 0, "\(run.output.suffix(300))")
    let stopped = try #require(
      run.output.firstMatch(of: /stopped by a signal after step (\d+)/)?.1)
    let last = try #require(Int(stopped)) + 5
    let rest = try tiny.train(
      "signal", ranks: 2, long + ["--resume", "auto", "--steps", "\(last)"])
    #expect(rest.status == 0, "\(rest.output.suffix(300))")
    let undisturbed = try tiny.train("undisturbed", long + ["--steps", "\(last)"])
    #expect(undisturbed.status == 0, "\(undisturbed.output.suffix(300))")
    #expect(try tiny.digest("signal") == tiny.digest("undisturbed"))
  }
}
