// launch/compare-transformers.sh, compare-kinds.sh, compare-translation.sh and evidence.sh where what they need is missing. What they compare takes
// torch, or hours, and is no test.
import Foundation
import TestSupport
import Testing

@Suite("Comparison with other people's code and figures, without what it needs", .serialized)
struct CompareOthersTests {
  let standIns: StandIns

  // A folder like a checkout, with the program but without Python packages.
  init() throws {
    standIns = try StandIns()
    let (files, folder) = (FileManager.default, standIns.folder)
    try files.copyItem(atPath: ProgramRun.launchFolder, toPath: folder.path("launch"))
    try folder.write("Package.swift", text: "")
    try folder.write("corpus", text: "text")
    try files.createDirectory(atPath: folder.path(".build"), withIntermediateDirectories: true)
    try files.createSymbolicLink(
      atPath: folder.path(".build/release"),
      withDestinationPath: URL(fileURLWithPath: ProgramRun.path("reformer-train"))
        .deletingLastPathComponent().path)
  }

  private func expect(
    _ status: Int32, _ message: String, _ arguments: [String] = ["checkpoint", "corpus"],
    of script: String = "compare-transformers.sh", path: String? = nil,
    at place: SourceLocation = #_sourceLocation
  ) throws {
    let run = try ProgramRun(
      executable: standIns.folder.path("launch/\(script)"), arguments: arguments,
      environment: ["PATH": path ?? standIns.path])
    #expect(run.status == status, "\(run.output)", sourceLocation: place)
    // Beside the commands that are shown.
    let lines = run.output.split(separator: "\n").filter { !$0.hasPrefix("+ ") }
    #expect(lines.count == 1, "\(run.output)", sourceLocation: place)
    #expect(
      lines.last?.hasPrefix("\(script): \(message)") == true, "\(run.output)",
      sourceLocation: place)
  }

  @Test("arguments that are missing or no file are named")
  func arguments() throws {
    try expect(2, "two arguments", [])
    try expect(2, "two arguments", ["checkpoint", "corpus", "4096"])
    try expect(2, "missing: no corpus to read", ["checkpoint", "missing"])
    try expect(2, "launch: no corpus to read", ["--enwik8-shape", "launch"])
    try expect(2, "no corpus; launch/corpus.sh", [], of: "compare-kinds.sh")
    try expect(2, "missing: no corpus to read", ["missing"], of: "compare-kinds.sh")
    try expect(2, "lhs: no kind of attention", ["corpus", "lhs"], of: "compare-kinds.sh")
    try standIns.folder.write("text.toml", text: "[data]\ntask = \"bytes\"\n")
    try standIns.folder.write(
      "pairs.toml", text: "[data]\ntask = \"pairs\"\ncorpus = \"none\"\n")
    for (message, arguments) in [
      ("four arguments", []), ("missing: no config to read", ["missing", "1", "1", "out"]),
      ("0: MINUTES is a number from 1", ["text.toml", "0", "1", "out"]),
      ("x: SEED is a number", ["text.toml", "1", "x", "out"]),
      ("text.toml: data.task is not \"pairs\"", ["text.toml", "1", "1", "out"]),
      ("none: no corpus to read", ["pairs.toml", "1", "1", "out"]),
    ] {
      try expect(2, message, arguments, of: "compare-translation.sh")
    }
    try FileManager.default.removeItem(atPath: standIns.folder.path(".build/release"))
    try expect(2, ".build/release/reformer-train is missing; run: swift build")
    try expect(2, ".build/release/reformer-train is missing", ["corpus"], of: "compare-kinds.sh")
  }

  @Test("parts of the evidence are named, and so is what there is none of")
  func evidence() throws {
    try expect(2, "name one part or several: duplication", [], of: "evidence.sh")
    try expect(2, "there is no part table", ["depth", "table"], of: "evidence.sh")
    try expect(2, "--ranks takes a number from 1, not '0'", ["--ranks", "0"], of: "evidence.sh")
    try expect(2, "--ranks takes a number from 1, not ''", ["--ranks"], of: "evidence.sh")
    try expect(2, "name one part or several", ["--ranks", "1"], of: "evidence.sh")
    try FileManager.default.removeItem(atPath: standIns.folder.path(".build/release"))
    try expect(2, "no program; ", ["depth"], of: "evidence.sh")
  }

  @Test("no Python, no venv and no network are said in a line")
  func python() throws {
    // Everything that the script needs up to there, but no python3.
    for name in ["bash", "basename", "dirname", "mktemp", "rm", "env"] {
      let found = ["/usr/bin/", "/bin/"].map { $0 + name }.first {
        FileManager.default.fileExists(atPath: $0)
      }
      try FileManager.default.createSymbolicLink(
        atPath: standIns.folder.path("bin/\(name)"), withDestinationPath: try #require(found))
    }
    try expect(2, "python3 is missing", path: standIns.folder.path("bin"))
    try standIns.add("python3", "echo several; echo lines; exit 1")
    try expect(2, "python3 could not make .build/transformers; as root: apt-get install")
    // A venv whose pip has no network.
    try standIns.add(
      "python3",
      """
      mkdir -p "$3/bin"
      printf '#!/bin/bash\\necho retrying; echo "ERROR: no network"; exit 1\\n' >"$3/bin/pip"
      chmod +x "$3/bin/pip"
      """)
    try expect(1, "pip could not install torch and transformers: ERROR: no network")
  }
}
