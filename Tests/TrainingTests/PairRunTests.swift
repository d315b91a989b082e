// Whole runs of models with an encoder on pairs of lines.
import Foundation
import TestSupport
import Testing
import Training

@Suite("Runs on pairs", .serialized)
struct PairRunTests {
  let tiny: TinyRun
  private let keys: [String]

  /// Words, and the same in capitals with their order turned about.
  private static let pairs: [(source: String, target: String)] = (0..<80).map { number in
    let words = (0..<1 + number % 4).map { "w\((number * 7 + $0 * 3) % 50)" }
    return (
      words.joined(separator: " "), words.reversed().joined(separator: " ").uppercased()
    )
  }

  private static func line(_ pair: (source: String, target: String)) -> String {
    pair.source + "\t" + pair.target + "\n"
  }

  init() throws {
    tiny = try TinyRun()
    let corpus = try tiny.folder.write("pairs.tsv", text: Self.pairs.map(Self.line).joined())
    keys = [
      "data.task=pairs", "data.corpus=\(corpus)", "data.length=20", "data.source_length=24",
      "data.split=[0.8,0.1,0.1]", "model.kind=encoder-decoder", "model.layers=[full, local]",
      "model.encoder_layers=[local, lsh, full]", "model.positions=rotary", "model.axial_shape=[]",
      "model.axial_widths=[]", "model.vocabulary=258", "model.byte_offset=2",
      "model.ngrams.orders=[]", "model.token_shift=true", "run.evaluate_every=10",
    ]
  }

  private func train(
    _ name: String, ranks: Int? = nil, set: [String] = [], _ more: [String] = []
  ) throws -> ProgramRun {
    try tiny.train(name, ranks: ranks, (keys + set).flatMap { ["--set", $0] } + more)
  }

  private func command(ranks: Int? = nil, _ arguments: String...) throws -> ProgramRun {
    try ProgramRun("reformer-train", ranks: ranks, arguments: arguments)
  }

  @Test("parameters have the same bits at 1, 2 and 4 ranks, at 3 threads, kept, and after a stop")
  func bits() throws {
    for (name, ranks, set) in [
      ("one", 1, []), ("two", 2, []), ("four", 4, []), ("threads", 1, ["run.threads=3"]),
      ("kept", 1, ["run.keep_activations=true"]),
    ] {
      let run = try train(name, ranks: ranks, set: set)
      try #require(run.status == 0, "\(run.output)")
    }
    for more in [["--steps", "7"], ["--resume", "auto"]] {
      let run = try train("stopped", ranks: 2, more)
      try #require(run.status == 0, "\(run.output)")
    }
    let expected = try tiny.digest("one")
    #expect(expected.count == 2)
    for name in ["two", "four", "threads", "kept", "stopped"] {
      #expect(try tiny.digest(name) == expected, "\(name)")
    }
  }

  @Test("each byte of a target is scored, and its end, alike at any number of ranks")
  func scores() throws {
    let run = try train("run")
    try #require(run.status == 0, "\(run.output)")
    let score = try command("evaluate", tiny.output("run"), "--json")
    let bytes = Self.pairs[72...].reduce(0) { $0 + $1.target.utf8.count + 1 }
    for part in ["\"bytes\" : \(bytes)", "\"protocol\" : \"pairs\"", "\"accuracy\" : 0."] {
      #expect(score.output.contains(part), "\(score.output)")
    }
    // Progress goes to standard error, which comes first.
    func report(_ run: ProgramRun) -> Substring { run.output.drop { $0 != "{" } }
    let two = try command(ranks: 2, "evaluate", tiny.output("run"), "--json")
    #expect(report(two) == report(score) && !report(two).isEmpty, "\(two.output)")
    let text = try command("evaluate", tiny.output("run"))
    #expect(text.output.contains("targets of pairs, their ends counted"), "\(text.output)")
    // In metrics, too, bytes are those of targets.
    let lines = try String(contentsOfFile: tiny.output("run") + "/metrics.jsonl", encoding: .utf8)
      .split(separator: "\n")
    let last = try #require(lines.last { $0.contains("\"trained_bytes\"") })
    let most = 20 * 4 * Self.pairs.map { $0.target.utf8.count + 1 }.reduce(0, max)
    let trained = try #require(
      last.firstMatch(of: /"trained_bytes":(\d+)/).flatMap { Int($0.1) })
    #expect(trained > 20 * 4 * 3 && trained < most, "\(trained)")
    #expect(last.contains("\"prequential_bits_per_byte\""))
    // Another file is pairs, too.
    let other = try tiny.folder.write("other.tsv", text: Self.line(Self.pairs[0]))
    let one = try command("evaluate", tiny.output("run"), "--corpus", other)
    #expect(
      one.output.contains("over \(Self.pairs[0].target.utf8.count + 1) bytes"), "\(one.output)")
  }

  @Test(
    "lines that are no pairs are refused with their number, or left out as if they were not there")
  func wrongLines() throws {
    let text = Self.line(Self.pairs[0]) + "no pair\n" + Self.pairs[1...].map(Self.line).joined()
    let path = try tiny.folder.write("wrong.tsv", text: text)
    let refused = try train("refused", set: ["data.corpus=\(path)"])
    #expect(refused.status == 2 && refused.output.contains("wrong.tsv, line 2: no tab"))
    #expect(refused.output.split(separator: "\n").count == 1, "\(refused.output)")
    let skipped = try train("skipped", set: ["data.corpus=\(path)", "data.wrong_lines=skip"])
    #expect(
      skipped.status == 0
        && skipped.output.contains("1 lines of \(path) are left out: the first is line 2: no tab"),
      "\(skipped.output)")
    try #require(try train("clean").status == 0)
    #expect(try tiny.digest("skipped") == tiny.digest("clean"))
  }

  @Test("a source is used: pairs whose targets follow from it are learnt, and others are not")
  func learns() throws {
    var state: UInt32 = 5
    func letter() -> Character {
      state = state &* 1_664_525 &+ 1_013_904_223
      return Character(UnicodeScalar(97 + UInt8(state >> 24) % 4))
    }
    let words = (0..<600).map { _ in String((0..<6).map { _ in letter() }) }
    for (name, targets) in [("copy", words), ("other", Array(words.reversed()))] {
      let text = zip(words, targets).map(Self.line).joined()
      let path = try tiny.folder.write(name + ".tsv", text: text)
      let run = try train(
        name,
        set: [
          "data.corpus=\(path)", "run.steps=200", "run.global_batch=8", "model.dropout=0",
          "model.attention_dropout=0", "run.evaluate_every=0", "optimizer.learning_rate=0.01",
        ])
      try #require(run.status == 0, "\(run.output)")
    }
    func bits(_ name: String) throws -> Double {
      let score = try command("evaluate", tiny.output(name), "--json")
      let match = score.output.firstMatch(of: /"bits_per_byte" : ([0-9.]+)/)
      return try #require(match.flatMap { Double($0.1) }, "\(score.output)")
    }
    // Six letters of 2 bits and an end of none.
    let (copy, other) = (try bits("copy"), try bits("other"))
    #expect(other > 1.6, "\(other)")
    #expect(copy < 0.6, "\(copy)")
  }

  @Test(
    "what does not go with pairs is named",
    arguments: [
      ("model.kind=decoder", "model.kind = \"decoder\"; legal values: encoder-decoder"),
      ("data.task=bytes", "model.kind = \"encoder-decoder\"; legal values: decoder unless"),
      (
        "model.encoder_layers=[]",
        "model.encoder_layers = []; legal values: 1 or more of full, local, lsh"
      ),
      (
        "model.encoder_layers=[linear]",
        "model.encoder_layers = [\"linear\"]; legal values: 1 or more"
      ),
      ("attention.full.shared_query_key=true", "legal values: 1 or more of local, lsh with"),
      ("data.source_length=0", "data.source_length = 0; legal values: 2 to"),
      ("model.layers=[memory]", "legal values: kinds but memory"),
      ("model.positions=infused", "model.positions = \"infused\"; legal values: rotary"),
      ("model.residual=plain", "model.residual = \"plain\"; legal values: reversible"),
      ("model.ngrams.orders=[2]", "model.ngrams.orders = [2]; legal values: []"),
      ("model.byte_offset=1", "model.byte_offset = 1; legal values: 2 or more"),
      ("data.block=40", "data.block = 40; legal values: \"auto\""),
      ("data.order=streams", "data.order = \"streams\"; legal values: random"),
      ("model.layers=[lsh] run.sample_bytes=10", "run.sample_bytes = 10; legal values: 0 with"),
    ])
  func wrong(setting: String, message: String) throws {
    let run = try train("wrong", set: setting.split(separator: " ").map(String.init))
    #expect(run.status == 2 && run.output.contains(message), "\(run.output)")
    #expect(run.output.split(separator: "\n").count == 1, "\(run.output)")
  }

  @Test(
    "sources of the validation split, and their targets, written and wanted, are in metrics and the page"
  )
  func samples() throws {
    let (first, second) = (Self.pairs[64], Self.pairs[65])
    let bytes = first.target.utf8.count + 2
    let run = try train("run", set: ["run.sample_bytes=\(bytes)"])
    try #require(run.status == 0, "\(run.output)")
    let metrics = try String(
      contentsOfFile: tiny.output("run") + "/metrics.jsonl", encoding: .utf8)
    let samples = try metrics.split(separator: "\n").compactMap {
      (try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])?["sample"]
        as? String
    }
    #expect(samples.count == 2, "\(metrics)")
    // The last is of what is trained when the run ends; greedily, as translate writes.
    let sources = try tiny.folder.write("sources", text: first.source + "\n" + second.source + "\n")
    let written = try command("translate", tiny.output("run"), sources).output
      .split(separator: "\n", omittingEmptySubsequences: false)
    let parts = zip([first, second], written).map { pair, written in
      "source: \(pair.source)\nwritten: \(written)\nwanted: \(pair.target)"
    }
    #expect(samples.last == parts.joined(separator: "\n\n"), "\(written)")
    let page = try String(contentsOfFile: tiny.output("run") + "/report.html", encoding: .utf8)
    #expect(page.contains("wanted: \(second.target)"))
  }

  @Test("what needs a text of its own is refused")
  func refused() throws {
    try #require(try train("run", ["--steps", "1"]).status == 0)
    let run = tiny.output("run")
    let out = tiny.folder.path("out")
    for (arguments, message) in [
      (["generate", run, "--prompt", "a"], "it cannot be used to continue a text"),
      (["compress", tiny.config, "--with", run, "--output", out], "it cannot be used to compress"),
      (["audit", run], "it cannot be used to look for later bytes in"),
      (["export", run, "--to", out], "has no encoder beside its decoder"),
      (["complete", run], "data.task is pairs: only images can be completed"),
      (["evaluate", run, "--stride", "5"], "with data.task = \"pairs\""),
      (["evaluate", run, "--corpus", tiny.config, "--context", "5"], "with data.task = \"pairs\""),
    ] {
      let result = try ProgramRun("reformer-train", arguments: arguments)
      #expect(result.status == 2 && result.output.contains(message), "\(result.output)")
      #expect(result.output.split(separator: "\n").count == 1, "\(result.output)")
    }
  }
}
