// launch/corpus.sh where nothing can be fetched; that it fetches is for the network to show.
import Foundation
import TestSupport
import Testing

@Suite("launch/corpus.sh says what is wrong in a line")
struct CorpusScriptTests {
  private let folder: TemporaryFolder

  /// Copies the scripts into what they take for a checkout, where they work in its top folder.
  init() throws {
    folder = try TemporaryFolder()
    try folder.write("Package.swift", text: "")
    try FileManager.default.copyItem(
      atPath: ProgramRun.launchFolder, toPath: folder.path("launch"))
    try FileManager.default.createDirectory(
      atPath: folder.path("tools"), withIntermediateDirectories: true)
  }

  /// Runs the script where `tools` (name and script) stand before those of the machine.
  private func script(
    _ arguments: [String], tools: [String: String] = [:]
  ) throws -> (status: Int32, output: String) {
    for (name, text) in tools {
      let path = try folder.write("tools/" + name, text: "#!/bin/sh\n" + text)
      try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
    }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: folder.path("launch/corpus.sh"))
    process.arguments = arguments
    let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
    process.environment = ProcessInfo.processInfo.environment.merging([
      "PATH": folder.path("tools") + ":" + path
    ]) { $1 }
    let pipe = Pipe()
    (process.standardOutput, process.standardError) = (pipe, pipe)
    try process.run()
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: data, as: UTF8.self))
  }

  /// Without the commands it says it runs.
  private func messages(_ output: String) -> [Substring] {
    output.split(separator: "\n").filter { !$0.hasPrefix("+ ") }
  }

  @Test("an unknown name ends it with the names there are, which the list tells of")
  func unknown() throws {
    let run = try script(["no-such-corpus"])
    #expect(run.status == 2)
    #expect(messages(run.output).count == 1, "\(run.output)")
    let list = try script([])
    #expect(list.status == 0)
    for name in ["enwiki-sample", "foldoc", "go-source", "office-help", "enwik8"] {
      #expect(run.output.contains(name) && list.output.contains("\n\(name) "), "\(name)")
    }
  }

  @Test(
    "a tool that fails is quoted, and leaves nothing behind",
    arguments: [
      ("foldoc", ["apt-get": "echo; echo E: broken >&2; echo; exit 100"]),
      ("go-source", ["apt-get": "echo E: broken >&2; exit 100"]),
      ("office-help", ["apt-get": "echo E: broken >&2; exit 100"]),
      ("enwiki-sample", ["python3": "echo E: broken >&2; [ \"$3\" = --version ]"]),
      ("enwik8", ["python3": "cat >/dev/null; echo E: broken >&2; exit 1"]),
    ])
  func failing(name: String, tools: [String: String]) throws {
    let run = try script([name], tools: tools)
    #expect(run.status == 1 || run.status == 2)
    let messages = messages(run.output).filter { !$0.contains("package lists") }
      .filter { !$0.contains("downloading http") }
    #expect(messages.count == 1, "\(run.output)")
    #expect(messages[0].contains("\(name): ") && messages[0].contains("E: broken"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("corpora")).isEmpty)
  }
}
