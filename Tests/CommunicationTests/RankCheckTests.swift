// Real ranks: runs the `rank-check` program, which lies beside the test bundle, under mpirun.
import Foundation
import Testing

@Suite(
  "Ranks under mpirun", .serialized,
  .enabled(if: MPIRun.path != nil, "mpirun is not installed"))
struct RankCheckTests {
  @Test("every operation holds on real ranks", arguments: [1, 2, 3])
  func checks(ranks: Int) throws {
    let run = try MPIRun(ranks: ranks, arguments: [])
    #expect(run.status == 0, "\(run.output)")
    let lastLine = run.output.split(separator: "\n").last ?? ""
    let counts = try #require(
      lastLine.wholeMatch(of: /(\d+) passed, (\d+) failed/), "no count in: \(run.output)")
    #expect(counts.2 == "0", "\(run.output)")
    // 17 claims or more for each of 3 piece sizes on every rank: none was skipped.
    #expect((Int(counts.1) ?? 0) >= 51 * ranks)
  }

  @Test("abort on one rank ends all of them with its code")
  func abort() throws {
    // A rank left behind would wait until the time limit of mpirun, whose code is another one.
    let run = try MPIRun(ranks: 3, arguments: ["abort"])
    #expect(run.status == 7, "\(run.output)")
  }
}

/// One finished run of `rank-check`.
struct MPIRun {
  let status: Int32
  let output: String

  static let path = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    .map { "\($0)/mpirun" }
    .first { FileManager.default.isExecutableFile(atPath: $0) }

  init(ranks: Int, arguments: [String]) throws {
    let program = try Self.program()
    let process = Process()
    process.executableURL = URL(fileURLWithPath: try #require(Self.path))
    var options = ["-np", "\(ranks)", "--oversubscribe", "--bind-to", "none", "--timeout", "120"]
    if geteuid() == 0 { options.append("--allow-run-as-root") }
    process.arguments = options + [program] + arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    status = process.terminationStatus
  }

  /// `rank-check` in the build folder this test runs from.
  private static func program() throws -> String {
    let tests = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    let program = tests.deletingLastPathComponent().appendingPathComponent("rank-check").path
    try #require(
      FileManager.default.isExecutableFile(atPath: program), "no program at \(program)")
    return program
  }
}
