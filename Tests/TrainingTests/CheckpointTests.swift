// What commands do with the checkpoints of a run: which one they open, what they say of the others, and what they
// refuse.
import Foundation
import TestSupport
import Testing
import Training

@Suite("Checkpoints of a run", .serialized)
struct CheckpointTests {
  let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private func program(_ arguments: [String], folder: String? = nil) throws -> ProgramRun {
    try ProgramRun("reformer-train", arguments: arguments, folder: folder)
  }

  /// Trains alone into `run`, which must do.
  @discardableResult
  private func train(_ more: String...) throws -> ProgramRun {
    let run = try tiny.train("run", more)
    try #require(run.status == 0, "\(more): \(run.output)")
    return run
  }

  private func damage(_ file: String) throws {
    let url = URL(fileURLWithPath: tiny.output("run/" + file))
    var bytes = try Data(contentsOf: url)
    bytes[bytes.count / 2] ^= 1
    try bytes.write(to: url)
  }

  private func names() throws -> Set<String> {
    Set(try FileManager.default.contentsOfDirectory(atPath: tiny.output("run")))
  }

  // MARK: Broken ones

  @Test("every command says which newer step it skips, and why")
  func skipped() throws {
    try train("--steps", "10")
    try damage("step-00000010/model.safetensors")
    let run = tiny.output("run")
    let said = "skipping a broken checkpoint: \(run)/step-00000010/model.safetensors: has other"
    let commands = [
      ["evaluate", run, "--split", "validation"], ["inspect", run], ["inspect", run, "--json"],
      [
        "train", "--config", tiny.config, "--output", tiny.output("other"), "--resume", run,
        "--steps", "6",
      ],
    ]
    for arguments in commands {
      let result = try program(arguments)
      #expect(result.status == 0 && result.output.contains(said), "\(result.output)")
      #expect(result.output.contains(/step 5 |step 5,|"step" : 5,|step-00000005/))
    }
    let json = try program(commands[2]).output
    #expect(json.contains(#""skipped" : ["#), "\(json)")
  }

  @Test("verification ends with 2 where a step is broken, in either form")
  func verification() throws {
    try train("--steps", "10")
    let command = ["inspect", tiny.output("run"), "--verify", "--json"]
    let whole = try program(command)
    #expect(whole.status == 0 && !whole.output.contains("problem"), "\(whole.output)")
    try damage("step-00000010/state.json")
    let broken = try program(command)
    #expect(broken.status == 2, "\(broken.output)")
    #expect(broken.output.contains(#""problem" : ""#))
    #expect(broken.output.contains("step-00000010/state.json: has other content"))
    #expect(broken.output.contains("step-00000005"), "\(broken.output)")
  }

  @Test("where all are broken nothing is begun anew")
  func allBroken() throws {
    try train("--steps", "10")
    try damage("step-00000005/model.safetensors")
    try damage("step-00000010/model.safetensors")
    let before = try names()
    let run = try tiny.train("run", ["--resume", "auto"])
    #expect(run.status == 2, "\(run.output)")
    #expect(run.output.contains("no complete checkpoint; "), "\(run.output)")
    #expect(try names() == before)
  }

  @Test("a number of steps that --minutes fixed is known though the newest checkpoint is broken")
  func minutes() throws {
    let told = try train("--minutes", "0.2", "--steps", "10").output
    let steps = try #require(told.firstMatch(of: /so run.steps = (\d+)/)?.1)
    try damage("step-00000010/state.json")
    let rest = try train("--resume", "auto", "--steps", "11")
    #expect(rest.output.contains("run.steps = \(steps), as --minutes fixed it"), "\(rest.output)")
  }

  // MARK: The corpus

  @Test("a score is that of the corpus trained on, found from any folder")
  func corpus() throws {
    let config = try tiny.folder.write(
      "relative.toml",
      text: try String(contentsOfFile: tiny.config, encoding: .utf8).replacing(
        tiny.folder.path("corpus"), with: "corpus"))
    let run = tiny.output("run")
    let trained = try program(
      ["train", "--config", config, "--output", run, "--steps", "2"], folder: tiny.folder.path)
    #expect(trained.status == 0, "\(trained.output)")
    let score = try program(["evaluate", run, "--json"], folder: tiny.folder.path)
    #expect(score.status == 0, "\(score.output)")
    let elsewhere = try TemporaryFolder()
    // A file of that name is no reason to score it.
    try elsewhere.write("corpus", text: TinyRun.text(bytes: 13_000))
    #expect(
      try program(["evaluate", run, "--json"], folder: elsewhere.path).output == score.output)
    // On resume the same place is no change, however it is said.
    let more = try program(
      ["train", "--config", config, "--output", run, "--resume", "auto", "--steps", "3"],
      folder: tiny.folder.path)
    #expect(more.status == 0 && !more.output.contains("changed since"), "\(more.output)")

    try tiny.folder.write("corpus", text: "X" + TinyRun.text().dropFirst())
    let refused = try program(["evaluate", run])
    #expect(refused.status == 2, "\(refused.output)")
    #expect(refused.output.contains("was trained on corpus 12"), "\(refused.output)")
    #expect(!refused.output.contains("bits/byte"))
    let asked = try program(["evaluate", run, "--set", "data.corpus=\(elsewhere.path("corpus"))"])
    #expect(asked.status == 0 && asked.output.contains("notice: "), "\(asked.output)")
    #expect(asked.output.contains("was trained on corpus 12"), "\(asked.output)")
  }

  // MARK: Going back

  @Test("going back stays decided: later steps are set aside by name")
  func goingBack() throws {
    let many = ["--set", "run.keep=10", "--set", "run.evaluate_every=5"]
    #expect(try tiny.train("whole", many).status == 0)
    #expect(try tiny.train("run", many).status == 0)
    let back = try tiny.train(
      "run", many + ["--resume", tiny.output("run/step-00000005"), "--steps", "7"])
    #expect(back.status == 0, "\(back.output)")
    #expect(
      back.output.contains(
        "set aside as step-00000010.aside, step-00000015.aside, step-00000020.aside"),
      "\(back.output)")
    let steps = try names().filter { $0.hasPrefix("step") }
    #expect(
      steps == [
        "step-00000005", "step-00000007", "step-00000010.aside", "step-00000015.aside",
        "step-00000020.aside",
      ])
    let on = try tiny.train("run", many + ["--resume", "auto"])
    #expect(on.output.contains("resuming \(tiny.output("run/step-00000007"))"), "\(on.output)")
    #expect(try tiny.digest("run") == tiny.digest("whole"))
    // The link and the state never name a step that is aside.
    let best = try FileManager.default.destinationOfSymbolicLink(atPath: tiny.output("run/best"))
    #expect(try names().contains(best) && !best.hasSuffix(".aside"))
    // A checkpoint of another run: none of this one's own is before it.
    let other = try tiny.train(
      "run", many + ["--resume", tiny.output("whole/step-00000015"), "--steps", "16"])
    #expect(other.output.contains("step-00000005.aside, step-00000007.aside"), "\(other.output)")
    #expect(try tiny.digest("run").contains("\"step\" : 16,"))
  }

  @Test("a second start that waited for the first does not begin anew in its folder")
  func secondStart() throws {
    let slow = ["--set", "run.steps=1000000", "--set", "run.checkpoint_every=0"]
    let first = Process()
    first.executableURL = URL(fileURLWithPath: ProgramRun.path("reformer-train"))
    first.arguments = ["train", "--config", tiny.config, "--output", tiny.output("run")] + slow
    first.standardError = FileHandle.nullDevice
    try first.run()
    defer { if first.isRunning { first.terminate() } }
    while !FileManager.default.fileExists(atPath: tiny.output("run/metrics.jsonl")) {
      try #require(first.isRunning)
      usleep(10_000)
    }
    let second = try ProgramRun(
      "reformer-train",
      arguments: ["train", "--config", tiny.config, "--output", tiny.output("run")],
      when: "waiting for another run"
    ) { _ in first.terminate() }
    first.waitUntilExit()
    #expect(second.status == 2, "\(second.output)")
    #expect(second.output.contains("already holds a run up to step"), "\(second.output)")
    #expect(try names().filter { $0.hasPrefix("step") }.count == 1)
  }

  // MARK: What may change, and what must not be lost

  @Test("no key that is declared fixed may change on resume, and every other may")
  func fixedKeys() throws {
    try train("--steps", "2")
    let checkpoint = try Checkpoint.open(tiny.output("run")) { _ in }
    for key in ConfigKey.all {
      let stored = key.get(checkpoint.config)
      guard let other = key.examples.first(where: { $0 != stored }) else { continue }
      var config = checkpoint.config
      #expect(key.set(&config, other), "\(key.name) = \(other.toml)")
      guard key.onResume == .fixed else {
        try checkpoint.requireSameRun(as: config)
        continue
      }
      let refusal = #expect(throws: UserError.self) { try checkpoint.requireSameRun(as: config) }
      let said = "\(key.name): \(stored.toml) in the checkpoint, \(other.toml) now"
      #expect(refusal?.description.contains(said) == true, "\(key.name)")
    }
  }

  @Test("metrics that cannot be read are not replaced by nothing")
  func metrics() throws {
    try train("--steps", "2")
    let path = tiny.output("run/metrics.jsonl")
    try FileManager.default.removeItem(atPath: path)
    // As on a disk that is not there today.
    try FileManager.default.createSymbolicLink(
      atPath: path, withDestinationPath: tiny.folder.path("away/metrics.jsonl"))
    let refused = try tiny.train("run", ["--resume", "auto", "--steps", "3"])
    #expect(refused.status == 2, "\(refused.output)")
    #expect(refused.output.contains("metrics.jsonl: cannot be read"), "\(refused.output)")
    #expect(
      try FileManager.default.destinationOfSymbolicLink(atPath: path)
        == tiny.folder.path("away/metrics.jsonl"))
  }
}
