// Muon and Adafactor in whole runs of the program: the same bits however a run is cut, though a rank owns whole groups.
import Foundation
import TestSupport
import Testing

@Suite("Runs with other optimizers", .serialized, .needs(.mpirun))
struct OptimizerRunTests {
  let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private func options(_ kind: String, _ more: [String] = []) -> [String] {
    ["--set", "optimizer.kind=\(kind)"] + more
  }

  @Test(
    "any number of ranks and threads, and a resume with others, end with the same parameters",
    arguments: ["muon", "adafactor"])
  func sameBits(kind: String) throws {
    try require(tiny.train("alone", options(kind)))
    let expected = try tiny.digest("alone")
    #expect(expected.count == 2 && expected.contains("\"step\" : 20,"))
    for (name, ranks, more) in [
      ("two", 2, ["--set", "run.threads=2"]),
      ("four", 4, ["--set", "run.background_checkpoints=true", "--set", "run.overlap=false"]),
      ("threads", 1, ["--set", "run.threads=3"]),
    ] {
      try require(tiny.train(name, ranks: ranks, options(kind, more)))
      #expect(try tiny.digest(name) == expected, "\(name)")
    }
    for (ranks, steps) in [(2, "7"), (4, "13"), (1, "20")] {
      let run = try tiny.train(
        "resumed", ranks: ranks, options(kind, ["--resume", "auto", "--steps", steps]))
      try require(run)
    }
    #expect(try tiny.digest("resumed") == expected)
    try require(tiny.train("adam"))
    #expect(try tiny.digest("adam") != expected)
  }

  @Test(
    "three ranks, averages and a resume with one rank, too", arguments: ["muon", "adafactor"])
  func threeRanks(kind: String) throws {
    let batch = ["--set", "run.global_batch=3", "--set", "optimizer.average=0.8"]
    try require(tiny.train("alone", options(kind, batch)))
    try require(tiny.train("three", ranks: 3, options(kind, batch + ["--steps", "11"])))
    try require(tiny.train("three", options(kind, batch + ["--resume", "auto"])))
    #expect(try tiny.digest("three") == tiny.digest("alone"))
    func averaged(_ name: String) throws -> String {
      let run = try ProgramRun(
        "reformer-train", arguments: ["inspect", tiny.output(name), "--json"])
      let found = run.output.firstMatch(of: /"averaged_parameters_sha256" : "([0-9a-f]{64})"/)?.1
      return String(try #require(found, "\(run.output)"))
    }
    #expect(try averaged("three") == averaged("alone"))
  }

  @Test("a run goes on with the optimizer that it began with")
  func anotherKind() throws {
    try require(tiny.train("run", options("muon", ["--steps", "5"])))
    for kind in ["adam", "adafactor"] {
      let run = try tiny.train("run", options(kind, ["--resume", "auto"]))
      #expect(run.status == 2, "\(run.output)")
      #expect(
        run.output.contains("optimizer.kind: \"muon\" in the checkpoint, \"\(kind)\" now"),
        "\(run.output)")
    }
    let momentum = ["--resume", "auto", "--set", "optimizer.momentum=0.9"]
    let run = try tiny.train("run", options("muon", momentum))
    #expect(run.status == 0 && run.output.contains("optimizer.momentum"), "\(run.output)")
  }

  private func require(_ run: ProgramRun) throws {
    try #require(run.status == 0, "\(run.output)")
  }
}
