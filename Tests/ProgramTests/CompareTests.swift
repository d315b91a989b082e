// `compare`: variants trained in turn, interrupted and gone on with, and the tables of what they came to.
import Foundation
import TestSupport
import Testing

@Suite("Comparisons")
struct CompareTests {
  let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private func spec(
    _ name: String, budget: String = "bytes = 3600", variants: [(String, String)]
  ) throws -> String {
    let tables = variants.map { "[[variant]]\nname = \"\($0.0)\"\nset = [\($0.1)]\n" }
    return try tiny.folder.write(
      "\(name).toml",
      text: """
        base = "\(tiny.config)"
        output = "\(tiny.output(name))"
        seeds = [1, 2]
        \(budget)
        \(tables.joined())
        """)
  }

  private static let two = [("base", ""), ("local", "\"model.layers=[local, local, local]\"")]

  private struct Report: Decodable {
    struct Figure: Decodable { let mean, least, most: Double }
    struct Sight: Decodable {
      let seen_from, seen_to: Int
      let bits_per_byte: Double
    }
    struct Row: Decodable {
      let variant: String
      let runs: Int
      let prequential, validation, difference: Figure?
      let test, trained_bytes, bytes_per_second, peak_rss_bytes: Figure
      let is_tie: Bool?
      let positions: [Sight]
    }
    struct Table: Decodable {
      let bytes, seconds: Int?
      let rows: [Row]
    }
    let budgets: [Table]
  }

  private func report(_ output: String) throws -> Report {
    let start = try #require(output.range(of: "{\n"))
    return try JSONDecoder().decode(Report.self, from: Data(output[start.lowerBound...].utf8))
  }

  @Test("a comparison that was stopped goes on, and its tables hold what its runs came to")
  func wholeAndStopped() throws {
    let spec = try spec("whole", variants: Self.two)
    let stopped = try ProgramRun(
      "reformer-train", arguments: ["compare", spec], when: "run 3 of 4"
    ) { kill($0.processIdentifier, SIGTERM) }
    #expect(stopped.status == 0, "\(stopped.output)")
    #expect(stopped.output.contains("the same command goes on with base-3600-bytes-seed-2"))
    let run = try ProgramRun("reformer-train", arguments: ["compare", spec, "--json"])
    try #require(run.status == 0, "\(run.output)")
    #expect(!run.output.contains("run 2 of 4") && run.output.contains("run 4 of 4"))
    // The runs are those that train makes.
    let alone = try tiny.train("alone", ["--set", "run.seed=2", "--set", "run.steps=10"])
    #expect(alone.status == 0)
    #expect(try tiny.digest("whole/base-3600-bytes-seed-2") == tiny.digest("alone"))

    let table = try #require(report(run.output).budgets.first)
    #expect(table.bytes == 3600 && table.seconds == nil)
    let (base, local) = (table.rows[0], table.rows[1])
    func test(_ name: String) throws -> Double {
      let evaluation = try ProgramRun(
        "reformer-train", arguments: ["evaluate", tiny.output("whole/" + name), "--json"])
      return try #require(
        evaluation.output.firstMatch(of: /"bits_per_byte" : ([0-9.]+)/).flatMap { Double($0.1) })
    }
    let scores = try [
      "base-3600-bytes-seed-1", "base-3600-bytes-seed-2", "local-3600-bytes-seed-1",
      "local-3600-bytes-seed-2",
    ].map(test)
    let differences = [scores[2] - scores[0], scores[3] - scores[1]]
    #expect(base.variant == "base" && base.runs == 2 && base.difference == nil)
    #expect(abs(base.test.mean - (scores[0] + scores[1]) / 2) < 1e-9)
    #expect(local.test.least == min(scores[2], scores[3]))
    #expect(try abs(#require(local.difference).most - max(differences[0], differences[1])) < 1e-9)
    #expect(local.is_tie == (differences[0] * differences[1] <= 0))
    #expect(base.trained_bytes.mean == 3600 && base.bytes_per_second.mean > 0)
    // A whole program of our own is more than ten megabytes, and a quantity that is learnt from is below 8 bits.
    #expect((1...8).contains(try #require(base.prequential).mean))
    #expect(base.peak_rss_bytes.least > 1e7)
    #expect(base.positions.map(\.seen_from) == [1, 64] && base.positions[1].seen_to == 90)

    let again = try ProgramRun("reformer-train", arguments: ["compare", spec])
    #expect(again.status == 0 && !again.output.contains("run 1 of"), "\(again.output)")
    #expect(again.output.contains("| local | 2 | "))
    let page = try String(
      contentsOfFile: tiny.output("whole/compare.html"), encoding: .utf8)
    #expect(page.contains("after 3600 bytes") && page.contains("local-3600-bytes-seed-2"))
    // The same name for something else.
    let other = try self.spec(
      "whole", variants: [("base", "\"optimizer.learning_rate=0.01\""), Self.two[1]])
    let refused = try ProgramRun("reformer-train", arguments: ["compare", other])
    #expect(refused.status == 2, "\(refused.output)")
    #expect(
      refused.output.contains("base-3600-bytes-seed-1 holds a run with optimizer.learning_rate"))
  }

  @Test("ranks train each variant together, to the same score", .needs(.mpirun))
  func ranks() throws {
    let one = [("base", "")]
    let alone = try ProgramRun(
      "reformer-train", arguments: ["compare", spec("alone", variants: one), "--json"])
    let together = try ProgramRun(
      "reformer-train", ranks: 2,
      arguments: ["compare", spec("together", variants: one), "--json"])
    #expect(together.status == 0, "\(together.output)")
    let scores = try [alone, together].map { try report($0.output).budgets[0].rows[0].test.mean }
    #expect(scores[0] == scores[1])
  }

  @Test("seconds say how many steps a run has")
  func seconds() throws {
    let spec = try spec("timed", budget: "seconds = 3", variants: [("base", "")])
    let run = try ProgramRun("reformer-train", arguments: ["compare", spec, "--json"])
    #expect(run.status == 0, "\(run.output)")
    let table = try report(run.output).budgets[0]
    #expect(table.seconds == 3 && table.rows[0].trained_bytes.mean > 0)
  }

  @Test("what is wrong with a comparison is named before anything starts")
  func refusals() throws {
    let local = Self.two[1]
    for (budget, variants, message) in [
      ("bytes = 3600", [local, local], "two variants are called local"),
      ("bytes = 0", [local], "bytes = 0; legal values: a whole number from 1"),
      ("", [local], "give bytes or seconds"),
      ("steps = 5", [local], "unknown key steps; legal keys: base"),
      ("bytes = 9", [("a/b", "")], "variant.name"),
      ("bytes = 9", [("a", "\"model.width=0\"")], "variant a: --set model.width=0"),
      ("bytes = 9", [("a", "\"model.widht=8\"")], "did you mean model.width?"),
      ("bytes = 9", [("a", "3")], "variant.set"),
    ] {
      let spec = try spec("refused", budget: budget, variants: variants)
      let run = try ProgramRun("reformer-train", arguments: ["compare", spec])
      #expect(run.status == 2 && run.output.contains(message), "\(message): \(run.output)")
      #expect(!FileManager.default.fileExists(atPath: tiny.output("refused")))
    }
  }
}
