// The options of `evaluate` that ask for several scores, or for other bytes.
import Foundation
import TestSupport
import Testing

@Suite("Options of evaluate", .serialized)
struct EvaluateCommandTests {
  let tiny: TinyRun

  init() throws {
    tiny = try TinyRun()
    try #require(try tiny.train("run", ["--steps", "3"]).status == 0)
  }

  private struct Score: Decodable, Equatable {
    struct Position: Decodable, Equatable {
      let seen_from: Int
      let bits_per_byte: Double
      let bytes: Int
    }
    let bits_per_byte: Double
    let bits_per_byte_deviation: Double?
    let bits_per_byte_by_seed: [Double]
    let bits_per_character: Double?
    let characters: Int?
    let bytes: Int
    let `protocol`: String
    let split: String?
    let corpus: String?
    let hashes: Int
    let positions: [Position]
  }

  private func run(_ options: [String]) throws -> ProgramRun {
    try ProgramRun("reformer-train", arguments: ["evaluate", tiny.output("run")] + options)
  }

  /// The objects printed, one after the other.
  private func scores(_ options: [String]) throws -> [Score] {
    let run = try run(options + ["--json"])
    #expect(run.status == 0, "\(run.output)")
    let lines = run.output.split(separator: "\n")
    let start = lines.firstIndex { $0 == "{" } ?? lines.endIndex
    return try lines[start...].split(separator: "}", omittingEmptySubsequences: true).map {
      try JSONDecoder().decode(
        Score.self, from: Data(($0.joined(separator: "\n") + "}").utf8))
    }
  }

  @Test(
    "rotary and infused positions go on past the trained length, tables end there",
    arguments: ["rotary", "infused"])
  func longContext(positions: String) throws {
    let keys = ["model.positions=\(positions)", "model.axial_shape=[]", "model.axial_widths=[]"]
    let trained = try tiny.train(
      positions, ["--steps", "3"] + keys.flatMap { ["--set", $0] })
    #expect(trained.status == 0, "\(trained.output)")
    func evaluate(_ run: String) throws -> ProgramRun {
      try ProgramRun(
        "reformer-train", arguments: ["evaluate", tiny.output(run), "--context", "300"])
    }
    let long = try evaluate(positions)
    #expect(long.status == 0 && long.output.contains("blocks of 300,"), "\(long.output)")
    let ended = try evaluate("run")
    #expect(ended.status == 2, "\(ended.output)")
    #expect(ended.output.contains("--context 300; legal values: 1 to data.length, 90"))
  }

  @Test(
    "a list of hash rounds gives a score of each, and that of the trained number is the usual one")
  func sweep() throws {
    let usual = try scores([])
    #expect(usual.count == 1 && usual[0].hashes == 2 && usual[0].protocol == "blocks")
    let sweep = try scores(["--hashes", "1,2,4"])
    #expect(sweep.map(\.hashes) == [1, 2, 4])
    #expect(sweep[1] == usual[0])
    #expect(Set(sweep.map(\.bits_per_byte)).count == 3)
    let text = try run(["--hashes", "1,2,4"]).output
    for score in sweep {
      #expect(
        text.contains(
          String(
            format: "step 3  test  %.4f bits/byte over %d bytes  "
              + "(blocks of 90, nothing carried over, %d hash round%@)", score.bits_per_byte,
            score.bytes, score.hashes, score.hashes == 1 ? "" : "s")), "\(text)")
    }
  }

  @Test("several hash seeds give their mean and deviation, and the first is the usual one")
  func seeds() throws {
    let usual = try scores([])[0]
    #expect(usual.bits_per_byte_deviation == nil)
    let score = try #require(try scores(["--hash-seeds", "3"]).first)
    let all = score.bits_per_byte_by_seed
    #expect(all.count == 3 && Set(all).count == 3 && all[0] == usual.bits_per_byte)
    let mean = all.reduce(0, +) / 3
    #expect(abs(score.bits_per_byte - mean) < 1e-12)
    let variance = all.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 2
    #expect(abs((score.bits_per_byte_deviation ?? 0) - variance.squareRoot()) < 1e-12)
    let nats = score.positions.reduce(0) { $0 + $1.bits_per_byte * Double($1.bytes) }
    #expect(abs(nats / Double(score.bytes) - mean) < 1e-5)
  }

  @Test("a stride below the context is the other protocol, and the figure says so")
  func sliding() throws {
    let score = try #require(try scores(["--stride", "30"]).first)
    #expect(score.protocol == "sliding")
    let text = try run(["--stride", "30", "--positions"]).output
    #expect(text.contains("(sliding windows of 90, 30 scored in each, 2 hash rounds)"), "\(text)")
    #expect(text.contains(/\n64 to 90 +\d\.\d{4} +\d+/), "\(text)")
  }

  @Test(
    "another file is scored whole, or the part asked for, to the bits of the same bytes elsewhere")
  func otherFile() throws {
    let usual = try scores([])[0]
    let text = TinyRun.text()
    let bytes = Array(text.utf8)
    try tiny.folder.write("other", Array(bytes[(bytes.count * 95 / 100)...]))
    let other = try #require(try scores(["--corpus", tiny.folder.path("other")]).first)
    #expect(other.bits_per_byte == usual.bits_per_byte && other.bytes == usual.bytes)
    #expect(other.split == nil && other.corpus == tiny.folder.path("other"))
    let part = try #require(
      try scores(["--corpus", tiny.folder.path("corpus"), "--split", "test"]).first)
    #expect(part.bits_per_byte == usual.bits_per_byte && part.split == "test")
    try tiny.folder.write("binary", (0..<300).map { UInt8(truncatingIfNeeded: $0 * 7 + 128) })
    let binary = try #require(try scores(["--corpus", tiny.folder.path("binary")]).first)
    #expect(binary.bytes == 299 && binary.characters == nil && binary.bits_per_character == nil)
    let characters = String(repeating: "é漢 ", count: 60)
    try tiny.folder.write("characters", text: characters)
    let file = tiny.folder.path("characters")
    let unicode = try #require(try scores(["--corpus", file, "--stride", "7"]).first)
    #expect(unicode.characters == 179 && unicode.bytes == 359)
    #expect(
      abs((unicode.bits_per_character ?? 0) - unicode.bits_per_byte * 359 / 179) < 1e-9)
  }

  @Test(
    "what cannot be is refused in a line",
    arguments: [
      (["--hashes", "0"], "attention.lsh.hashes"), (["--hashes", "2,x"], "attention.lsh.hashes"),
      (["--hash-seeds", "0"], "--hash-seeds 0; legal values: 1 to 1000"),
      (["--corpus", "/nowhere"], "/nowhere does not exist"),
    ])
  func refused(options: [String], says: String) throws {
    let run = try run(options)
    #expect(run.status == 2, "\(run.output)")
    #expect(run.output.contains(says), "\(run.output)")
  }
}
