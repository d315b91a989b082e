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
    #expect(added.first?.contains(" rank 0 error: rank 0: \(tiny.output("run")) already") == true)
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
      executable: script, arguments: ["-qec", all, "/dev/null"],
      environment: ["TERM": "xterm", "NO_COLOR": ""])
    #expect(run.status == 0, "\(run.output)")
    // A step's line begins where the one before began, and a message clears it. Half of 20 steps of equal length are
    // half of the bar, which is in colour.
    let form =
      #/\r\[\u{1B}\[36m(#+)\u{1B}\[0m(\.+)\] step 10/20  \d\.\d{3} bits/byte  [\d.]+ .?B/s  \S+ left  [\d.]+ MB/#
    let bar = try #require(run.output.firstMatch(of: form), "\(run.output)")
    #expect(abs(bar.1.count - bar.2.count) <= 1, "\(bar.0)")
    #expect(!run.output.contains("\nstep 10/20"), "\(run.output)")
    #expect(
      run.output.contains(/\r +\r\d{4}-\d\d-\d\d [\d:]+ rank 0 info: step 20  validation/),
      "\(run.output)")
  }

  @Test("a bar fits the terminal, or is left out, or its text is cut")
  func bars() {
    let bar = ProgressBar(share: 0.5, "text")
    #expect(bar.line(columns: 17, color: nil) == "[#####.....] text")
    #expect(bar.line(columns: 17, color: .cyan) == "[\u{1B}[36m#####\u{1B}[0m.....] text")
    #expect(bar.line(columns: 200, color: nil).count == 37)
    #expect(bar.line(columns: 11, color: nil) == "text")
    #expect(bar.line(columns: 3, color: nil) == "tex")
    #expect(ProgressBar(share: 1.5, "").line(columns: 8, color: nil) == "[#####] ")
    #expect(ProgressBar(share: 0, "").line(columns: 8, color: .cyan) == "[.....] ")
  }

  @Test("a quiet run says nothing, and its log file all; no colour goes where no terminal is")
  func quiet() throws {
    let log = ["--log-file", tiny.output("log"), "--steps", "3"]
    let run = try tiny.train("run", ["--quiet"] + log)
    #expect(run.status == 0 && run.output.isEmpty, "\(run.output)")
    #expect(try lines("log").contains { $0.contains("info: step 3/3  loss ") })
    #expect(try lines("log").contains { $0.contains("done: checkpoint of step 3") })
    let again = try tiny.train("run", ["--quiet"])
    #expect(again.status == 2 && again.output.hasPrefix("error: "), "\(again.output)")
    let loud = try tiny.train("loud", ["--steps", "3"])
    #expect(loud.output.contains("\nstep 3/3  loss ") && !loud.output.contains("\u{1B}"))
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
