// docs/schemas/: what the program says of its JSON, and that what it prints is so.
import Foundation
import TestSupport
import Testing
import Training

@Suite("Schemas of --json")
struct OutputSchemaTests {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../../docs/schemas").standardized.path

  private static func schema(_ name: String) throws -> SchemaCheck {
    try SchemaCheck(String(contentsOfFile: "\(folder)/\(name).json", encoding: .utf8))
  }

  /// The objects that a command prints, one after the other.
  private static func objects(_ output: String) -> [String] {
    var objects: [[Substring]] = []
    for line in output.split(separator: "\n") {
      if line == "{" { objects.append([]) }
      if !objects.isEmpty, objects[objects.count - 1].last != "}" {
        objects[objects.count - 1].append(line)
      }
    }
    return objects.map { $0.joined(separator: "\n") }
  }

  @Test("docs/schemas has what help schema prints, and nothing else")
  func pages() throws {
    let list = try ProgramRun("reformer-train", arguments: ["help", "schema"])
    let names = list.output.split(separator: "\n").map(String.init)
    #expect(list.status == 0 && names.count > 5)
    let files = try FileManager.default.contentsOfDirectory(atPath: Self.folder)
    #expect(Set(files) == Set(names.map { "\($0).json" }))
    for name in names {
      let run = try ProgramRun("reformer-train", arguments: ["help", "schema", name])
      #expect(
        try String(contentsOfFile: "\(Self.folder)/\(name).json", encoding: .utf8) == run.output,
        "reformer-train help schema \(name) > docs/schemas/\(name).json")
    }
    let unknown = try ProgramRun("reformer-train", arguments: ["help", "schema", "nonsense"])
    #expect(unknown.status == 2 && unknown.output.contains("no schema nonsense; there are audit"))
  }

  @Test("what commands print is valid")
  func outputs() throws {
    let tiny = try TinyRun()
    #expect(try tiny.train("run", ["--steps", "6"]).status == 0)
    let run = tiny.output("run")
    let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Fixtures").path
    var commands: [(String, Int?, [String])] = [
      ("audit", nil, ["audit", run, "--windows", "1"]),
      ("benchmark", nil, ["benchmark", "--config", tiny.config, "--steps", "1"]),
      ("conformance", nil, ["conformance", "\(fixtures)/local"]),
      ("conformance-training", nil, ["conformance", "\(fixtures)/training"]),
      ("doctor", nil, ["doctor"]),
      ("evaluate", nil, ["evaluate", run, "--hashes", "1,2", "--hash-seeds", "2"]),
      (
        "evaluate", nil, ["evaluate", run, "--corpus", tiny.folder.path("corpus"), "--stride", "9"]
      ),
      ("inspect", nil, ["inspect", run]),
      ("inspect-verify", nil, ["inspect", run, "--verify"]),
      ("plan", nil, ["plan", "--config", tiny.config]),
      (
        "plan", nil,
        ["plan", "--config", tiny.config, "--ranks", "2", "--window-seconds", "1"]
          + ["--link-gbps", "1", "10"]
      ),
    ]
    if ProgramRun.mpirun != nil {
      commands.append(("doctor", 2, ["doctor"]))
      commands.append(
        ("benchmark-reduction", 2, ["benchmark", "--reduction", "--floats", "9999"]))
    }
    for (name, ranks, arguments) in commands {
      let run = try ProgramRun("reformer-train", ranks: ranks, arguments: arguments + ["--json"])
      #expect(run.status == 0, "\(run.output)")
      let objects = Self.objects(run.output)
      #expect(objects.count == (arguments.contains("1,2") ? 2 : 1), "\(run.output)")
      for object in objects {
        let problems = try Self.schema(name).problems(object)
        #expect(problems.isEmpty, "\(arguments): \(problems) in \(object)")
      }
    }
  }

  @Test("the check finds a key too few, one too many, and a value of another type")
  func check() throws {
    let good = #"{"steps": [{"folder": "a", "problem": "b"}, {"folder": "c"}]}"#
    let schema = try Self.schema("inspect-verify")
    #expect(try schema.problems(good).isEmpty)
    for (from, to) in [
      (#""folder": "c""#, ""), ("problem", "trouble"), (#""a""#, "1"), (#""b""#, "true"),
      ("steps", "stages"), (#"{"folder": "c"}"#, "[]"),
    ] {
      #expect(try !schema.problems(good.replacing(from, with: to)).isEmpty, "\(to)")
    }
  }

  struct Everything: Decodable {
    enum Choice: String, Decodable, CaseIterable { case one, two }
    struct Tree: Decodable {
      let leaves: [Tree]?
    }
    let isSo: Bool
    let hash: UInt64
    let share: Double?
    let choice: Choice
    let tableOfLists: [String: [Int]]
    let tree: Tree
  }

  @Test(
    "a schema has all that a type has: optional keys, choices, tables, and types that hold themselves"
  )
  func types() throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let schema = try JSONSchema(of: Everything.self, title: "everything")
    let text = String(decoding: try encoder.encode(schema), as: UTF8.self)
    let name = "OutputSchemaTests.Everything"
    for part in [
      #""is_so":{"type":"boolean"}"#, #""hash":{"minimum":0,"type":"integer"}"#,
      #""share":{"type":"number"}"#, #""choice":{"enum":["one","two"]}"#,
      #""table_of_lists":{"additionalProperties":{"items":{"type":"integer"},"type":"array"},"type":"object"}"#,
      #""required":["choice","hash","is_so","table_of_lists","tree"]"#,
      ##""leaves":{"items":{"$ref":"#/$defs/"##,
    ] {
      #expect(text.contains(part), "\(part) in \(text)")
    }
    #expect(text.contains(name), "\(text)")
    let check = try SchemaCheck(text)
    let good =
      #"{"is_so":true,"hash":7,"choice":"two","table_of_lists":{"a":[1]},"tree":{"leaves":[{}]}}"#
    #expect(try check.problems(good).isEmpty)
    for (from, to) in [
      ("two", "three"), ("true", "1"), ("[1]", "[1.5]"), ("[{}]", "[[]]"), ("7", "-7"),
    ] {
      #expect(try !check.problems(good.replacing(from, with: to)).isEmpty, "\(to)")
    }
  }
}
