// Runs that begin with the parameters of a checkpoint: `train --from`.
import Foundation
import TestSupport
import Testing

@Suite("Runs from a checkpoint", .serialized, .needs(.mpirun))
struct StartFromTests {
  let tiny: TinyRun
  /// What Hugging Face has, too.
  private let plain = [
    "--set", "model.layers=[\"local\",\"lsh\"]", "--set", "model.ngrams.orders=[]", "--set",
    "run.evaluate_every=5", "--set", "run.evaluate_bytes=500",
  ]

  init() throws { tiny = try TinyRun() }

  private func train(_ name: String, ranks: Int? = nil, _ more: [String]) throws -> ProgramRun {
    let run = try tiny.train(name, ranks: ranks, plain + more)
    try #require(run.status == 0, "\(run.output)")
    return run
  }

  private func bits(_ run: ProgramRun, step: Int) throws -> Double {
    let pattern = try Regex<(Substring, Substring)>("step \(step)  validation ([\\d.]+) bits")
    return try #require(
      Double(run.output.firstMatch(of: pattern)?.1 ?? ""), "\(run.output)")
  }

  private func tensors(_ name: String) throws -> [String: [Float]] {
    try ModelFolder(tiny.output(name)).tensors.mapValues {
      $0.data.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
    }
  }

  @Test("what was learnt elsewhere is kept: a run from an import is ahead of one from scratch")
  func ahead() throws {
    _ = try train("first", ["--set", "run.steps=60"])
    for arguments in [
      ["export", tiny.output("first"), "--to", tiny.output("exported")],
      ["import", tiny.output("exported"), "--to", tiny.output("imported")],
    ] {
      let run = try ProgramRun("reformer-train", arguments: arguments)
      try #require(run.status == 0, "\(run.output)")
    }
    // The imported model says 96 positions, and what stands for "auto" is computed from them.
    let from = ["--from", tiny.output("imported"), "--set", "run.steps=10"]
    // What a preset is called is no part of the model.
    let named = ["--set", "model.preset=paper"]
    let scratch = try bits(train("scratch", ["--set", "run.steps=10"]), step: 10)
    let run = try train("from", from + named)
    #expect(try bits(run, step: 10) < scratch - 0.5, "\(run.output)")
    #expect(run.output.contains("starting from \(tiny.output("imported")), step 0"))

    // Nor are the numbers that products read.
    _ = try train("rounded", from + ["--set", "model.precision=bf16", "--steps", "1"])

    // On other ranks, stopped and resumed, it is the same run, and still says where it comes from.
    _ = try train("again", ranks: 2, from + ["--steps", "5"])
    let rest = try train("again", from + ["--resume", "auto"])
    #expect(!rest.output.contains("starting from"), "\(rest.output)")
    #expect(try tiny.digest("again") == tiny.digest("from"))
    let inspected = try ProgramRun("reformer-train", arguments: ["inspect", tiny.output("again")])
    #expect(inspected.output.contains("started from step 0, \(tiny.output("imported"))"))
  }

  @Test("positions are cut anew on request: row r is row r mod n of the old table")
  func positions() throws {
    _ = try train("first", ["--set", "run.steps=5"])
    let still = ["--from", tiny.output("first"), "--steps", "1", "--set"]
    let other = [
      "optimizer.learning_rate=1e-30", "--set", "optimizer.weight_decay=0", "--set",
      "model.axial_shape=[20,5]",
    ]
    let refused = try tiny.train("refused", plain + still + other)
    #expect(refused.status == 2, "\(refused.output)")
    #expect(
      refused.output.contains("model.axial_shape: [8, 12] in the checkpoint, [20, 5] now"),
      "\(refused.output)")
    #expect(
      refused.output.contains("--adapt positions")
        && refused.output.split(separator: "\n").count == 1)
    let axes = try tiny.train(
      "refused",
      plain + still + [
        "model.axial_shape=[96]", "--set", "model.axial_widths=[32]", "--adapt", "positions",
      ])
    #expect(axes.status == 2 && axes.output.contains("with as many axes"), "\(axes.output)")

    _ = try train("recut", still + other + ["--adapt", "positions"])
    let (old, new) = (
      try tensors("first/step-00000005"), try tensors("recut/step-00000001")
    )
    let table = "reformer.embeddings.position_embeddings.weights."
    for (axis, rows, width) in [("0", 20, 8), ("1", 5, 24)] {
      let (before, after) = (try #require(old[table + axis]), try #require(new[table + axis]))
      #expect(after.count == rows * width)
      #expect(
        after.indices.allSatisfy { before[$0 % before.count] == after[$0] }, "axis \(axis)")
    }
    for name in old.keys where !name.hasPrefix(table) {
      #expect(old[name] == new[name], "\(name)")
    }
  }

  @Test("the paper's sight is turned strict on request, and both scores are said")
  func sight() throws {
    _ = try train("first", ["--set", "run.steps=30"])
    let strict = ["--from", tiny.output("first"), "--set", "attention.lsh.sight=bucket"]
    let refused = try tiny.train("refused", plain + strict)
    #expect(refused.status == 2 && refused.output.contains("(--adapt sight)"), "\(refused.output)")
    let run = try train("strict", strict + ["--adapt", "sight", "--steps", "5"])
    let said = run.output.matches(
      of: /validation ([\d.]+) bits\/byte with attention.lsh.sight = (\w+)/)
    #expect(said.map { $0.2 } == ["chunks", "bucket"], "\(run.output)")
    let scored = try ProgramRun(
      "reformer-train",
      arguments: [
        "evaluate", tiny.output("first"), "--split", "validation", "--bytes", "500",
      ])
    #expect(scored.output.contains(said.first?.1 ?? "none"), "\(scored.output) \(run.output)")
  }

  @Test(
    "another model is refused by its keys",
    arguments: [
      (["model.activation=gelu"], "model.activation: \"relu\" in the checkpoint, \"gelu\" now"),
      (["model.byte_offset=1", "model.vocabulary=257"], "model.vocabulary: 256"),
      (["model.layers=[\"lsh\",\"local\"]"], "model.layers: [\"local\", \"lsh\"]"),
      (["model.ngrams.orders=[2]"], "model.ngrams.orders: [] in the checkpoint"),
    ])
  func otherModels(changes: [String], message: String) throws {
    _ = try train("first", ["--steps", "1"])
    let run = try tiny.train(
      "refused",
      plain + ["--from", tiny.output("first")] + changes.flatMap { ["--set", $0] })
    #expect(run.status == 2, "\(run.output)")
    #expect(run.output.contains(message), "\(run.output)")
    #expect(run.output.split(separator: "\n").count == 1, "\(run.output)")
    #expect(!FileManager.default.fileExists(atPath: tiny.output("refused")))
    let adapt = try tiny.train("refused", plain + ["--adapt", "sight"])
    #expect(adapt.status == 2 && adapt.output.contains("give it with --from"), "\(adapt.output)")
  }
}
