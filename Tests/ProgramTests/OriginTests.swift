// What a checkpoint tells of its origin, and what a resume makes of it: another build, another machine.
import Foundation
import TestSupport
import Testing

@Suite("Origin of a checkpoint", .serialized)
struct OriginTests {
  let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  /// Trains alone into `run`, which must do.
  @discardableResult
  private func train(_ more: String...) throws -> ProgramRun {
    let run = try tiny.train("run", more)
    try #require(run.status == 0, "\(more): \(run.output)")
    return run
  }

  @Test("a checkpoint tells of corpus, program, machine and the one it was resumed from")
  func origin() throws {
    try train("--steps", "5")
    try train("--resume", "auto", "--steps", "7")
    let text = try ProgramRun(
      "reformer-train", arguments: ["inspect", tiny.output("run"), "--json"]
    ).output
    struct Report: Decodable {
      struct Corpus: Decodable { let bytes: Int }
      struct Origin: Decodable {
        struct Program: Decodable { let version, commit, executable_sha256: String }
        struct Parent: Decodable {
          let checkpoint, manifest_sha256: String
          let at_step: Int
        }
        struct Dependence: Decodable { let matrix_products: String }
        struct Machine: Decodable { let instruction_set, processor, system, c_library: String }
        let program: Program
        let resumed_from: Parent
        let bits_depend_on: Dependence
        let bits_do_not_depend_on: Machine
      }
      let corpus: Corpus
      let origin: Origin
      let skipped: [String]
    }
    let report = try JSONDecoder().decode(Report.self, from: Data(text.utf8))
    func sha256(_ file: String) throws -> String? {
      let sum = try ProgramRun(executable: "/usr/bin/env", arguments: ["sha256sum", file])
      return sum.output.split(separator: " ").first.map(String.init)
    }
    let size = try Data(contentsOf: URL(fileURLWithPath: tiny.folder.path("corpus"))).count
    #expect(report.corpus.bytes == size && report.skipped.isEmpty)
    let origin = report.origin
    #expect(try origin.program.executable_sha256 == sha256(ProgramRun.path("reformer-train")))
    let isCheckout = FileManager.default.fileExists(atPath: ProgramRun.launchFolder + "/../.git")
    #expect(
      isCheckout
        ? origin.program.commit.contains(/^[0-9a-f]{40}\+?$/)
        : origin.program.commit == "unknown")
    #expect(origin.resumed_from.at_step == 5)
    #expect(origin.resumed_from.checkpoint == tiny.output("run/step-00000005"))
    #expect(
      try origin.resumed_from.manifest_sha256
        == sha256(tiny.output("run/step-00000005/manifest.json")))
    #expect(origin.bits_depend_on.matrix_products == "products of tiles")
    let machine = origin.bits_do_not_depend_on
    #expect(machine.c_library.hasPrefix("glibc ") && machine.system.hasPrefix("Linux "))
    #expect(!machine.processor.isEmpty && !machine.instruction_set.isEmpty)
  }

  @Test("a node needs no Swift to start the program")
  func libraries() throws {
    let run = try ProgramRun(
      executable: "/usr/bin/env", arguments: ["ldd", ProgramRun.path("reformer-train")])
    #expect(run.status == 0 && run.output.contains("libmpi"), "\(run.output)")
    #expect(!run.output.contains("libswift") && !run.output.contains("libFoundation"))
  }

  @Test("a resume on a machine that the bits depend on is refused, or said to be")
  func otherMachine() throws {
    func train(core: String, _ more: [String]) throws -> ProgramRun {
      // No processor of today is one of these, and all run their kernels.
      try ProgramRun(
        "reformer-train",
        arguments: ["train", "--config", tiny.config, "--output", tiny.output("run")] + more,
        environment: ["OPENBLAS_CORETYPE": core])
    }
    let openBLAS = ["--set", "run.matrix_products=openblas"]
    let resume = ["--resume", "auto", "--steps", "3"]
    #expect(try train(core: "Nehalem", openBLAS + ["--steps", "2"]).status == 0)
    let other = try train(core: "Core2", openBLAS + resume)
    #expect(other.status == 2, "\(other.output)")
    #expect(other.output.contains("trained with matrix products of OpenBLAS"), "\(other.output)")
    #expect(other.output.contains("--allow-mixed-machines"))
    let allowed = try train(
      core: "Core2", openBLAS + resume + ["--allow-mixed-machines"])
    #expect(allowed.status == 0 && allowed.output.contains("notice: it was"), "\(allowed.output)")
    // Another choice in the config is the user's, and said.
    let chosen = try train(core: "Core2", ["--resume", "auto", "--steps", "4"])
    #expect(chosen.status == 0, "\(chosen.output)")
    #expect(chosen.output.contains("changed since: run.matrix_products"), "\(chosen.output)")
    // Products of tiles are our own.
    let own = try train(core: "Nehalem", ["--resume", "auto", "--steps", "5"])
    #expect(own.status == 0 && !own.output.contains("notice: "), "\(own.output)")
  }

  @Test("another order of bf16 sums is the user's choice, said and on record")
  func orders() throws {
    let bf16 = ["--set", "model.precision=bf16"]
    #expect(try tiny.train("run", bf16 + ["--steps", "2"]).status == 0)
    let amx = bf16 + ["--set", "run.matrix_products=amx"]
    let run = try tiny.train("run", amx + ["--resume", "auto", "--steps", "3"])
    #expect(run.status == 0 && run.output.contains("changed since: run.matrix_products"))
    let inspected = try ProgramRun(
      "reformer-train", arguments: ["inspect", tiny.output("run"), "--json"])
    #expect(inspected.output.contains("products of AMX tiles"), "\(inspected.output)")
  }

  /// A copy of the program that differs in one byte, which nobody runs.
  private func otherBuild() throws -> String {
    let other = tiny.folder.path("other-build")
    try FileManager.default.copyItem(
      atPath: ProgramRun.path("reformer-train"), toPath: other)
    let file = try #require(FileHandle(forWritingAtPath: other))
    try file.seekToEnd()
    try file.write(contentsOf: Data([0]))
    try file.close()
    return other
  }

  @Test("ranks of two builds do not train together", .needs(.mpirun))
  func ranksOfTwoBuilds() throws {
    let arguments = ["train", "--config", tiny.config, "--output", tiny.output("run")]
    let run = try ProgramRun(
      "reformer-train", ranks: 1,
      arguments: arguments + [":", "-np", "1", try otherBuild()] + arguments)
    #expect(run.status == 2, "\(run.output)")
    #expect(run.output.contains("error: rank 1 has program "), "\(run.output)")
    #expect(!FileManager.default.fileExists(atPath: tiny.output("run")))
  }

  @Test("a resume by another build says so, by the same one does not")
  func resumeByAnotherBuild() throws {
    try train("--steps", "2")
    let same = try train("--resume", "auto", "--steps", "3")
    #expect(!same.output.contains("was written by"), "\(same.output)")
    let other = try ProgramRun(
      executable: otherBuild(),
      arguments: [
        "train", "--config", tiny.config, "--output", tiny.output("run"), "--resume", "auto",
        "--steps", "4",
      ])
    #expect(other.status == 0, "\(other.output)")
    #expect(other.output.contains("was written by program "), "\(other.output)")
  }
}
