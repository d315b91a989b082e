// Whole runs in stages: the data order, and what bytes cost when they were new, are the same however a run is cut.
import Foundation
import TestSupport
import Testing
import Training

@Suite("Runs in stages", .serialized)
struct StageRunTests {
  let tiny: TinyRun

  init() throws {
    tiny = try TinyRun()
    // 10,800 training bytes: 119 windows of 90 and 90 bytes that none predicts.
    try tiny.folder.write("corpus", Array(TinyRun.text().utf8.prefix(12_000)))
  }

  private static let unscored = Double(10_800 - 119 * 90) / 10_800

  /// Windows of 18 and 30 first, in blocks of 180.
  private static let stages = [
    "--set", "data.block=180", "--set", "data.length_schedule.share=[0.2, 0.3]", "--set",
    "data.length_schedule.length=[18, 30]", "--set", "data.length_schedule.windows=[1, 2]",
    "--set", "run.steps=140",
  ]

  private struct Line: Decodable, Equatable {
    let step: Int
    let loss_nats, prequential_bits_per_byte: Double?
    let trained_bytes: Int?
  }

  private func steps(_ name: String) throws -> [Line] {
    try String(contentsOfFile: tiny.output(name) + "/metrics.jsonl", encoding: .utf8)
      .split(separator: "\n").map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
      .filter { $0.loss_nats != nil }
  }

  private func train(_ name: String, ranks: Int? = nil, _ more: [String] = []) throws {
    let run = try tiny.train(name, ranks: ranks, Self.stages + more)
    try #require(run.status == 0, "\(run.output)")
  }

  @Test(
    "stages give the same parameters and the same score at any number of ranks and across resumes",
    .needs(.mpirun))
  func sameBits() throws {
    try train("whole")
    let whole = try steps("whole")
    #expect(whole.map(\.step) == Array(1...140))
    let bytes = whole.compactMap(\.trained_bytes)
    // Stages end where blocks do.
    #expect(bytes[0] == 18 && bytes.contains { $0 % 180 == 0 && $0 > 18 })
    #expect(Set(zip(bytes, bytes.dropFirst()).map { $1 - $0 }) == [18, 60, 360])
    for (ranks, cuts) in [(2, [3]), (4, [100, 130])] {
      let name = "ranks\(ranks)"
      for cut in cuts { try train(name, ranks: ranks, ["--resume", "auto", "--steps", "\(cut)"]) }
      try train(name, ["--resume", "auto"])
      #expect(try tiny.digest(name) == tiny.digest("whole"))
      #expect(try steps(name) == whole)
    }
  }

  @Test("a run may not go on with a number of steps that moves stages it has been through")
  func moved() throws {
    try train("run", ["--steps", "120"])
    let longer = ["--resume", "auto", "--set", "run.steps=300"]
    let refused = try tiny.train("run", Self.stages + longer)
    #expect(refused.status == 2, "\(refused.output)")
    #expect(refused.output.contains("run.steps: 140 in the checkpoint, 300 now"))
    #expect(refused.output.contains("data.length_schedule"))
    #expect(try tiny.digest("run").contains { $0.contains("120") })
  }

  @Test(
    "the prequential score is the mean loss of the first epoch and 8 bits for what no window predicts"
  )
  func score() throws {
    let run = try tiny.train("run", ["--set", "run.steps=40"])
    #expect(run.status == 0, "\(run.output)")
    let lines = try steps("run")
    // Four windows a step: the epoch ends in the thirtieth.
    var nats = 0.0
    for (index, line) in lines.prefix(29).enumerated() {
      nats += try #require(line.loss_nats)
      let expected = (1 - Self.unscored) * nats / Double(index + 1) / log(2) + 8 * Self.unscored
      #expect(abs(try #require(line.prequential_bits_per_byte) - expected) < 1e-9)
    }
    let last = try #require(lines.last?.prequential_bits_per_byte)
    #expect(lines[29...].allSatisfy { $0.prequential_bits_per_byte == last })
    #expect(run.output.contains(String(format: "prequential %.4f bits/byte", last)))
    #expect(run.output.contains("over the first epoch's 10.8 kB"))
    let inspected = try ProgramRun("reformer-train", arguments: ["inspect", tiny.output("run")])
    #expect(inspected.output.contains(String(format: "prequential %.4f bits/byte", last)))
  }

  @Test("skipped steps cost their loss, or 8 bits where there is none")
  func skipped() throws {
    // Nothing is ever learnt: the first step's loss is that of first values, later ones are not numbers or huge.
    let run = try tiny.train(
      "run",
      [
        "--set", "optimizer.learning_rate=1e9", "--set", "optimizer.clip=0", "--set",
        "optimizer.warmup_steps=0", "--set", "run.skip_limit=100",
      ])
    // There is no score of such parameters.
    #expect(run.status == 1 && run.output.contains("evaluation"), "\(run.output)")
    let text = try String(contentsOfFile: tiny.output("run") + "/metrics.jsonl", encoding: .utf8)
    let lines = try text.split(separator: "\n").map {
      try JSONDecoder().decode(Line.self, from: Data($0.utf8))
    }.filter { $0.trained_bytes != nil }
    #expect(lines.count == 20 && text.contains("is_skipped"))
    let bits = lines.map { $0.loss_nats.map { $0 / log(2) } ?? 8 }
    #expect(lines.contains { $0.loss_nats == nil })
    let expected = (1 - Self.unscored) * bits.reduce(0, +) / 20 + 8 * Self.unscored
    let last = try #require(lines.last?.prequential_bits_per_byte)
    #expect(abs(last - expected) < 1e-9 * expected)
  }

  @Test("plan has the memory of the longest windows and the time of all stages")
  func plan() throws {
    struct Report: Decodable {
      struct Time: Decodable { let step_seconds, run_seconds: Double }
      let peak_rss_bytes: Int
      let times: [Time]
    }
    func plan(_ more: [String]) throws -> Report {
      let run = try ProgramRun(
        "reformer-train",
        arguments: ["plan", "--config", tiny.config, "--json", "--window-seconds", "90"] + more)
      #expect(run.status == 0, "\(run.output)")
      return try JSONDecoder().decode(Report.self, from: Data(run.output.utf8))
    }
    let staged = try plan(Self.stages)
    let plain = try plan([])
    #expect(staged.peak_rss_bytes == plain.peak_rss_bytes)
    // A second a byte.
    #expect(staged.times[0].step_seconds == 360)
    let config = try RunConfig.load(
      file: tiny.config, overrides: Self.stages.filter { $0 != "--set" })
    #expect(abs(staged.times[0].run_seconds - config.stepPlan.bytes(steps: 140)) < 1e-6)
  }

  @Test("a time budget counts the steps of all stages")
  func budget() throws {
    let config = try RunConfig.load(
      file: tiny.config, overrides: Self.stages.filter { $0 != "--set" })
    let budget = StepBudget(step: [1, 2, 20], evaluation: 0, checkpoint: 0)
    let counts = config.stepPlan.stepCounts
    #expect(budget.time(of: 140, config) == Double(counts[0] + 2 * counts[1] + 20 * counts[2]))
    let steps = budget.steps(config, within: 1000)
    #expect(budget.time(of: steps, config) <= 970 && budget.time(of: steps + 1, config) > 970)
    let run = try tiny.train("run", Self.stages.dropLast(2) + ["--minutes", "0.05"])
    #expect(run.status == 0 && run.output.contains("s, later "), "\(run.output)")
  }

  @Test(
    "stages that do not go together are refused in a line",
    arguments: [
      (["share=[0.5, 0.5]", "length=[10, 30]", "windows=[1, 1]"], "below 1"),
      (["share=[0.5]", "length=[10, 30]", "windows=[1, 1]"], "2 entries"),
      (["share=[0.5]", "length=[7]", "windows=[1]"], "divisors of data.block = 90"),
      (["share=[0.5]", "length=[180]", "windows=[1]"], "at most data.length = 90"),
      (["share=[0]", "length=[10]", "windows=[1]"], "above 0"),
    ])
  func refused(schedule: [String], reason: String) throws {
    let run = try tiny.train("run", schedule.flatMap { ["--set", "data.length_schedule." + $0] })
    #expect(run.status == 2 && run.output.contains(reason), "\(run.output)")
    #expect(run.output.split(separator: "\n").count == 1, "\(run.output)")
  }

  @Test(
    "a block that windows do not fill, or ranks that a stage cannot serve, are refused",
    .needs(.mpirun))
  func wrongSizes() throws {
    let block = try tiny.train("run", ["--set", "data.block=100"])
    #expect(block.status == 2 && block.output.contains("a multiple of data.length = 90"))
    let run = try tiny.train(
      "run", ranks: 4,
      [
        "--set", "data.length_schedule.share=[0.5]", "--set", "data.length_schedule.length=[30]",
        "--set", "data.length_schedule.windows=[3]",
      ])
    #expect(
      run.status == 2 && run.output.contains("divisors of the number of ranks, 4"), "\(run.output)")
  }
}
