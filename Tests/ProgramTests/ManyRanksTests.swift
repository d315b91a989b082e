// The promise at scale: the same parameters, bit for bit, at any number of ranks, overlapped or
// not, on one host or two; and what becomes of a run that loses a rank or a cable.
import Foundation
import TestSupport
import Testing

@Suite(
  "Many ranks", .serialized, .needs(.mpirun))
struct ManyRanksTests {
  let tiny: TinyRun
  static let batch = ["--set", "run.global_batch=8"]

  init() throws { tiny = try TinyRun() }

  private func arguments(_ name: String, _ more: [String]) -> [String] {
    ["train", "--config", tiny.config, "--output", tiny.output(name)] + Self.batch + more
  }

  private func onTwoHosts(
    _ name: String, _ more: [String] = [], options: [String] = [], when text: String? = nil,
    act: (Process) -> Void = { _ in }
  ) throws -> ProgramRun {
    try ProgramRun(
      "reformer-train", twoHosts: options, arguments: arguments(name, more), when: text, act: act)
  }

  @Test("1, 2, 4 and 8 ranks end with the same parameters, overlapped or not")
  func ranks() throws {
    #expect(try tiny.train("alone", Self.batch).status == 0)
    let expected = try tiny.digest("alone")
    #expect(expected.contains("\"step\" : 20,") && expected.count == 2, "\(expected)")
    for ranks in [2, 4, 8] {
      let run = try tiny.train("ranks\(ranks)", ranks: ranks, Self.batch)
      #expect(run.status == 0, "\(run.output)")
      #expect(try tiny.digest("ranks\(ranks)") == expected, "\(ranks) ranks")
    }
    let plain = try tiny.train("plain", ranks: 4, Self.batch + ["--set", "run.overlap=false"])
    #expect(plain.status == 0, "\(plain.output)")
    #expect(try tiny.digest("plain") == expected)
  }

  @Test(
    "two hosts over TCP end with the parameters of one rank",
    .needs(.twoHosts))
  func twoHosts() throws {
    #expect(try tiny.train("alone", Self.batch).status == 0)
    for (name, more) in [("over", []), ("plain", ["--set", "run.overlap=false"])] {
      let run = try onTwoHosts(name, more, options: ["--rate", "1gbit"])
      #expect(run.status == 0, "\(run.output)")
      #expect(try tiny.digest(name) == tiny.digest("alone"))
    }
  }

  // Long enough to be still running when a test interferes; the limit is short to keep the test so.
  private static let long = [
    "--set", "run.steps=5000", "--set", "run.checkpoint_every=20", "--set",
    "run.wait_limit_seconds=3",
  ]

  /// Expects that a disturbed run ended with the message, and that it goes on to the parameters of
  /// an undisturbed one.
  private func expectRecovery(of name: String, _ run: ProgramRun) throws {
    #expect(
      run.output.contains(/error: rank \d: .* failed on rank \d: no answer for 3 s/),
      "\(run.output)")
    let rest = try tiny.train(
      name, ranks: 2, Self.batch + Self.long + ["--resume", "auto", "--steps", "60"])
    #expect(rest.status == 0, "\(rest.output.suffix(300))")
    #expect(rest.output.contains("resuming"))
    let undisturbed = try tiny.train("undisturbed", Self.batch + Self.long + ["--steps", "60"])
    #expect(undisturbed.status == 0, "\(undisturbed.output.suffix(300))")
    #expect(try tiny.digest(name) == tiny.digest("undisturbed"))
  }

  @Test(
    "a cut cable ends the ranks on both hosts, and the run goes on from its checkpoint",
    .needs(.twoHosts))
  func cutCable() throws {
    let cable = "cut\(getpid() % 100_000)"
    var isCut = false
    let run = try onTwoHosts("cut", Self.long, options: ["--name", cable], when: "step 30/") { _ in
      let cut = Process()
      cut.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      cut.arguments = ["ip", "-n", "\(cable)a", "link", "set", "\(cable)a", "down"]
      do {
        try cut.run()
        cut.waitUntilExit()
        isCut = cut.terminationStatus == 0
      } catch {
        Issue.record(error)
      }
    }
    #expect(isCut)
    #expect(run.status == 1, "\(run.output)")
    #expect(!run.output.contains("still running"), "\(run.output)")
    try expectRecovery(of: "cut", run)
  }

  @Test("a rank that hangs ends the others, and the run goes on from its checkpoint")
  func hungRank() throws {
    let run = try ProgramRun(
      "reformer-train", ranks: 2, arguments: arguments("hung", Self.long), when: "step 30/"
    ) { mpirun in
      let ranks = Self.children(of: mpirun.processIdentifier)
      #expect(ranks.count == 2)
      if let rank = ranks.max() { kill(rank, SIGSTOP) }
    }
    #expect(run.status == 1, "\(run.output)")
    try expectRecovery(of: "hung", run)
  }

  @Test(
    "before the first step, too, a rank that hangs ends the others, and one that is busy does not")
  func beforeTheFirstStep() throws {
    // Rank 0 waits in vain for the folder, 10 s, while the others are there for it; then one is not.
    for isHung in [false, true] {
      var waiting: ProgramRun?
      let endless = arguments("taken", ["--set", "run.steps=1000000", "--resume", "auto"])
      let first = try ProgramRun(
        "reformer-train", arguments: endless, when: "step "
      ) { holder in
        waiting = try? ProgramRun(
          "reformer-train", ranks: 2, arguments: arguments("taken", Self.long + ["--resume"]),
          when: "waiting for another run"
        ) { mpirun in
          guard isHung, let rank = Self.children(of: mpirun.processIdentifier).max() else { return }
          kill(rank, SIGSTOP)
        }
        holder.terminate()
      }
      #expect(first.status == 0, "\(first.output)")
      let run = try #require(waiting)
      #expect(run.status == (isHung ? 1 : 2), "\(run.output)")
      #expect(
        run.output.contains(isHung ? "no answer for 3 s" : "another run writes here"),
        "\(run.output)")
    }
  }

  private static func children(of parent: Int32) -> [Int32] {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return entries.compactMap { Int32($0) }.filter { process in
      let status = try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
      return status?.contains("PPid:\t\(parent)\n") == true
    }
  }

  @Test("ranks of different instruction sets train together, to the bits of one alone")
  func mixedInstructions() throws {
    let own = ["--steps", "4"]
    #expect(try tiny.train("best", Self.batch + own).status == 0)
    let mixed = arguments("mixed", own)
    let run = try ProgramRun(
      "reformer-train", ranks: 1,
      arguments: mixed + [
        ":", "-np", "1", "-x", "REFORMER_INSTRUCTIONS=portable", ProgramRun.path("reformer-train"),
      ] + mixed)
    #expect(run.status == 0, "\(run.output)")
    #expect(!run.output.contains("notice: rank 1"), "\(run.output)")
    #expect(try tiny.digest("mixed") == tiny.digest("best"))
  }

  @Test("ranks with different kernels of OpenBLAS refuse to start, or say what depends on them")
  func mixedMachines() throws {
    // No processor of today is a Nehalem, and all run its kernels.
    let openBLAS = ["--set", "run.matrix_products=openblas", "--steps", "2"]
    func train(_ name: String, _ more: [String]) throws -> ProgramRun {
      let own = arguments(name, openBLAS + more)
      return try ProgramRun(
        "reformer-train", ranks: 1,
        arguments: own
          + [":", "-np", "1", "-x", "OPENBLAS_CORETYPE=Nehalem", ProgramRun.path("reformer-train")]
          + own)
    }
    let refused = try train("refused", [])
    #expect(refused.status == 2, "\(refused.output)")
    #expect(
      refused.output.contains("error: rank 1 has matrix products OpenBLAS"), "\(refused.output)")
    #expect(refused.output.contains("--allow-mixed-machines"))
    #expect(!FileManager.default.fileExists(atPath: tiny.output("refused")))
    let allowed = try train("allowed", ["--allow-mixed-machines"])
    #expect(allowed.status == 0, "\(allowed.output)")
    #expect(allowed.output.contains("notice: rank 1 has matrix products OpenBLAS"))
    #expect(try tiny.digest("allowed").count == 2)
  }
}
