// Small shell scripts that take the place of commands which are not ours to start: ssh, srun, scontrol.
import Foundation
import TestSupport

/// A folder of executables, to be put in front of PATH.
struct StandIns {
  let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
    try FileManager.default.createDirectory(
      atPath: folder.path("bin"), withIntermediateDirectories: true)
  }

  /// Writes the shell script `name`, without its first line, and returns its path.
  @discardableResult
  func add(_ name: String, _ script: String) throws -> String {
    let path = try folder.write("bin/\(name)", text: "#!/bin/bash\n\(script)\n")
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
    return path
  }

  /// PATH with the stand-ins first.
  var path: String {
    folder.path("bin") + ":" + (ProcessInfo.processInfo.environment["PATH"] ?? "")
  }

  /// The lines that stand-ins have written to the file `name` here.
  func lines(_ name: String) throws -> [String] {
    guard FileManager.default.fileExists(atPath: folder.path(name)) else { return [] }
    return try String(contentsOfFile: folder.path(name), encoding: .utf8)
      .split(separator: "\n").map(String.init)
  }
}

extension ProgramRun {
  /// Runs a script of the launch folder.
  init(
    script: String, _ arguments: [String], environment: [String: String] = [:],
    when text: String? = nil, act: (Process) -> Void = { _ in }
  ) throws {
    try self.init(
      executable: Self.launchFolder + "/" + script, arguments: arguments, environment: environment,
      when: text, act: act)
  }
}

/// Processes of the program with `text` in their command line.
func trainers(with text: String) -> [pid_t] {
  let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
  return entries.compactMap { pid_t($0) }.filter { process in
    guard let data = FileManager.default.contents(atPath: "/proc/\(process)/cmdline") else {
      return false
    }
    let words = String(decoding: data, as: UTF8.self).split(separator: "\0")
    return words.first?.hasSuffix("reformer-train") == true && words.contains { $0.contains(text) }
  }
}
