// Whole runs on folders, lists, names and mixes of corpora.
import Foundation
import TestSupport
import Testing
import Training

@Suite("Runs on several files and several corpora", .serialized)
struct MixRunTests {
  let tiny: TinyRun

  init() throws {
    tiny = try TinyRun()
    try FileManager.default.createDirectory(
      atPath: tiny.folder.path("books/more"), withIntermediateDirectories: true)
    let text = Array(TinyRun.text(bytes: 40_000).utf8)
    // Files longer than a window of 90, and many that are shorter.
    try tiny.folder.write("books/a", text[..<5000])
    try tiny.folder.write("books/more/b", text[5000..<6500])
    for index in 0..<100 {
      let start = 6500 + 40 * index
      try tiny.folder.write("books/s\(index)", text[start..<(start + 40)])
    }
    try tiny.folder.write("code", text[11_000..<18_000])
    try tiny.folder.write("log", (0..<9000).map { UInt8($0 % 10 + 48) })
  }

  /// The tiny config with `data` in the place of its corpus.
  private func config(_ data: String) throws -> String {
    let text = try String(contentsOfFile: tiny.config, encoding: .utf8)
    let line = try #require(text.firstMatch(of: /corpus = .*\n/))
    return try tiny.folder.write(
      "config.toml", text: text.replacing(line.output, with: "") + "\n" + data)
  }

  private func mix(_ weights: [Double] = [1, 2, 0.5]) throws -> String {
    let paths = [
      "\"\(tiny.folder.path("books"))\"", "\"\(tiny.folder.path("code"))\"",
      "[\"\(tiny.folder.path("log"))\", \"\(tiny.folder.path("corpus"))\"]",
    ]
    return try config(
      zip(["books", "code", "rest"], zip(paths, weights)).map { name, values in
        "[[data.mix]]\nname = \"\(name)\"\npath = \(values.0)\nweight = \(values.1)\n"
      }.joined())
  }

  private func train(
    _ config: String, _ name: String, ranks: Int? = nil, _ more: [String] = []
  ) throws -> ProgramRun {
    try ProgramRun(
      "reformer-train", ranks: ranks,
      arguments: ["train", "--config", config, "--output", tiny.output(name)] + more)
  }

  @Test(
    "a mix gives the same parameters at any number of ranks and across a resume",
    .needs(.mpirun))
  func sameBits() throws {
    let mix = try mix()
    let whole = try train(mix, "whole")
    #expect(whole.status == 0, "\(whole.output)")
    #expect(whole.output.contains("books: \(tiny.folder.path("books")) (10.5 kB, 102 files)"))
    for (ranks, first) in [(2, 7), (4, 12)] {
      let begun = try train(mix, "ranks\(ranks)", ranks: ranks, ["--steps", "\(first)"])
      #expect(begun.status == 0, "\(begun.output)")
      let resumed = try train(mix, "ranks\(ranks)", ranks: 2, ["--resume", "auto"])
      #expect(resumed.status == 0, "\(resumed.output)")
      #expect(try tiny.digest("ranks\(ranks)") == tiny.digest("whole"))
    }
    // Weights decide which sample comes from which corpus.
    let other = try train(self.mix([2, 1, 0.5]), "other")
    #expect(other.status == 0, "\(other.output)")
    #expect(try tiny.digest("other") != tiny.digest("whole"))
  }

  @Test("each corpus of a mix has its score, and the total is that of all bytes")
  func scores() throws {
    let run = try train(mix(), "run", ["--steps", "3"])
    #expect(run.status == 0, "\(run.output)")
    let checkpoint = tiny.output("run")
    let all = try ProgramRun("reformer-train", arguments: ["evaluate", checkpoint, "--json"])
    #expect(all.status == 0, "\(all.output)")
    struct Score: Decodable {
      struct Part: Decodable {
        let name: String
        let bits_per_byte: Double
        let bytes: Int
      }
      let bits_per_byte: Double
      let bytes: Int
      let corpora: [Part]
    }
    let start = try #require(all.output.firstIndex(of: "{"))
    let score = try JSONDecoder().decode(Score.self, from: Data(all.output[start...].utf8))
    #expect(score.corpora.map(\.name) == ["books", "code", "rest"])
    #expect(score.bytes == score.corpora.map(\.bytes).reduce(0, +))
    let nats = score.corpora.reduce(0) { $0 + $1.bits_per_byte * Double($1.bytes) }
    #expect(abs(nats / Double(score.bytes) - score.bits_per_byte) < 1e-12)
    let text = try ProgramRun("reformer-train", arguments: ["evaluate", checkpoint])
    for part in score.corpora {
      let bits = String(format: "%.4f bits/byte", part.bits_per_byte)
      let line = "\(part.name)  \(bits) over \(part.bytes)"
      #expect(text.output.contains(line), "\(text.output)")
    }
    let metrics = try String(contentsOfFile: checkpoint + "/metrics.jsonl", encoding: .utf8)
    #expect(metrics.contains(#""validation_corpora":[{"bits_per_byte":"#), "\(metrics)")
    #expect(run.output.contains(/validation \d.\d{4} bits\/byte .*; books \d.\d{4}; code/))
  }

  @Test("a resumed mix keeps its weights and its bytes; paths and names may change")
  func resume() throws {
    let run = try train(mix(), "run", ["--steps", "3"])
    #expect(run.status == 0, "\(run.output)")
    let weights = try train(mix([1, 2, 0.75]), "run", ["--resume", "auto"])
    #expect(weights.status == 2)
    #expect(weights.output.contains("data.mix.weight: [1.0, 2.0, 0.5] in the checkpoint"))
    try FileManager.default.moveItem(
      atPath: tiny.folder.path("books"), toPath: tiny.folder.path("moved"))
    let text = try String(contentsOfFile: mix(), encoding: .utf8)
    let moved = try tiny.folder.write(
      "moved.toml", text: text.replacing("/books\"", with: "/moved\""))
    let more = try train(moved, "run", ["--resume", "auto", "--steps", "5"])
    #expect(more.status == 0, "\(more.output)")
    try tiny.folder.write("moved/s50", [UInt8](repeating: 65, count: 40))
    let changed = try train(moved, "run", ["--resume", "auto"])
    #expect(changed.status == 2, "\(changed.output)")
    #expect(changed.output.contains("was trained on corpus"), "\(changed.output)")
  }

  @Test("what a mix may not be is refused in a line")
  func refused() throws {
    let books = "path = \"\(tiny.folder.path("books"))\"\n"
    let table = "[[data.mix]]\nname = \"a\"\nweight = 1\n" + books
    let wrong: [(data: String, says: String)] = [
      (table + table, "data.mix.name = [\"a\", \"a\"]"),
      (table.replacing("1", with: "0"), "data.mix.weight = [0]"),
      (table.replacing("\"a\"", with: "\"a b\""), "data.mix.name = [\"a b\"]"),
      ("[[data.mix]]\nname = \"a\"\n" + books, "data.mix.weight = []"),
      ("[[data.mix]]\nname = \"a\"\nweight = 1\n", "required key data.corpus is missing"),
      ("data.corpus = \"x\"\n" + table, "data.corpus"),
      (table.replacing("/books", with: "/nowhere"), "/nowhere does not exist"),
      ("[[data.mix]]\nname = \"a\"\nweight = 1\npath = []\n", "data.mix.path = [[]]"),
    ]
    for (data, says) in wrong {
      let run = try train(config(data), "none")
      #expect(run.status == 2, "\(data): \(run.output)")
      #expect(run.output.contains(says), "\(data): \(run.output)")
      #expect(run.output.split(separator: "\n").count == 1, "\(run.output)")
    }
  }

  @Test("a corpus is found by its name, or it is said how to fetch it")
  func name() throws {
    func run() throws -> ProgramRun {
      try ProgramRun(
        "reformer-train",
        arguments: [
          "train", "--config", tiny.config, "--output", tiny.output("run"), "--steps", "1",
          "--set", "data.corpus=corpus:tiny-sample",
        ], folder: tiny.folder.path)
    }
    let missing = try run()
    #expect(missing.status == 2)
    #expect(missing.output.contains("launch/corpus.sh tiny-sample"), "\(missing.output)")
    #expect(missing.output.split(separator: "\n").count == 1)
    try FileManager.default.createDirectory(
      atPath: tiny.folder.path("corpora"), withIntermediateDirectories: true)
    try FileManager.default.moveItem(
      atPath: tiny.folder.path("corpus"), toPath: tiny.folder.path("corpora/tiny-sample"))
    let found = try run()
    #expect(found.status == 0, "\(found.output)")
  }

  @Test("a corpus that can no longer be read ends the run, and is no reason to skip a step")
  func unreadable() throws {
    let corpus = tiny.folder.path("code")
    let run = try ProgramRun(
      "reformer-train",
      arguments: [
        "train", "--config", tiny.config, "--output", tiny.output("run"), "--set",
        "data.corpus=\(corpus)", "--set", "run.steps=1000000",
      ], when: "step 10/"
    ) { _ in truncate(corpus, 100) }
    #expect(run.status == 2, "\(run.output.suffix(500))")
    #expect(run.output.contains("it shrank from 7000 to"), "\(run.output.suffix(500))")
    #expect(!run.output.contains("skipped"), "\(run.output.suffix(500))")
  }
}
