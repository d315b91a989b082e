// How runs end that cannot go on: what was due is saved, and what is being written is finished.
import Foundation
import TestSupport
import Testing

@Suite("Ends of runs", .serialized, .needs(.mpirun))
struct RunEndTests {
  let tiny: TinyRun
  let corpora: [String]

  /// Validation has a file of its own, so that it can fail alone.
  init() throws {
    let tiny = try TinyRun()
    self.tiny = tiny
    let text = Array(TinyRun.text(bytes: 12_000).utf8)
    corpora = try [0..<9600, 9600..<10_800, 10_800..<12_000].enumerated().map {
      try tiny.folder.write("part\($0)", text[$1])
    }
  }

  private func train(_ name: String, ranks: Int?, _ more: [String]) throws -> ProgramRun {
    let list = "[" + corpora.map { "\"\($0)\"" }.joined(separator: ",") + "]"
    return try ProgramRun(
      "reformer-train", ranks: ranks,
      arguments: [
        "train", "--config", tiny.config, "--output", tiny.output(name), "--set",
        "data.corpus=\(list)", "--set", "data.split=[0.8,0.1,0.1]", "--set", "run.steps=5000",
        "--set", "run.evaluate_every=400", "--set", "run.log_every=100",
      ] + more, when: "run folder"
    ) { _ in
      // Long before step 400.
      try? Data("other".utf8).write(to: URL(fileURLWithPath: corpora[1]))
    }
  }

  @Test(
    "an evaluation that fails ends the run, with the checkpoint that is due and the one being written",
    arguments: [
      (nil, ["--set", "run.checkpoint_every=400"]), (2, ["--set", "run.checkpoint_every=0"]),
      (
        2,
        [
          "--set", "run.checkpoint_every=399", "--set", "run.background_checkpoints=true", "--set",
          "run.keep=9",
        ]
      ),
    ])
  func evaluation(ranks: Int?, options: [String]) throws {
    let run = try train("run", ranks: ranks, options)
    #expect(run.status == 2, "\(run.output)")
    let errors = run.output.split(separator: "\n").filter { $0.hasPrefix("error: ") }
    #expect(errors.count == 1, "\(run.output)")
    #expect(errors.first?.contains("evaluation: ") == true, "\(errors)")
    #expect(errors.first?.contains(corpora[1]) == true, "\(errors)")
    let verified = try ProgramRun(
      "reformer-train", arguments: ["inspect", tiny.output("run"), "--verify"])
    #expect(verified.status == 0, "\(verified.output)")
    #expect(verified.output.contains("step-00000400: all files"), "\(verified.output)")
    if options.count > 2 {
      #expect(verified.output.contains("step-00000399: all files"), "\(verified.output)")
    }
    let names = try FileManager.default.contentsOfDirectory(atPath: tiny.output("run"))
    #expect(!names.contains { $0.hasSuffix(".partial") }, "\(names)")
  }
}
