// Time that is predicted, and time that is kept: `plan --window-seconds` and `train --minutes`.
import Foundation
import TestSupport
import Testing
import Training

@Suite("Time of a run", .serialized)
struct TimeTests {
  let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  // MARK: Prediction

  private static let configs = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../../configs").standardized.path

  private static func time(
    ranks: Int, perMachine: Int = 1, windows: Int = 1, window: Double = 0.93, gbps: Double? = 10,
    wire: String = "fp32"
  ) throws -> StepTime {
    let config = try RunConfig.load(
      file: configs + "/small.toml",
      overrides: ["run.global_batch=\(ranks * windows)", "run.wire=\(wire)"])
    return StepTime(
      config, ranks: ranks, ranksPerMachine: perMachine,
      speed: MachineSpeed(
        windowSeconds: window, copyBytesPerSecond: 11e9,
        linkBytesPerSecond: gbps.map { $0 * 1e9 / 8 },
        latencySeconds: 10e-6))
  }

  /// By hand: 4.55e6 parameters in 14 groups, all hidden but a forty-second part of each way; 1.65 ms to add
  /// up a rank's piece; 84 (N - 1) messages of 1.5 us; 40 us of latency; looks every 0.25 ms of the 15 or 29 ms on the
  /// wire, of 12 us on 2 ranks and 20 us on more.
  @Test(
    "the prediction is the sum of its parts",
    arguments: [(1, 0.93), (2, 0.9329), (16, 0.9364), (256, 0.9668), (4096, 1.4507)])
  func prediction(ranks: Int, expected: Double) throws {
    #expect(abs(try Self.time(ranks: ranks).seconds - expected) < 2e-4)
  }

  @Test("what the link cannot hide shows, and more windows a rank hide it")
  func exposed() throws {
    // 18.2 MB one way at 0.1 Gb/s: 0.728 s each for half of it; forward hides 0.205 s of that, backward 0.725 s. Looks
    // all the while that is computed: 12 us every 0.25 ms.
    let slow = try Self.time(ranks: 2, gbps: 0.1)
    #expect(abs(slow.exposedSeconds - (0.728 - 0.7254 + 0.728 - 0.2046 + 0.0446)) < 0.02)
    let more = try Self.time(ranks: 2, windows: 8, gbps: 0.1)
    #expect(more.computationSeconds == 8 * slow.computationSeconds)
    #expect(more.efficiency > slow.efficiency)
    // In bf16 gradients are half the bytes, which backward hides; looks go on while a window is computed, as before.
    let rounded = try Self.time(ranks: 2, gbps: 0.1, wire: "bf16")
    #expect(abs(rounded.exposedSeconds - (0.364 / 42 + 0.728 - 0.2046 + 0.0446)) < 0.02)
    // Ranks of one machine use no link; those of several share theirs.
    #expect(try Self.time(ranks: 2, perMachine: 2, gbps: 0.001).exposedSeconds < 0.01)
    let alone = try Self.time(ranks: 8, perMachine: 1, gbps: 0.1).exposedSeconds
    #expect(try Self.time(ranks: 8, perMachine: 4, gbps: 0.1).exposedSeconds > 1.5 * alone)
    #expect(try Self.time(ranks: 1).exposedSeconds == 0)
  }

  private func plan(_ arguments: [String]) throws -> ProgramRun {
    try ProgramRun("reformer-train", arguments: ["plan", "--config", tiny.config] + arguments)
  }

  @Test("plan predicts the time of a step and of the run, for each link")
  func plan() throws {
    let run = try plan([
      "--ranks", "4", "--window-seconds", "9", "--link-gbps", "10", "100", "--set",
      "run.steps=4000",
    ])
    #expect(run.status == 0)
    for link in ["10", "100"] {
      #expect(
        run.output.contains("s (\(link) Gb/s; 9.000 s a window, efficiency 1.00), "),
        "\(run.output)")
    }
    #expect(run.output.contains("10.0 hours for 4000 steps"), "\(run.output)")
    let none = try plan(["--ranks", "4"])
    #expect(!none.output.contains("time of a step"))
  }

  @Test("plan measures the window itself where it is not told")
  func measured() throws {
    let run = try plan(["--ranks", "2", "--window-seconds", "--json"])
    let start = try #require(run.output.firstIndex(of: "{"), "\(run.output)")
    struct Report: Decodable {
      struct Time: Decodable { let window_seconds, step_seconds, run_seconds: Double }
      let times: [Time]
    }
    let times = try JSONDecoder().decode(Report.self, from: Data(run.output[start...].utf8)).times
    let time = try #require(times.first)
    #expect(times.count == 1 && time.window_seconds > 1e-5 && time.window_seconds < 10)
    #expect(time.step_seconds > 2 * time.window_seconds)
    #expect(abs(time.run_seconds - 20 * time.step_seconds) < 1e-6)
  }

  @Test(
    "wrong speeds are refused in a line",
    arguments: [
      ["--window-seconds", "0"], ["--window-seconds", "fast"],
      ["--window-seconds", "1", "--link-gbps", "0"], ["--link-gbps", "10"],
      ["--window-seconds", "1", "--latency-us", "-1"],
      ["--window-seconds", "1", "--copy-gbs", "nan"],
    ])
  func refused(arguments: [String]) throws {
    let run = try plan(arguments)
    #expect(run.status == 2 && run.output.hasPrefix("error: "), "\(run.output)")
    #expect(run.output.split(separator: "\n").count == 1, "\(run.output)")
  }

  // MARK: Budget

  @Test("a budget is filled and kept: steps, evaluations and checkpoints end within it")
  func budget() throws {
    let config = try RunConfig.load(
      file: tiny.config, overrides: ["run.evaluate_every=10", "run.checkpoint_every=100"])
    let budget = StepBudget(step: [1], evaluation: 2, checkpoint: 3)
    // An evaluation every ten steps and after the last one; one checkpoint.
    #expect(budget.time(of: 75, config) == 75 + 16 + 3)
    for seconds in [10.0, 100, 1_000, 12_345] {
      let steps = budget.steps(config, within: seconds)
      #expect(budget.time(of: steps, config) <= 0.97 * seconds)
      #expect(budget.time(of: steps + 1, config) > 0.97 * seconds)
    }
    #expect(budget.steps(config, within: 6) == 0)
    let atEnd = try RunConfig.load(file: tiny.config, overrides: ["run.checkpoint_every=0"])
    #expect(budget.time(of: 50, atEnd) == 55)
  }

  @Test(
    "a run of --minutes, killed and resumed on other ranks, is the run of so many steps",
    .needs(.mpirun))
  func minutes() throws {
    let rare = ["--set", "run.checkpoint_every=10"]
    let killed = try ProgramRun(
      "reformer-train",
      arguments: [
        "train", "--config", tiny.config, "--output", tiny.output("run"), "--minutes", "0.2",
      ] + rare, when: "step 12/"
    ) { kill($0.processIdentifier, SIGKILL) }
    #expect(killed.status == 128 + SIGKILL, "\(killed.output.suffix(300))")
    let told = try #require(
      killed.output.firstMatch(of: /a step takes [\d.e-]+ s, so run.steps = (\d+)/)?.1)
    let steps = try #require(Int(told))
    try #require(steps > 16, "a machine too slow for this test: \(steps) steps in 12 s")
    let stored = try String(contentsOfFile: tiny.output("run") + "/config.toml", encoding: .utf8)
    #expect(stored.contains("\nsteps = \(steps)\n"))
    // Once with the same command, once as somebody would who has forgotten the budget.
    let again = try tiny.train(
      "run", ranks: 2, ["--resume", "--minutes", "7", "--steps", "14"] + rare)
    #expect(again.status == 0 && !again.output.contains("a step takes"), "\(again.output)")
    #expect(again.output.contains("14/14"))
    let rest = try tiny.train("run", ["--resume"] + rare)
    #expect(rest.status == 0 && rest.output.contains("as --minutes fixed it"), "\(rest.output)")
    let plain = try tiny.train("plain", ["--set", "run.steps=\(steps)"] + rare)
    #expect(plain.status == 0, "\(plain.output)")
    let digest = try tiny.digest("plain")
    #expect(digest.contains("\"step\" : \(steps),"), "\(digest)")
    #expect(try tiny.digest("run") == digest)
    // Whoever asks for another number gets it.
    let more = try tiny.train("run", ["--resume", "--set", "run.steps=\(steps + 1)"] + rare)
    #expect(more.status == 0 && more.output.contains("\(steps + 1)/\(steps + 1)"))
  }

  @Test("ended before its first checkpoint, a run of --minutes keeps its number of steps")
  func earlyEnd() throws {
    let folder = tiny.output("early")
    let killed = try ProgramRun(
      "reformer-train",
      arguments: [
        "train", "--config", tiny.config, "--output", folder, "--minutes", "0.2", "--set",
        "run.checkpoint_every=0",
      ], when: "step 1/"
    ) { kill($0.processIdentifier, SIGKILL) }
    let steps = try #require(killed.output.firstMatch(of: /so run.steps = (\d+)/)?.1)
    let again = try tiny.train("early", ["--resume", "--minutes", "0.2", "--steps", "2"])
    #expect(again.status == 0 && again.output.contains("run.steps = \(steps), as --minutes fixed"))
  }

  @Test(
    "minutes that are none, too few, or contradicted are refused",
    arguments: [
      (["--minutes", "0"], "legal values: above 0"),
      (["--minutes", "0.0001"], "give more minutes"),
      (["--minutes", "5", "--set", "run.steps=3"], "give one"),
    ])
  func noMinutes(arguments: [String], expected: String) throws {
    let run = try tiny.train("none", arguments)
    #expect(run.status == 2 && run.output.contains(expected), "\(run.output)")
    #expect(!FileManager.default.fileExists(atPath: tiny.output("none")))
  }
}
