// Whole runs whose gradients travel in bf16: the bits of one number of ranks, whatever else is changed.
import Foundation
import TestSupport
import Testing

@Suite("Runs with gradients in bf16 on the wire", .serialized, .needs(.mpirun))
struct WireRunTests {
  let tiny: TinyRun
  static let batch = ["--set", "run.global_batch=12"]
  static let wire = batch + ["--set", "run.wire=bf16"]

  init() throws { tiny = try TinyRun() }

  private func train(_ name: String, ranks: Int?, _ more: [String] = []) throws -> ProgramRun {
    let run = try tiny.train(name, ranks: ranks, Self.wire + more)
    #expect(run.status == 0, "\(run.output)")
    return run
  }

  @Test("one rank rounds nothing; more end with parameters of their own, and say so")
  func ranks() throws {
    #expect(try tiny.train("plain", Self.batch).status == 0)
    let plain = try tiny.digest("plain")
    let alone = try train("alone", ranks: nil)
    #expect(try tiny.digest("alone") == plain && !alone.output.contains("run.wire"))
    var digests = Set([plain])
    for ranks in [2, 3, 4] {
      // Replicas are compared before the checkpoint.
      let run = try train("ranks\(ranks)", ranks: ranks)
      #expect(run.output.contains("parameters are those of \(ranks) ranks alone"), "\(run.output)")
      digests.insert(try tiny.digest("ranks\(ranks)"))
      let other = try train(
        "other\(ranks)", ranks: ranks, ["--set", "run.overlap=false", "--set", "run.threads=2"])
      #expect(!other.output.contains("no power of two"), "\(other.output)")
      #expect(try tiny.digest("other\(ranks)") == tiny.digest("ranks\(ranks)"), "\(ranks) ranks")
    }
    #expect(digests.count == 4)
  }

  @Test("a killed run goes on to the bits of an undisturbed one, with as many ranks")
  func killed() throws {
    let long = ["--set", "run.steps=5000"]
    let killed = try ProgramRun(
      "reformer-train", ranks: 2,
      arguments: ["train", "--config", tiny.config, "--output", tiny.output("killed")] + Self.wire
        + long, when: "step 12/"
    ) { kill(ProgramRun.processes($0).last ?? 0, SIGKILL) }
    #expect(killed.status == 128 + SIGKILL, "\(killed.output.suffix(300))")
    let saved = try tiny.digest("killed").first { $0.hasPrefix("\"step\"") }
    let step = try #require(saved?.firstMatch(of: #/\d+/#).flatMap { Int($0.0) })
    let last = ["--steps", "\(step + 7)"]
    let rest = try train("killed", ranks: 2, long + ["--resume", "auto"] + last)
    #expect(rest.output.contains("resuming") && !rest.output.contains("neither number"))
    _ = try train("undisturbed", ranks: 2, long + last)
    #expect(try tiny.digest("killed") == tiny.digest("undisturbed"))
  }

  @Test("a resume may have other ranks, which it says, and no other wire")
  func resume() throws {
    _ = try train("half", ranks: 2, ["--steps", "9"])
    let other = try tiny.train("half", ranks: 2, Self.batch + ["--resume", "auto"])
    #expect(other.status == 2, "\(other.output)")
    #expect(other.output.contains("run.wire: \"bf16\" in the checkpoint, \"fp32\" now"))
    let rest = try train("half", ranks: 4, ["--resume", "auto"])
    #expect(
      rest.output.contains("4 ranks, 2 in the checkpoint: the parameters will be those of neither"),
      "\(rest.output)")
  }

  @Test("ranks that differ in it refuse to start")
  func mixed() throws {
    let own = ["train", "--config", tiny.config, "--output", tiny.output("mixed")] + Self.batch
    let run = try ProgramRun(
      "reformer-train", ranks: 1,
      arguments: own + Self.wire + [":", "-np", "1", ProgramRun.path("reformer-train")] + own)
    #expect(run.status == 2, "\(run.output)")
    #expect(run.output.contains("error: rank 1 has config"), "\(run.output)")
  }
}
