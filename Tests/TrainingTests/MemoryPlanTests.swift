// The memory plan against whole processes, and what is said when a run does not fit.
import Foundation
import TestSupport
import Testing
import Training

@Suite("Memory plan", .serialized)
struct MemoryPlanTests {
  let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private struct Report: Decodable {
    let peak_rss_bytes: Int
  }

  private func peak(_ command: [String], _ changes: [String]) throws -> Int {
    let run = try ProgramRun(
      "reformer-train",
      arguments: command + ["--json", "--config", tiny.config]
        + changes.flatMap { ["--set", $0] })
    // Progress goes to standard error, which ProgramRun joins: the object starts at its brace.
    let start = try #require(run.output.firstIndex(of: "{"), "\(run.output)")
    return try JSONDecoder().decode(Report.self, from: Data(run.output[start...].utf8))
      .peak_rss_bytes
  }

  private static let long = [
    "data.length=32768", "model.axial_shape=[256, 128]", "model.dropout=0",
    "model.attention_dropout=0", "model.width=96", "model.axial_widths=[32, 64]",
    "attention.lsh.chunk=64", "attention.local.chunk=64", "attention.lsh.hashes=1",
    "model.head_width=32", "run.global_batch=1", "model.layers=[local, lsh]",
  ]

  @Test(
    "a process stays within 10 % of the plan, and 5 % above it at most",
    arguments: [
      [], ["model.heads_per_group=2"], ["attention.lsh.hashes=4", "model.heads_per_group=2"],
      ["model.layers=[local]"], ["model.layers=[linear]"],
      ["model.layers=[compressed]"], ["model.layers=[blocks]"],
      ["model.layers=[linear, local]", "model.heads_per_group=2", "run.threads=2"],
      ["attention.lsh.sight=bucket", "attention.lsh.window=64", "attention.lsh.hashes=2"],
      [
        "model.layers=[sliding]", "attention.sliding.dilation=[1, 8]", "attention.sliding.global=4",
      ],
      [
        "model.layers=[memory]", "model.positions=rotary", "model.axial_shape=[]",
        "model.axial_widths=[]", "data.order=streams", "attention.memory.rows=8192",
      ],
      [
        "model.layers=[memory]", "model.positions=rotary", "model.axial_shape=[]",
        "model.axial_widths=[]", "data.order=streams", "attention.memory.rows=1024",
        "attention.memory.compressed=1024",
      ],
      [
        "model.kind=encoder-decoder", "data.task=pairs", "data.source_length=32768",
        "data.length=4096", "model.layers=[local]", "model.encoder_layers=[local, lsh]",
        "model.positions=rotary", "model.axial_shape=[]", "model.axial_widths=[]",
        "model.vocabulary=258", "model.byte_offset=2", "model.ngrams.orders=[]",
      ],
      ["model.layers=[strided, fixed]"], ["model.layers=[bigbird]"], ["model.layers=[span]"],
      ["run.threads=3"], ["model.activation=gelu"], ["model.token_shift=true"],
      ["model.precision=bf16"],
      ["model.precision=bf16", "model.feed_forward_width=1024", "model.activation=relu2"],
      ["optimizer.average=0.9"], ["optimizer.kind=muon", "model.feed_forward_width=2048"],
      ["optimizer.kind=adafactor", "optimizer.average=0.9"],
      ["run.global_batch=4"], ["model.head_width=40"], ["model.residual=plain"],
      [
        "model.residual=plain", "model.layers=[local, lsh, full, local, lsh, full]",
        "model.activation=gelu", "model.heads_per_group=2", "data.length=8192",
      ],
      ["model.head_width=12", "attention.lsh.chunk=48", "attention.local.chunk=20"],
      [
        "model.feed_forward_width=1024", "model.width=192",
        "model.axial_widths=[64, 128]",
      ],
    ])
  func measured(changes: [String]) throws {
    let changes = Self.long + changes
    let planned = try peak(["plan"], changes)
    let measured = try peak(["benchmark", "--steps", "1"], changes)
    let ratio = Double(measured) / Double(planned)
    #expect(ratio >= 0.9 && ratio <= 1.05, "measured \(measured), planned \(planned)")
    // Else the constant part would hide an error in the rest: streams alone are 16 L D bytes.
    #expect(planned > 64 << 20)
  }

  @Test("a run needs no more address space than its plan and 2 GB", arguments: [1, 3])
  func addressSpace(threads: Int) throws {
    let changes = Self.long + ["run.threads=\(threads)", "run.evaluate_every=0"]
    let planned = try peak(["plan"], changes)
    func run(kilobytes: Int) throws -> ProgramRun {
      try ProgramRun(
        executable: "/bin/bash",
        arguments: [
          "-c", "ulimit -v \(kilobytes) && exec \"$@\"", "bash", ProgramRun.path("reformer-train"),
          "benchmark", "--steps", "1", "--config", tiny.config,
        ] + changes.flatMap { ["--set", $0] })
    }
    let roomy = try run(kilobytes: (planned + 2 << 30) >> 10)
    #expect(roomy.status == 0, "\(roomy.output)")
    // The limit was one.
    #expect(try run(kilobytes: planned >> 11).status != 0)
  }

  @Test("depth costs parameters, gradients and moments only")
  func depth() throws {
    func layers(_ count: Int) -> [String] {
      Self.long + [
        "model.layers=[" + [String](repeating: "lsh", count: count).joined(separator: ",") + "]"
      ]
    }
    let few = try peak(["benchmark", "--steps", "1"], layers(2))
    let many = try peak(["benchmark", "--steps", "1"], layers(10))
    let config = { (count: Int) in
      try RunConfig.load(file: tiny.config, overrides: layers(count)).reformer.parameterLayout.count
    }
    let grown = 16 * (try config(10) - config(2))
    // Large pages round each of the four buffers up by 2 MiB at most.
    #expect(Double(many - few) <= 1.05 * Double(grown) + Double(8 << 20))
  }

  @Test("with plain residuals depth costs activations, as planned")
  func plainDepth() throws {
    func layers(_ count: Int) -> [String] {
      Self.long + [
        "model.residual=plain",
        "model.layers=[" + [String](repeating: "local", count: count).joined(separator: ",") + "]",
      ]
    }
    let planned = try peak(["plan"], layers(6)) - peak(["plan"], layers(2))
    let measured =
      try peak(["benchmark", "--steps", "1"], layers(6))
      - peak(["benchmark", "--steps", "1"], layers(2))
    #expect(abs(Double(measured) / Double(planned) - 1) < 0.1, "\(measured) of \(planned)")
    // Two copies of the stream of each layer, to say the least.
    #expect(measured > 4 * 2 * 4 * 32_768 * 96)
  }

  @Test("more steps need no more memory than the first")
  func steps() throws {
    let short = try peak(["benchmark", "--steps", "1"], [])
    let long = try peak(["benchmark", "--steps", "200"], [])
    // A leak of one activation [90, 32] per step would be 2.3 MB.
    #expect(long - short < 1 << 20, "\(short) after 2 steps, \(long) after 201")
  }

  private func config(_ changes: [String]) throws -> RunConfig {
    try RunConfig.load(file: tiny.config, overrides: changes)
  }

  @Test("heads per group follow the budget where they are automatic")
  func budget() throws {
    // Bytes per head and position: two projections (three for local layers), output, their gradients.
    let changes = Self.long + ["model.heads=8", "model.heads_per_group=auto"]
    let free = try config(changes)
    let all = MemoryPlan(free, ranks: 1, threads: 1).peakRssBytes
    #expect(free.model.headsPerGroup == 4)
    let tight = try config(changes + ["run.memory_budget_gb=\(Double(all - 1) * 1e-9)"])
    #expect(tight.model.headsPerGroup == 2)
    #expect(MemoryPlan(tight, ranks: 1, threads: 1).peakRssBytes < all)
    let given = try config(
      changes + ["model.heads_per_group=8", "run.memory_budget_gb=\(Double(all) * 1e-9)"])
    #expect(given.model.headsPerGroup == 8)
  }

  @Test("what is said to fit does fit")
  func advice() throws {
    let big = try config(
      Self.long + ["model.heads=8", "model.heads_per_group=8", "run.global_batch=8"])
    let plan = MemoryPlan(big, ranks: 1, threads: 2).peakRssBytes
    let floor = MemoryPlan(try config([]), ranks: 1, threads: 2).peakRssBytes
    for budget in stride(from: floor, to: plan, by: (plan - floor) / 7) {
      for (change, bytes) in big.smallerRuns(within: budget, ranks: 1, threads: 2) {
        #expect(bytes <= budget, "\(change)")
        guard change.hasPrefix("model.heads_per_group") || change.hasPrefix("data.length") else {
          continue
        }
        let words = change.replacing(" ", with: "")
        var overrides =
          Self.long + ["model.heads=8", "model.heads_per_group=8", "run.global_batch=8"]
        overrides.append(words)
        let applied = MemoryPlan(try config(overrides), ranks: 1, threads: 2).peakRssBytes
        #expect(applied == bytes, "\(change)")
      }
    }
    #expect(
      big.smallerRuns(within: plan - 1, ranks: 1, threads: 2).map(\.change)
        == [
          "model.heads_per_group = 4", "data.length = 16384",
          "model.width = 48 (and model.axial_widths)",
        ])
    // Where moments are most of the memory, ranks share them.
    let wide = try config(["run.global_batch=4", "model.feed_forward_width=65536"])
    let alone = MemoryPlan(wide, ranks: 1, threads: 2).peakRssBytes
    #expect(
      wide.smallerRuns(within: alone - 1, ranks: 1, threads: 2).map(\.change).contains("2 ranks"))
    #expect(big.smallerRuns(within: 1, ranks: 1, threads: 2).isEmpty)
  }

  @Test("the parts that plan lists add up to its peak, copies of checkpoints included")
  func rows() throws {
    let run = try ProgramRun(
      "reformer-train",
      arguments: ["plan", "--config", tiny.config, "--ranks", "2"]
        + ["run.background_checkpoints=true", "run.keep_activations=true"].flatMap {
          ["--set", $0]
        })
    #expect(run.output.contains("copy for background checkpoints"))
    let rows = run.output.matches(of: #/\n  (.*?) +([\d.]+) MiB/#)
      .map { (String($0.1), Double($0.2) ?? .nan) }
    let peak = try #require(rows.firstIndex { $0.0 == "peak" })
    // Each is rounded to a tenth.
    let sum = rows[..<peak].reduce(0) { $0 + $1.1 }
    #expect(abs(sum - rows[peak].1) <= 0.05 * Double(peak + 1), "\(run.output)")
  }

  @Test("train refuses what does not fit, and says what would")
  func refused() throws {
    let run = try tiny.train(
      "refused",
      [
        "model.width=2048", "model.axial_widths=[1024, 1024]", "model.feed_forward_width=2048",
        "run.memory_budget_gb=0.3",
      ].flatMap { ["--set", $0] })
    #expect(run.status == 2)
    #expect(
      run.output.contains("run.memory_budget_gb = 0.3; what would fit: model.width"),
      "\(run.output)")
    #expect(!FileManager.default.fileExists(atPath: tiny.output("refused")))
  }
}
