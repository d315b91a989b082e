// Whole runs of model.residual = "plain": the same bits however a run is cut, and what other commands make of it.
import Foundation
import TestSupport
import Testing

@Suite("Runs with plain residuals", .serialized)
struct PlainRunTests {
  let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private static let keys = [
    "--set", "model.residual=plain", "--set", "model.layers=[local, full]", "--set",
    "model.ngrams.orders=[]",
  ]

  private func train(_ name: String, ranks: Int? = nil, _ more: [String] = []) throws {
    let run = try tiny.train(name, ranks: ranks, Self.keys + more)
    try #require(run.status == 0, "\(run.output)")
  }

  private func command(_ arguments: [String]) throws -> ProgramRun {
    try ProgramRun("reformer-train", arguments: arguments)
  }

  @Test("ranks, threads and interruptions do not enter the bits", .needs(.mpirun))
  func sameBits() throws {
    try train("whole")
    for (ranks, threads, cut) in [(2, 2, 7), (4, 1, 13)] {
      let more = ["--set", "run.threads=\(threads)", "--resume", "auto"]
      try train("ranks\(ranks)", ranks: ranks, more + ["--steps", "\(cut)"])
      try train("ranks\(ranks)", more)
      #expect(try tiny.digest("ranks\(ranks)") == tiny.digest("whole"))
    }
    let other = try tiny.train(
      "whole", Self.keys + ["--resume", "auto", "--set", "model.residual=reversible"])
    #expect(other.status == 2 && other.output.contains("model.residual"), "\(other.output)")
    try train("reversible", ["--set", "model.residual=reversible"])
    #expect(try tiny.digest("reversible") != tiny.digest("whole"))
  }

  @Test("audit finds strict layers strict, text goes on, a file comes back; there is no export")
  func commands() throws {
    try train("run")
    let run = tiny.output("run")
    let audit = try command(["audit", run, "--windows", "2", "--json"])
    #expect(audit.status == 0, "\(audit.output)")
    #expect(audit.output.contains("\"claims_strict\" : true"), "\(audit.output)")
    #expect(audit.output.contains("\"changed_share\" : 0"), "\(audit.output)")
    let text = try command(["generate", run, "--prompt", "the bucket", "--bytes", "5"])
    #expect(text.status == 0, "\(text.output)")
    let file = try tiny.folder.write("file", text: TinyRun.text(bytes: 400))
    let (small, back) = (tiny.folder.path("small"), tiny.folder.path("back"))
    let packed = try command(["compress", file, "--with", run, "--output", small])
    #expect(packed.status == 0, "\(packed.output)")
    let unpacked = try command(["decompress", small, "--with", run, "--output", back])
    #expect(unpacked.status == 0, "\(unpacked.output)")
    #expect(FileManager.default.contentsEqual(atPath: file, andPath: back))
    let left = try command(["evaluate", run, "--without", "local"])
    #expect(left.status == 0, "\(left.output)")
    let export = try command(["export", run, "--to", tiny.folder.path("exported")])
    #expect(export.status == 2 && export.output.contains("model.residual = \"plain\""))
  }
}
