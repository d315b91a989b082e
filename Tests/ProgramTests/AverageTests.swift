// Averaged weights in whole runs of the program: scored beside the others, saved, resumed, with the same bits.
import Foundation
import TestSupport
import Testing

@Suite("Averaged weights", .serialized, .needs(.mpirun))
struct AverageTests {
  private static let average = ["--set", "optimizer.average=0.8"]
  let tiny: TinyRun

  init() throws {
    tiny = try TinyRun()
    let run = try tiny.train("run", Self.average + ["--set", "run.evaluate_every=10"])
    try #require(run.status == 0, "\(run.output)")
    try #require(run.output.contains(/step 10 .*; averaged weights \d\.\d{4}/), "\(run.output)")
  }

  private struct Score: Decodable {
    let averaged: Bool
    let bits_per_byte: Double
  }

  private func evaluate(_ options: [String], ranks: Int? = nil) throws -> Score {
    let run = try ProgramRun(
      "reformer-train", ranks: ranks,
      arguments: ["evaluate", tiny.output("run"), "--split", "validation", "--json"] + options)
    let start = try #require(run.output.firstIndex(of: "{"), "\(run.output)")
    return try JSONDecoder().decode(Score.self, from: Data(run.output[start...].utf8))
  }

  /// Of the newest checkpoint's averaged parameters.
  private func digest(_ name: String) throws -> String {
    let run = try ProgramRun(
      "reformer-train", arguments: ["inspect", tiny.output(name), "--json"])
    let found = run.output.firstMatch(of: /"averaged_parameters_sha256" : "([0-9a-f]{64})"/)?.1
    return String(try #require(found, "\(run.output)"))
  }

  @Test("they have a score of their own, the same in training and later, at any rank count")
  func scores() throws {
    let metrics = try String(
      contentsOfFile: tiny.output("run") + "/metrics.jsonl", encoding: .utf8)
    let scores = metrics.matches(of: /"averaged_validation_bits_per_byte":([0-9.]+)/).map {
      Double($0.1)
    }
    #expect(scores.count == 2)
    let averaged = try evaluate(["--averaged"])
    #expect(averaged.averaged && averaged.bits_per_byte == scores.last)
    #expect(try evaluate(["--averaged"], ranks: 3).bits_per_byte == averaged.bits_per_byte)
    let last = try evaluate([])
    #expect(!last.averaged && last.bits_per_byte != averaged.bits_per_byte)
    #expect(metrics.contains("\"validation_bits_per_byte\":\(last.bits_per_byte)"))
    let page = try String(contentsOfFile: tiny.output("run") + "/report.html", encoding: .utf8)
    #expect(page.contains("data-metric=\"averaged_validation_bits_per_byte\""))
  }

  @Test("their bits do not depend on ranks, background checkpoints and interruptions")
  func bits() throws {
    let expected = try digest("run")
    let parameters = try tiny.digest("run")
    for (name, ranks, more) in [
      ("ranks2", 2, ["--set", "run.evaluate_every=3"]),
      ("ranks4", 4, ["--set", "run.background_checkpoints=true", "--set", "run.overlap=false"]),
    ] {
      let run = try tiny.train(name, ranks: ranks, Self.average + more)
      #expect(run.status == 0, "\(run.output)")
      #expect(try digest(name) == expected, "\(name)")
      #expect(try tiny.digest(name) == parameters, "\(name)")
    }
    for (ranks, more) in [(2, ["--steps", "7"]), (4, ["--steps", "13"]), (1, [])] {
      let run = try tiny.train(
        "resumed", ranks: ranks, Self.average + ["--resume", "auto"] + more)
      #expect(run.status == 0, "\(run.output)")
    }
    #expect(try digest("resumed") == expected)
    // The parameters themselves do not know of them.
    #expect(try tiny.train("without").status == 0)
    #expect(try tiny.digest("without") == parameters)
  }

  @Test("where none are kept they cannot be asked for, and a run cannot begin to keep them")
  func refused() throws {
    #expect(try tiny.train("without", ["--steps", "5"]).status == 0)
    let prompt = ["--prompt", "a", "--bytes", "1"]
    for command in [["evaluate"], ["generate"] + prompt, ["export", "--to", tiny.output("to")]] {
      let run = try ProgramRun(
        "reformer-train",
        arguments: [command[0], tiny.output("without"), "--averaged"] + command.dropFirst())
      #expect(run.status == 2 && run.output.contains("optimizer.average = 0"), "\(run.output)")
    }
    let resumed = try tiny.train("without", ["--resume", "auto"] + Self.average)
    #expect(
      resumed.status == 2 && resumed.output.contains("optimizer.average"), "\(resumed.output)")
  }
}
