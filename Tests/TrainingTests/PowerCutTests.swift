// Power cuts: a run on two ranks, stopped, resumed from an earlier step and ended, is recorded; then its disk is cut
// off after each call in turn. What is left must hold every checkpoint that the run has told of.
import Checkpointing
import Communication
import Foundation
import TestSupport
import Testing
import Training

@Suite("Power cuts", .serialized, .needs(.mpirun), .needs(.tools(["clang"])))
struct PowerCutTests {
  /// Small, and with every kind of folder work: evaluations, a best checkpoint, old ones removed.
  private static let often = [
    "--set", "model.width=8", "--set", "model.axial_widths=[4,4]", "--set", "model.heads=1",
    "--set", "model.head_width=8", "--set", "model.feed_forward_width=8", "--set",
    "run.checkpoint_every=2", "--set", "run.evaluate_every=2", "--set", "run.evaluate_bytes=200",
    "--set", "run.keep=2", "--set", "run.steps=10",
  ]

  /// All that the two runs did to their disk.
  private struct Recording {
    let tiny: TinyRun
    let disk: String
    let recorder: String
    let trace: DiskTrace

    init() throws {
      tiny = try TinyRun()
      disk = tiny.folder.path("disk")
      try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: false)
      recorder = tiny.folder.path("recorder.so")
      let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("Fixtures/disk_recorder.c").path
      let built = try ProgramRun(
        executable: "/usr/bin/env",
        arguments: ["clang", "-O1", "-Wall", "-shared", "-fPIC", "-o", recorder, source, "-ldl"])
      try #require(built.status == 0, "\(built.output)")
      let log = tiny.folder.path("log")
      for (ranks, more) in [
        (2, ["--steps", "7"]),
        // Back from step 7.
        (nil, ["--resume", disk + "/new/run/step-00000006"]),
      ] {
        let run = try ProgramRun(
          "reformer-train", ranks: ranks,
          arguments: ["train", "--config", tiny.config, "--output", disk + "/new/run"]
            + PowerCutTests.often + more,
          environment: [
            "LD_PRELOAD": recorder, "DISK_RECORDER_ROOT": disk, "DISK_RECORDER_LOG": log,
          ])
        try #require(run.status == 0, "\(run.output)")
      }
      trace = try DiskTrace(file: log)
      try #require(trace.calls.count > 300, "\(trace.calls.count)")
    }
  }

  private static let recording = Result { try Recording() }

  private let tiny: TinyRun
  private let disk: String
  private let recorder: String
  private let trace: DiskTrace

  init() throws {
    let recording = try Self.recording.get()
    (tiny, disk) = (recording.tiny, recording.disk)
    (recorder, trace) = (recording.recorder, recording.trace)
  }

  /// What a run has told of: the checkpoint that must be there, and the step that none can be beyond.
  private struct Told: Equatable {
    var saved = 0
    var trained = 0

    mutating func read(_ call: DiskTrace.Call) {
      // Going back is what the user asked for.
      if call.kind == .rename, let step = call.target.firstMatch(of: /step-(\d+)\.aside/)?.1 {
        saved = min(saved, (Int(step) ?? 0) - 1)
      }
      guard call.kind == .write, call.path.contains("/metrics.jsonl") else { return }
      let text = String(decoding: call.bytes, as: UTF8.self)
      func last(_ key: String) -> Int? {
        let lines = text.split(separator: "\n").filter { $0.contains("\"\(key)\"") }
        return lines.last?.firstMatch(of: /"step":(\d+)/).flatMap { Int($0.1) }
      }
      saved = last("checkpoint_seconds") ?? saved
      trained = last("loss_nats") ?? trained
    }
  }

  /// What is wrong with the run that is left; nil where nothing is lost.
  private func problem(_ rest: DiskRest, _ told: Told) throws -> String? {
    let folder = try TemporaryFolder()
    try rest.write(to: folder.path("disk"))
    let run = folder.path("disk/new/run")
    guard FileManager.default.fileExists(atPath: run) else {
      return told.saved == 0 ? nil : "no run folder, step \(told.saved) was told of"
    }
    try CheckpointStore(runFolder: run).removeLeftovers()
    var skipped: [String] = []
    let found: Checkpoint?
    do {
      found = try Checkpoint.openIfAny(run, communicator: SoloCommunicator()) { skipped.append($0) }
    } catch { return "\(error)" }
    if let reason = skipped.first { return reason }
    let step = found?.step ?? 0
    guard step >= told.saved else { return "step \(told.saved) was told of, step \(step) is there" }
    guard step <= told.trained else {
      return "step \(step) is there, which the run went back before"
    }
    let config = run + "/config.toml"
    if FileManager.default.fileExists(atPath: config),
      (try? RunConfig.load(file: config)) == nil
    {
      return "the run's config is damaged"
    }
    let metrics = (try? String(contentsOfFile: run + "/metrics.jsonl", encoding: .utf8)) ?? ""
    let steps = metrics.split(separator: "\n").filter {
      $0.contains("loss_nats") && $0.hasSuffix("}")
    }
    .compactMap { $0.firstMatch(of: /"step":(\d+)/).flatMap { Int($0.1) } }
    guard steps.filter({ $0 <= step }) == Array(0..<step).map({ $0 + 1 }) else {
      return "step \(step) is there, the metrics tell of \(steps)"
    }
    return nil
  }

  /// Cuts the disk off after each call that changes more than bytes, and gives `check` what is left.
  private func cut(
    losing losses: [DiskTrace.Loss] = DiskTrace.Loss.allCases,
    forgetting isForgotten: (Int) -> Bool = { _ in false },
    check: (DiskRest, Told, Int) throws -> Bool
  ) throws {
    let disk = ForgetfulDisk(path: disk)
    var told = Told()
    var last: [(rest: DiskRest, told: Told)] = []
    for (index, call) in trace.calls.enumerated() where !isForgotten(index) {
      disk.apply(call)
      told.read(call)
      let isSmall = call.kind == .write && !call.path.contains("/metrics.jsonl") && index % 16 != 0
      guard !isSmall else { continue }
      let rests = losses.map { (rest: disk.rest(after: $0), told: told) }
      defer { last = rests }
      for (place, rest) in rests.enumerated()
      where !(last + rests[..<place]).contains(where: { $0 == rest }) {
        guard try check(rest.rest, told, index) else { return }
      }
    }
  }

  @Test("whatever a cut takes of what was not flushed, no checkpoint that was told of is lost")
  func cuts() throws {
    var count = 0
    try cut { rest, told, index in
      count += 1
      let problem = try problem(rest, told)
      #expect(problem == nil, "after call \(index), \(trace.calls[index].kind)")
      return problem == nil
    }
    #expect(count > 300, "\(count)")
  }

  @Test("a run goes on after a cut, to the parameters of one that was never cut")
  func resumes() throws {
    let expected = try tiny.train("whole", Self.often)
    try #require(expected.status == 0, "\(expected.output)")
    let digest = try tiny.digest("whole")
    var turn = 0
    var resumed = 0
    try cut { left, _, _ in
      turn += 1
      guard turn % 120 == 0 else { return true }
      let run = tiny.output("cut\(turn)")
      try left.write(to: run + "/disk")
      let rest = try ProgramRun(
        "reformer-train", ranks: resumed % 2 == 0 ? nil : 2,
        arguments: [
          "train", "--config", tiny.config, "--output", run + "/disk/new/run", "--resume", "auto",
        ] + Self.often)
      #expect(rest.status == 0, "\(rest.output)")
      #expect(try tiny.digest("cut\(turn)/disk/new/run") == digest)
      resumed += 1
      return rest.status == 0
    }
    #expect(resumed > 2, "\(turn)")
  }

  private enum Phase { case start, writing, resume }

  /// Whether a run folder has a checkpoint that is not whole.
  private func isWriting(_ folder: String) throws -> Bool {
    try FileManager.default.contentsOfDirectory(atPath: folder).contains {
      $0.hasPrefix("step-") && $0.hasSuffix(".partial")
    }
  }

  @Test("a rank killed at start, while a checkpoint is written and during resume costs nothing")
  func kills() throws {
    let more = Self.often + ["--set", "run.steps=20", "--resume", "auto"]
    try #require(tiny.train("uncut", more).status == 0)
    var newest = 0
    // After which of its changes of the disk; rank 1 makes few, in each checkpoint a file.
    for (phase, rank, number) in [
      (Phase.start, 0, 3), (.writing, 0, 130), (.resume, 0, 12), (.writing, 1, 5),
    ] {
      let run = try ProgramRun(
        "reformer-train", ranks: 2,
        arguments: ["train", "--config", tiny.config, "--output", tiny.output("killed")] + more,
        environment: [
          "LD_PRELOAD": recorder, "DISK_RECORDER_ROOT": tiny.output("killed"),
          "DISK_RECORDER_LOG": tiny.folder.path("killed.log"),
          "DISK_RECORDER_KILL": "\(number)", "DISK_RECORDER_RANK": "\(rank)",
        ])
      #expect(run.status == 137, "rank \(rank), \(number): \(run.output.suffix(300))")
      let store = CheckpointStore(runFolder: tiny.output("killed"))
      let found = try store.newestComplete { Issue.record("after call \(number): \($0)") }
      let step = try found.map { try Manifest(folder: $0).step } ?? 0
      #expect(step >= newest, "after call \(number)")
      let isInPhase =
        switch phase {
        case .start: found == nil
        case .writing: try isWriting(tiny.output("killed"))
        case .resume: run.output.contains("resuming") && step == newest
        }
      #expect(isInPhase, "call \(number) is not in \(phase)")
      newest = step
    }
    #expect(newest > 0)
    #expect(try tiny.train("killed", ranks: 2, more).status == 0)
    #expect(try tiny.digest("killed") == tiny.digest("uncut"))
  }

  @Test("each flush is needed: without any one kind of them something is lost")
  func flushes() throws {
    let kinds = kinds()
    let needed = Set(kinds.compactMap { $0 })
    #expect(
      needed.isSuperset(of: [
        " with /new", "/new with /new/run", "/new/run with /new/run/step-N",
        "/new/run with /new/run/step-N.aside", "/new/run/metrics.jsonl",
        "/new/run/metrics.jsonl.partial", "/new/run/config.toml.partial",
        "/new/run/step-N.partial with /new/run/step-N.partial/manifest.json",
        "/new/run/step-N.partial/manifest.json", "/new/run/step-N.partial/model.safetensors",
        "/new/run/step-N.partial/optimizer-N-of-N.safetensors",
      ]), "\(needed.sorted())")
    for forgotten in needed {
      var isNoticed = false
      try cut(losing: [.all, .bytes], forgetting: { kinds[$0] == forgotten }) { rest, told, _ in
        isNoticed = try problem(rest, told) != nil
        return !isNoticed
      }
      #expect(isNoticed, "nothing is lost without flushing \(forgotten)")
    }
  }

  /// Of each call that flushes, what: the file, or the folder with the last name made in it.
  private func kinds() -> [String?] {
    func pattern(_ path: String) -> String {
      String(path.dropFirst(disk.count)).replacing(/\d+/, with: "N")
    }
    var lastName = ""
    return trace.calls.map { call in
      switch call.kind {
      case .create, .makeFolder: lastName = pattern(call.path)
      case .rename: lastName = pattern(call.target)
      case .flush: return pattern(call.path)
      case .flushFolder: return "\(pattern(call.path)) with \(lastName)"
      case .truncate, .write, .remove, .link: break
      }
      return nil
    }
  }
}
