// What a run says, where, and in which form.
import Foundation
import TestSupport
import Testing
import Training

@Suite("Log of a run", .serialized, .needs(.mpirun))
struct RunLogTests {
  let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private func lines(_ name: String) throws -> [Substring] {
    try String(contentsOfFile: tiny.output(name), encoding: .utf8).split(separator: "\n")
  }

  @Test(
    "messages have time, level and rank, and the log file has them and the steps, run after run")
  func file() throws {
    let log = ["--log-file", tiny.output("log")]
    let first = try tiny.train("run", ranks: 2, log + ["--steps", "3"])
    #expect(first.status == 0, "\(first.output)")
    let form = #/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d rank 0 info: (.+)/#
    let begun = try lines("log").compactMap { try? form.wholeMatch(in: $0)?.1 }
    #expect(begun.contains { $0.contains("run folder \(tiny.output("run"))") }, "\(begun)")
    #expect(begun.contains { $0.hasPrefix("done: checkpoint of step 3") }, "\(begun)")
    #expect(begun.count { $0.hasPrefix("step 3/3  loss ") } == 1, "\(begun)")
    #expect(try lines("log").count == begun.count)
    for message in begun where !message.hasPrefix("step ") {
      #expect(first.output.contains(" rank 0 info: \(message)\n"), "\(message)")
    }
    // What ends a run is in the file, too: once.
    let second = try tiny.train("run", ranks: 2, log)
    #expect(second.status == 2, "\(second.output)")
    let added = try lines("log").dropFirst(begun.count)
    #expect(added.count == 1, "\(added)")
    #expect(added.first?.contains(" rank 0 error: \(tiny.output("run")) already") == true)
  }

  @Test("a log file that cannot be is named before anything is done")
  func unwritable() throws {
    let run = try tiny.train("run", ranks: 2, ["--log-file", tiny.output("none/log")])
    #expect(run.status == 2, "\(run.output)")
    #expect(run.output.contains("error: --log-file \(tiny.output("none/log"))"), "\(run.output)")
    #expect(!FileManager.default.fileExists(atPath: tiny.output("run")))
  }

  @Test(
    "the progress line stays in place on a terminal, alone and under mpirun", arguments: [1, 2])
  func terminal(ranks: Int) throws {
    let command = [
      ProgramRun.path("reformer-train"), "--config", tiny.config, "--output", tiny.output("run"),
      "--set", "run.evaluate_bytes=100",
    ]
    let mpirun = [
      ProgramRun.mpirun ?? "", "-np", "2", "--oversubscribe", "--bind-to", "none",
      geteuid() == 0 ? "--allow-run-as-root" : "",
    ]
    let all = (ranks == 1 ? command : mpirun + command).joined(separator: " ")
    let script = try #require(ProgramRun.tool("script"))
    let run = try ProgramRun(
      executable: script, arguments: ["-qec", all, "/dev/null"], environment: ["TERM": "xterm"])
    #expect(run.status == 0, "\(run.output)")
    // A step's line begins where the one before began, and a message clears it.
    #expect(run.output.contains("\rstep 7/20  loss"), "\(run.output)")
    #expect(!run.output.contains("\nstep 7/20"), "\(run.output)")
    #expect(
      run.output.contains(/\r +\r\d{4}-\d\d-\d\d [\d:]+ rank 0 info: step 20  validation/),
      "\(run.output)")
  }

  @Test("metrics name the rank that computed longest")
  func slowest() throws {
    #expect(Pace(secondsOfRanks: [1, 3, 2]).slowest == 1)
    #expect(Pace(secondsOfRanks: [1, 3, 2]).slowestSeconds == 3)
    #expect(Pace(secondsOfRanks: [1, 3, 2]).meanSeconds == 2)
    #expect(Pace(secondsOfRanks: [2, 2]).slowest == 0)
    // Without vector instructions a rank takes several times as long.
    let own = [
      "train", "--config", tiny.config, "--output", tiny.output("uneven"), "--set",
      "model.layers=[\"local\",\"lsh\"]", "--set", "run.matrix_products=openblas",
    ]
    let run = try ProgramRun(
      "reformer-train", ranks: 1,
      arguments: own + [
        ":", "-np", "1", "-x", "REFORMER_INSTRUCTIONS=portable", ProgramRun.path("reformer-train"),
      ] + own)
    #expect(run.status == 0, "\(run.output)")
    let steps = try lines("uneven/metrics.jsonl").filter { $0.contains("loss_nats") }
    #expect(steps.count == 20)
    #expect(steps.count { $0.contains("\"slowest_rank\":1,") } > 10, "\(steps)")
    #expect(steps.allSatisfy { $0.contains(/"slowest_rank_seconds":[\d.e-]+,/) })
    #expect(try tiny.train("alone", ["--steps", "2"]).status == 0)
    #expect(try lines("alone/metrics.jsonl").allSatisfy { !$0.contains("slowest") })
  }
}
