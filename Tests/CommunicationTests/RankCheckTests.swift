// Real ranks: runs the `rank-check` program, which lies beside the test bundle, under mpirun.
import Foundation
import TestSupport
import Testing

@Suite(
  "Ranks under mpirun", .serialized,
  .needs(.mpirun))
struct RankCheckTests {
  @Test("every operation holds on real ranks", arguments: [1, 2, 3])
  func checks(ranks: Int) throws {
    let run = try ProgramRun("rank-check", ranks: ranks, arguments: [])
    #expect(run.status == 0, "\(run.output)")
    let lastLine = run.output.split(separator: "\n").last ?? ""
    let counts = try #require(
      lastLine.wholeMatch(of: /(\d+) passed, (\d+) failed/), "no count in: \(run.output)")
    #expect(counts.2 == "0", "\(run.output)")
    // 17 claims or more for each of 3 piece sizes on every rank: none was skipped.
    #expect((Int(counts.1) ?? 0) >= 51 * ranks)
  }

  @Test("what a look at messages under way costs does not grow with the ranks", arguments: [4, 16])
  func looks(ranks: Int) throws {
    let run = try ProgramRun("rank-check", ranks: ranks, arguments: ["looks"])
    #expect(run.status == 0, "\(run.output)")
    let line = try #require(
      run.output.firstMatch(of: /at most (\d+) tests a look, ([\d.]+) in the mean; contents right/),
      "\(run.output)")
    // Four looks at four messages in line and four others.
    #expect((Int(line.1) ?? 0) <= 32 && (Double(line.2) ?? 0) >= 4, "\(run.output)")
  }

  @Test("abort on one rank ends all of them with its code")
  func abort() throws {
    // A rank left behind would wait until the time limit of mpirun, whose code is another one.
    let run = try ProgramRun("rank-check", ranks: 3, arguments: ["abort"])
    #expect(run.status == 7, "\(run.output)")
  }
}
