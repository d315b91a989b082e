// Whole runs over streams: what layers carry over belongs to the stream, whichever rank has it, and to the step.
import Foundation
import TestSupport
import Testing

@Suite("Runs over streams", .serialized, .needs(.mpirun))
struct StreamRunTests {
  let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  /// Memories longer than a window, with compressed rows, in four streams of 30 windows.
  private static let streams = [
    "--set", "data.order=streams", "--set", "model.layers=[\"memory\", \"local\", \"memory\"]",
    "--set", "model.positions=rotary", "--set", "model.axial_shape=[]", "--set",
    "model.axial_widths=[]", "--set", "attention.memory.rows=130", "--set",
    "attention.memory.compressed=40", "--set", "attention.memory.ratio=5", "--set",
    "run.evaluate_every=7",
  ]

  private func train(_ name: String, ranks: Int? = nil, _ more: [String] = []) throws {
    let run = try tiny.train(name, ranks: ranks, Self.streams + more)
    try #require(run.status == 0, "\(run.output)")
  }

  private func evaluate(_ name: String, ranks: Int? = nil, _ more: [String] = []) throws
    -> ProgramRun
  {
    try ProgramRun(
      "reformer-train", ranks: ranks, arguments: ["evaluate", tiny.output(name)] + more)
  }

  /// All validation scores of a run.
  private func scores(_ name: String) throws -> [Substring] {
    try String(contentsOfFile: tiny.output(name) + "/metrics.jsonl", encoding: .utf8)
      .matches(of: /"step":\d+,"validation_bits_per_byte":[^,]+/).map(\.0)
  }

  @Test(
    "parameters and scores are the same at any number of ranks and threads, and across resumes at others"
  )
  func sameBits() throws {
    let longer = ["--set", "run.steps=40"]
    try train("whole", longer)
    let digest = try tiny.digest("whole")
    #expect(try scores("whole").count == 6)
    for (name, ranks, more) in [("two", 2, []), ("four", 4, ["--set", "run.threads=2"])] {
      try train(name, ranks: ranks, longer + more)
      #expect(try tiny.digest(name) == digest, "\(name)")
      #expect(try scores(name) == scores("whole"), "\(name)")
    }
    // Over the edge of an epoch, after 30 steps.
    for (steps, ranks) in [(3, 2), (11, 4), (29, 1), (31, 2)] {
      try train("cut", ranks: ranks, longer + ["--resume", "auto", "--steps", "\(steps)"])
    }
    try train(
      "cut", ranks: 4, longer + ["--resume", "auto", "--set", "run.background_checkpoints=true"])
    #expect(try tiny.digest("cut") == digest)
    // The memory matters.
    try train("short", longer + ["--set", "attention.memory.compressed=39"])
    #expect(try tiny.digest("short") != digest)
    let verified = try ProgramRun(
      "reformer-train", arguments: ["inspect", tiny.output("cut"), "--verify"])
    #expect(verified.status == 0, "\(verified.output)")
  }

  @Test("killed in the middle, a run goes on with the memory of its checkpoint")
  func kills() throws {
    let often = [
      "--set", "run.steps=60", "--set", "run.checkpoint_every=4", "--set",
      "run.background_checkpoints=true", "--resume", "auto",
    ]
    try train("undisturbed", often)
    for (step, ranks, delay) in [(7, 2, 0), (21, 4, 3_000), (38, 1, 6_000)] as [(Int, Int, UInt32)]
    {
      let run = try ProgramRun(
        "reformer-train", ranks: ranks,
        arguments: ["train", "--config", tiny.config, "--output", tiny.output("killed")]
          + Self.streams + often, when: "step \(step)/"
      ) { process in
        let victims = ProgramRun.processes(process)
        usleep(delay)
        kill(victims[victims.count - 1], SIGKILL)
      }
      #expect(run.status == 137, "\(run.output)")
    }
    try train("killed", ranks: 2, often)
    #expect(try tiny.digest("killed") == tiny.digest("undisturbed"))
  }

  @Test("after a skipped step streams begin anew, at any number of ranks")
  func skipped() throws {
    // So fast that losses and norms rise now and then.
    let spikes = [
      "--set", "run.steps=60", "--set", "run.spike_deviations=0.001", "--set",
      "run.skip_limit=60", "--set", "optimizer.learning_rate=0.1",
    ]
    try train("alone", spikes)
    let text = try String(contentsOfFile: tiny.output("alone") + "/metrics.jsonl", encoding: .utf8)
    #expect(text.contains("is_skipped"))
    try train("two", ranks: 2, spikes + ["--steps", "37"])
    try train("two", ranks: 4, spikes + ["--resume", "auto"])
    #expect(try tiny.digest("two") == tiny.digest("alone"))
  }

  @Test("an evaluation has one score at any number of ranks, of streams that carry over")
  func evaluation() throws {
    try train("run")
    let scores = try [nil, 2, 3].map { ranks in
      let run = try evaluate("run", ranks: ranks)
      #expect(run.status == 0, "\(run.output)")
      #expect(
        run.output.contains("windows of 90 in 4 streams, memory carried over"), "\(run.output)")
      return run.output.firstMatch(of: /\d\.\d{4} bits.byte over \d+ bytes/)?.0
    }
    #expect(Set(scores).count == 1 && scores[0] != nil)
    let sliding = try evaluate("run", ["--stride", "30"])
    #expect(
      sliding.status == 2 && sliding.output.contains("--stride 30; legal values"),
      "\(sliding.output)")
    let uneven = try evaluate("run", ["--context", "91"])
    #expect(
      uneven.status == 2
        && uneven.output.contains(
          "--context 91; legal values: multiples of attention.memory.ratio = 5"),
      "\(uneven.output)")
    let compressed = try ProgramRun(
      "reformer-train",
      arguments: [
        "compress", tiny.config, "--with", tiny.output("run"), "--output", tiny.output("x"),
      ])
    #expect(
      compressed.status == 2 && compressed.output.contains("carry over"), "\(compressed.output)")
  }

  @Test("text is written, and what is written is the same as at another number of threads")
  func generation() throws {
    try train("run", ["--steps", "4"])
    let texts = try ["1", "2"].map {
      let run = try ProgramRun(
        "reformer-train",
        arguments: [
          "generate", tiny.output("run"), "--prompt", "chunk", "--bytes", "120", "--threads", $0,
        ])
      #expect(run.status == 0, "\(run.output)")
      // The last line says how long it took.
      return run.output.split(separator: "rank 0 info:")[0].dropLast(20)
    }
    #expect(texts[0] == texts[1])
  }

  @Test("what streams cannot do is refused in a line")
  func refused() throws {
    for (more, text) in [
      (
        ["attention.memory.ratio=4"],
        "attention.memory.ratio = 4; legal values: divisors of attention.memory.rows = 130"
      ), (["data.block=180"], "data.order = \"streams\"; legal values: random unless data.block"),
      (
        [
          "data.length_schedule.share=[0.5]", "data.length_schedule.length=[30]",
          "data.length_schedule.windows=[1]",
        ], "random with [[data.length_schedule]]"
      ), (["run.global_batch=200"], "has 120 windows, too few for 200 streams"),
      (
        ["model.positions=axial", "model.axial_shape=[8,12]", "model.axial_widths=[8,24]"],
        "and model.positions = \"axial\""
      ), (["model.positions=infused"], "rotary with attention.memory.compressed"),
    ] {
      let run = try tiny.train("no", Self.streams + more.flatMap { ["--set", $0] })
      #expect(run.status == 2 && run.output.contains(text), "\(run.output)")
    }
  }
}
