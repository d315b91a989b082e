// Whole runs that are killed, signalled, refused or short of disk; the long form is launch/torture.sh.
import Foundation
import TestSupport
import Testing

@Suite("Durability", .serialized, .needs(.mpirun))
struct DurabilityTests {
  let tiny: TinyRun
  /// A run that goes on until somebody ends it.
  private let endless = ["--set", "run.steps=1000000", "--set", "run.checkpoint_every=0"]

  init() throws { tiny = try TinyRun() }

  private func train(
    _ name: String, ranks: Int? = nil, _ more: [String] = [], when text: String,
    act: (Process) -> Void
  ) throws -> ProgramRun {
    try ProgramRun(
      "reformer-train", ranks: ranks,
      arguments: ["train", "--config", tiny.config, "--output", tiny.output(name)] + more,
      when: text, act: act)
  }

  private func names(_ run: String) throws -> Set<String> {
    Set(try FileManager.default.contentsOfDirectory(atPath: tiny.output(run)))
  }

  @Test("a run killed again and again ends with the undisturbed run's parameters")
  func kills() throws {
    let often = ["--set", "run.steps=90", "--set", "run.checkpoint_every=3", "--resume", "auto"]
    #expect(try tiny.train("undisturbed", often).status == 0)
    // Who dies: 0 for the program or mpirun, else a rank. Delays put kills into steps and checkpoints.
    let kills: [(step: Int, ranks: Int?, victim: Int, delay: UInt32)] = [
      (4, nil, 0, 0), (12, 2, 1, 1_000), (20, nil, 0, 3_000), (27, 4, 2, 5_000), (36, 2, 0, 2_000),
      (47, nil, 0, 7_000), (58, 1, 1, 9_000), (66, nil, 0, 11_000), (75, 2, 2, 4_000),
    ]
    var newest = 0
    for plan in kills {
      let run = try train(
        "killed", ranks: plan.ranks, often, when: "step \(plan.step)/"
      ) { process in
        let victims = ProgramRun.processes(process)
        usleep(plan.delay)
        kill(victims[min(plan.victim, victims.count - 1)], SIGKILL)
      }
      #expect(run.status == 137, "\(plan): \(run.status) \(run.output.suffix(300))")
      let verified = try ProgramRun(
        "reformer-train", arguments: ["inspect", tiny.output("killed"), "--verify"])
      #expect(verified.status == 0, "\(plan): \(verified.output)")
      let step = try #require(verified.output.matches(of: /step-(\d+):/).last.flatMap { Int($0.1) })
      #expect(step >= newest && step >= (plan.step - 1) / 3 * 3, "\(plan): \(step)")
      newest = step
    }
    let last = try tiny.train("killed", ranks: 4, often)
    #expect(last.status == 0, "\(last.output.suffix(300))")
    #expect(try tiny.digest("killed") == tiny.digest("undisturbed"))
    #expect(
      try names("killed") == [
        "config.toml", "metrics.jsonl", "report.html", "run.lock", "best", "step-00000087",
        "step-00000090",
      ])
  }

  @Test("a signal in the middle of a long step abandons it, with the step before saved")
  func longStep() throws {
    // 50 short steps, then one of about half a minute on two ranks: far more than the 5 s a step may go on after a
    // signal.
    let folder = tiny.folder
    let text = try String(contentsOfFile: tiny.config, encoding: .utf8)
    let staged = try folder.write(
      "staged.toml",
      text: text + """

        [[data.length_schedule]]
        share = 0.0007
        length = 40
        windows = 2
        """)
    let long = [
      "train", "--config", staged, "--set", "run.steps=51", "--set", "run.global_batch=2048",
      "--set", "data.length=4000", "--set", "model.axial_shape=[40,100]", "--set",
      "run.evaluate_bytes=10", "--set", "run.checkpoint_every=0", "--output",
    ]
    let run = try ProgramRun(
      "reformer-train", ranks: 2, arguments: long + [tiny.output("long")], when: "step 50/"
    ) {
      usleep(300_000)
      for rank in ProgramRun.processes($0).dropFirst() { kill(rank, SIGUSR1) }
    }
    #expect(run.status == 0, "\(run.output)")
    #expect(run.output.contains("stopped by a signal after step 50"), "\(run.output)")
    #expect(try names("long").filter { $0.hasPrefix("step") } == ["step-00000050"])
    let before = try ProgramRun(
      "reformer-train", arguments: long + [tiny.output("short"), "--steps", "50"])
    #expect(before.status == 0, "\(before.output)")
    #expect(try tiny.digest("long") == tiny.digest("short"))
  }

  @Test("a signal in the middle of an evaluation stops it, and resume makes up for it")
  func evaluation() throws {
    // Nearly all the time goes into evaluation.
    let scoring = [
      "--set", "run.evaluate_every=4", "--set", "data.split=[0.2,0.79,0.01]", "--set",
      "run.steps=24", "--resume", "auto",
    ]
    #expect(try tiny.train("whole", scoring).status == 0)
    for (signal, step) in [(SIGTERM, 4), (SIGINT, 12), (SIGUSR1, 20)] {
      let run = try train("cut", scoring, when: "step \(step)/") {
        kill($0.processIdentifier, signal)
      }
      #expect(run.status == 0, "\(run.output)")
      #expect(run.output.contains("stopped by a signal after step \(step)"), "\(run.output)")
    }
    #expect(try tiny.train("cut", ranks: 2, scoring).status == 0)
    #expect(try tiny.digest("cut") == tiny.digest("whole"))
    func scores(_ run: String) throws -> [Substring] {
      let metrics = try String(contentsOfFile: tiny.output(run) + "/metrics.jsonl", encoding: .utf8)
      return metrics.matches(of: /"step":\d+,"validation_bits_per_byte":[^,]+/).map { $0.0 }
    }
    #expect(try scores("whole").count == 6)
    #expect(try scores("cut") == scores("whole"))
  }

  @Test("a second run in a folder is refused while the first goes on")
  func lock() throws {
    var second: ProgramRun?
    let first = try train("shared", endless + ["--set", "run.log_every=3"], when: "step 3/") {
      second = try? tiny.train("shared", ranks: 2, ["--resume", "auto"])
      $0.terminate()
    }
    #expect(first.status == 0, "\(first.output.suffix(300))")
    #expect(second?.status == 2, "\(second?.output ?? "")")
    let refusal = "run folder \(tiny.output("shared")): another run writes here ("
    #expect(second?.output.contains(refusal) == true, "\(second?.output ?? "")")
  }

  @Test(
    "a time budget ends the run with a checkpoint, begins no step after it, and can be gone on from"
  )
  func timeBudget() throws {
    let run = try tiny.train("budget", ranks: 2, endless + ["--stop-after", "2s"])
    #expect(run.status == 0, "\(run.output.suffix(300))")
    let step = try #require(
      run.output.firstMatch(of: /stopped by --stop-after after step (\d+)/)?.1)
    let metrics = try String(
      contentsOfFile: tiny.output("budget") + "/metrics.jsonl", encoding: .utf8)
    let times = metrics.matches(of: /"step_seconds":([\d.e-]+)/).compactMap { Double($0.1) }
    #expect("\(times.count)" == step)
    // By the run's own clock, however slow the machine.
    #expect(times.dropLast().reduce(0, +) < 2)
    #expect(times.count > 1)
    let more = try tiny.train(
      "budget", endless + ["--resume", "auto", "--steps", "\(times.count + 2)"])
    #expect(more.status == 0, "\(more.output.suffix(300))")
    #expect(more.output.contains("resuming \(tiny.output("budget"))/step-"))
  }

  @Test("resume lists what has changed and may")
  func changes() throws {
    #expect(try tiny.train("changed", ["--steps", "5"]).status == 0)
    let run = try tiny.train(
      "changed", ["--resume", "auto", "--steps", "6", "--set", "optimizer.learning_rate=0.001"])
    #expect(run.status == 0, "\(run.output)")
    #expect(
      run.output.contains(
        "changed since: optimizer.learning_rate: 0.003 in the checkpoint, 0.001 now"),
      "\(run.output)")
  }

  @Test("the newest, the best and every n-th checkpoint are kept")
  func keeping() throws {
    // Learning is so fast after step 10 that parameters only get worse.
    let run = try tiny.train(
      "kept",
      [
        "--set", "run.keep=1", "--set", "run.keep_every=8", "--set", "run.checkpoint_every=2",
        "--set", "run.evaluate_every=2",
      ])
    #expect(run.status == 0, "\(run.output)")
    let scores = run.output.matches(of: /step (\d+)  validation ([\d.]+) bits/)
      .map { (step: Int($0.1) ?? 0, bits: Double($0.2) ?? 0) }
    let best = try #require(scores.min { $0.bits < $1.bits }?.step)
    let kept = Set([8, 16, 20, best].map { "step-000000" + ($0 < 10 ? "0" : "") + "\($0)" })
    #expect(try names("kept").filter { $0.hasPrefix("step-") } == kept)
    let inspected = try ProgramRun(
      "reformer-train", arguments: ["inspect", tiny.output("kept/best"), "--json"])
    #expect(inspected.output.contains("\"step\" : \(best),"), "\(inspected.output)")
    // Damage in any of them is found, not only in the newest.
    try tiny.folder.write("kept/step-00000008/state.json", text: "{}")
    let verified = try ProgramRun(
      "reformer-train", arguments: ["inspect", tiny.output("kept"), "--verify"])
    #expect(verified.status == 2 && verified.output.contains("step-00000008/state.json"))
    #expect(verified.output.contains("step-00000020: all files"), "\(verified.output)")
  }

  @Test("checkpoints written in the background are those written at once")
  func background() throws {
    let often = ["--set", "run.checkpoint_every=1", "--set", "run.keep=100"]
    #expect(try tiny.train("atOnce", often).status == 0)
    let behind = often + ["--set", "run.background_checkpoints=true"]
    let run = try train("behind", ranks: 2, behind, when: "step 9/") {
      kill(ProgramRun.processes($0).last ?? 0, SIGKILL)
    }
    #expect(run.status == 137, "\(run.output)")
    let rest = try tiny.train("behind", ranks: 2, behind + ["--resume", "auto"])
    #expect(rest.status == 0, "\(rest.output)")
    // Not only the last one: each step's parameters are those of that step.
    for step in ["05", "10", "15", "19", "20"] {
      let name = "step-000000" + step
      #expect(try tiny.digest("behind/\(name)") == tiny.digest("atOnce/\(name)"), "\(step)")
    }
    let steps = try names("behind").filter { $0.hasPrefix("step-") }
    #expect(try steps == names("atOnce").filter { $0.hasPrefix("step-") })
  }

  @Test("spikes are skipped alike by all ranks, and across a resume")
  func spikes() throws {
    // Half a standard deviation is nothing: once learning has slowed down, every third step is
    // skipped. Counts know the little text by heart, and nothing would surprise them.
    let nervous = [
      "--set", "model.ngrams.orders=[]", "--set", "run.spike_deviations=0.5",
      "--set", "run.skip_limit=1000", "--set",
      "run.steps=300",
    ]
    let alone = try tiny.train("nervous", nervous)
    #expect(alone.status == 0, "\(alone.output)")
    let skipped = alone.output.matches(of: #/step (\d+) skipped: the /#).map { $0.1 }
    #expect(skipped.count > 5 && skipped.count < 200, "\(skipped)")
    #expect(try tiny.train("cut", ranks: 2, nervous + ["--steps", "237"]).status == 0)
    let rest = try tiny.train("cut", nervous + ["--resume", "auto"])
    #expect(rest.status == 0, "\(rest.output)")
    #expect(try tiny.digest("cut") == tiny.digest("nervous"))
    let state = try String(
      contentsOfFile: tiny.output("cut/step-00000300/state.json"), encoding: .utf8)
    #expect(state.contains("\"skipped_steps\" : \(skipped.count),"), "\(state)")
  }

  @Test(
    "a full disk is named and costs no earlier checkpoint",
    .needs(.mounts))
  func fullDisk() throws {
    // Room for two checkpoints of 1 MB; a third is written before the first is removed.
    let disk = try SmallDisk(tiny.output("disk"), kilobytes: 2600)
    defer { withExtendedLifetime(disk) {} }
    let stopped = try tiny.train("disk/run", ranks: 2)
    #expect(stopped.status == 1, "\(stopped.output)")
    let error = stopped.output.split(separator: "\n").filter { $0.hasPrefix("error: ") }
    #expect(error.count == 1, "\(error)")
    #expect(error.first?.contains("checkpoint of step 15 not written: ") == true, "\(error)")
    #expect(error.first?.contains("No space left on device") == true, "\(error)")
    #expect(
      try names("disk/run") == [
        "config.toml", "metrics.jsonl", "run.lock", "step-00000005", "step-00000010",
      ])
    // Going on, it meets the same disk at the end, where a checkpoint must be.
    let going = try tiny.train(
      "disk/run", ["--resume", "auto", "--set", "run.on_checkpoint_error=continue"])
    #expect(going.status == 1, "\(going.output)")
    #expect(going.output.contains("warning: checkpoint of step 15 not written"), "\(going.output)")
    #expect(going.output.contains("error: checkpoint of step 20 not written"), "\(going.output)")
    let verified = try ProgramRun(
      "reformer-train", arguments: ["inspect", tiny.output("disk/run"), "--verify"])
    #expect(verified.status == 0 && verified.output.contains("step-00000010"))
    try disk.makeReadOnly()
    let refused = try tiny.train("disk/run", ["--resume", "auto"])
    #expect(refused.status == 2, "\(refused.output)")
    #expect(refused.output.contains("error: run folder \(tiny.output("disk/run"))"))
    #expect(
      refused.output.contains("Read-only file system") && !refused.output.contains("step 11/"))
  }
}
