// Targets that a trained model writes.
import Foundation
import TestSupport
import Testing
import Training

@Suite("Translation", .serialized)
struct TranslateTests {
  let tiny: TinyRun
  private let words: [String]

  /// A run on words and themselves, long enough for targets to end.
  init() throws {
    tiny = try TinyRun()
    var state: UInt32 = 5
    words = (0..<400).map { _ in
      String(
        (0..<2 + Int(state % 4)).map { _ in
          state = state &* 1_664_525 &+ 1_013_904_223
          return Character(UnicodeScalar(97 + UInt8(state >> 24) % 4))
        })
    }
    let corpus = try tiny.folder.write(
      "pairs.tsv", text: words.map { "\($0)\t\($0)\n" }.joined())
    let run = try tiny.train(
      "run",
      [
        "data.task=pairs", "data.corpus=\(corpus)", "data.length=12", "data.source_length=12",
        "model.kind=encoder-decoder", "model.layers=[full]", "model.encoder_layers=[full]",
        "model.positions=rotary", "model.axial_shape=[]", "model.axial_widths=[]",
        "model.vocabulary=258", "model.byte_offset=2", "model.ngrams.orders=[]",
        "model.dropout=0", "model.attention_dropout=0", "run.steps=400", "run.global_batch=8",
        "run.evaluate_every=0", "optimizer.learning_rate=0.01",
      ].flatMap { ["--set", $0] })
    try #require(run.status == 0, "\(run.output)")
  }

  private func translate(_ file: String, _ more: [String] = []) throws -> ProgramRun {
    // Standard output alone: what was done is told on the other one.
    try ProgramRun(
      executable: "/bin/bash",
      arguments: [
        "-c", "exec \"$@\" 2> /dev/null", "bash", ProgramRun.path("reformer-train"), "translate",
        tiny.output("run"), file,
      ] + more)
  }

  @Test("a line for each, the same alone or among others, from a file or standard input")
  func lines() throws {
    let lines = Array(words[..<20]) + ["", "zzzzzzzzzzz"] + words[20..<25]
    let file = try tiny.folder.write("lines", text: lines.joined(separator: "\n") + "\n")
    let expected = try translate(file)
    try #require(expected.status == 0, "\(expected.output)")
    let targets = expected.output.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(targets.count == lines.count + 1 && targets[20] == "" && targets.last == "")
    // Eleven bytes and an end: none is longer.
    #expect(targets.allSatisfy { $0.utf8.count <= 11 })
    let right = zip(lines, targets).count { $0.0 == String($0.1) }
    #expect(right > 20, "\(right) of \(lines.count) are copied: \(expected.output)")
    for more in [["--lines", "1"], ["--lines", "5", "--threads", "2"]] {
      #expect(try translate(file, more).output == expected.output)
    }
    let beam = try translate(file, ["--beam", "3"])
    #expect(beam.output == (try translate(file, ["--beam", "3", "--lines", "2"]).output))
    let found = beam.output.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(found.count == targets.count && zip(lines, found).count { $0.0 == String($0.1) } > 20)
    let piped = try ProgramRun(
      executable: "/bin/bash",
      arguments: [
        "-c", "exec \"$1\" translate \"$2\" < \"$3\" 2> /dev/null", "bash",
        ProgramRun.path("reformer-train"), tiny.output("run"), file,
      ])
    #expect(piped.output == expected.output)
  }

  @Test("what is written is scored, alike at any number of ranks")
  func scored() throws {
    func evaluate(_ ranks: Int?, _ more: String...) throws -> Substring {
      let run = try ProgramRun(
        "reformer-train", ranks: ranks,
        arguments: ["evaluate", tiny.output("run"), "--json", "--targets", "15"] + more)
      #expect(run.status == 0, "\(run.output)")
      return run.output.drop { $0 != "{" }
    }
    let one = try evaluate(nil)
    #expect(one.contains("\"targets\" : 15"), "\(one)")
    let score = one.firstMatch(of: /"chr_f2" : ([0-9.]+)/).flatMap { Double($0.1) }
    // Most words are copied.
    #expect(try #require(score) > 80)
    #expect(try evaluate(2) == one)
    #expect(try evaluate(nil, "--beam", "2").contains("\"beam\" : 2"))
  }

  @Test("what cannot be translated is named")
  func refused() throws {
    let long = try tiny.folder.write("long", text: "ab\nabcdabcdabcd\n")
    try #require(try tiny.train("text", ["--steps", "1"]).status == 0)
    for (arguments, message) in [
      ([tiny.output("run"), long], "line 2 has 12 bytes; the model reads sources of at most 11"),
      ([tiny.output("text"), long], "model.kind is \"decoder\": only a model with an encoder"),
      ([tiny.output("run"), long, "--lines", "0"], "--lines 0, --threads 0; legal values"),
      ([tiny.output("run"), long, "--beam", "0"], "--beam 0; legal values: 1 to 64"),
      (
        [tiny.output("run"), long, "--length-penalty=-1"], "--length-penalty -1.0; legal values: 0"
      ),
      ([tiny.output("run"), long + "er"], "longer"),
    ] {
      let run = try ProgramRun("reformer-train", arguments: ["translate"] + arguments)
      #expect(run.status == 2 && run.output.contains(message), "\(run.output)")
      #expect(run.output.split(separator: "\n").count == 1, "\(run.output)")
    }
  }
}
