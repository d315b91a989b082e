// Runs of data.task = "records": what is trained on and scored when lines are records.
import TestSupport
import Testing

@Suite("Runs on records", .serialized)
struct RecordRunTests {
  let tiny: TinyRun
  private let keys: [String]
  /// Long lines, with short ones between, of letters that follow from those before.
  private static let lines = [900, 30, 40, 1200, 2000, 700, 20, 90, 1100, 60]

  init() throws {
    tiny = try TinyRun()
    let text = Self.lines.enumerated().map { index, count in
      String(decoding: (0..<count - 1).map { UInt8(97 + $0 * (index + 3) % 7) }, as: UTF8.self)
        + "\n"
    }
    let corpus = try tiny.folder.write("records", text: text.joined())
    keys = [
      "data.task=records", "data.corpus=\(corpus)", "data.split=[0.6,0.2,0.2]", "run.steps=6",
    ]
  }

  @Test("the bits do not depend on ranks, and whole records are scored but for their first bytes")
  func records() throws {
    for (name, ranks) in [("one", 1), ("two", 2)] {
      let run = try tiny.train(name, ranks: ranks, keys.flatMap { ["--set", $0] })
      #expect(run.status == 0, "\(run.output)")
    }
    #expect(try tiny.digest("one") == tiny.digest("two"))
    // Of 6,140 bytes the cuts are at 3,684 and 4,912, so validation begins with the record of 700 bytes at 4,170, and test
    // with that of 1,100 at 4,980.
    for (split, scored) in [("validation", 699 + 109), ("test", 1099 + 59)] {
      let run = try ProgramRun(
        "reformer-train",
        arguments: ["evaluate", tiny.output("one"), "--split", split, "--bytes", "0", "--json"])
      #expect(run.status == 0, "\(run.output)")
      #expect(run.output.contains("\"bytes\" : \(scored),"), "\(run.output)")
    }
    // As of any text, windows may have other lengths than in training.
    let short = try ProgramRun(
      "reformer-train", arguments: ["evaluate", tiny.output("one"), "--context", "45"])
    #expect(short.status == 0 && short.output.contains("1158 bytes"), "\(short.output)")
  }
}
