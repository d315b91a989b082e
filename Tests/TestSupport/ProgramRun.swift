// Runs the programs of this package as a user does: as processes, under mpirun where ranks are wanted.
import Foundation

/// One finished run of a program that lies beside the test bundle.
public struct ProgramRun {
  /// Exit code; 128 + n for a process ended by signal n.
  public let status: Int32
  /// Standard output and standard error together.
  public let output: String

  /// Path of a program that PATH finds, or nil where it is not installed.
  public static func tool(_ name: String) -> String? {
    (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map {
      "\($0)/\(name)"
    }
    .first { FileManager.default.isExecutableFile(atPath: $0) }
  }

  /// Path of mpirun, or nil where it is not installed.
  public static let mpirun = tool("mpirun")

  /// The scripts of the package.
  public static let launchFolder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../../launch").standardized.path

  /// Why launch/two-hosts.sh does not work here, or nil where it does.
  public static let refusalOfTwoHosts: String? = {
    guard mpirun != nil else { return "mpirun is not installed" }
    do {
      let run = try ProgramRun("reformer-train", twoHosts: [], arguments: ["--version"])
      return run.status == 3 ? run.output : nil
    } catch {
      return "\(error)"
    }
  }()

  /// Runs `program` with `arguments`, alone, or with `ranks` under mpirun, or on two hosts.
  ///
  /// `twoHosts`: options of launch/two-hosts.sh, which runs reformer-train. `folder`: working
  /// directory. `environment`: variables beside those of the tests. `act`: called once with the process when its output holds `text`, for example to
  /// send a signal. Traps when the program was not built.
  public init(
    _ program: String, ranks: Int? = nil, twoHosts options: [String]? = nil, arguments: [String],
    folder: String? = nil, environment: [String: String] = [:], when text: String? = nil,
    act: (Process) -> Void = { _ in }
  ) throws {
    let path = Self.path(program)
    let executable: String
    var all = arguments
    if let options {
      executable = Self.launchFolder + "/two-hosts.sh"
      all = options + arguments
    } else if let ranks {
      guard let mpirun = Self.mpirun else { preconditionFailure("mpirun is not installed") }
      executable = mpirun
      var options = ["-np", "\(ranks)", "--oversubscribe", "--bind-to", "none", "--timeout", "120"]
      if geteuid() == 0 { options.append("--allow-run-as-root") }
      all = options + [path] + arguments
    } else {
      executable = path
    }
    try self.init(
      executable: executable, arguments: all, folder: folder, environment: environment, when: text,
      act: act)
  }

  /// Runs any executable file, for example a script; the rest as above.
  public init(
    executable: String, arguments: [String], folder: String? = nil,
    environment: [String: String] = [:], when text: String? = nil,
    act: (Process) -> Void = { _ in }
  ) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: executable)
    process.arguments = arguments
    if let folder { process.currentDirectoryURL = URL(fileURLWithPath: folder) }
    if !environment.isEmpty {
      process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    }
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    // The threads that tests run on block signals, and a process starts with the mask of its parent.
    var none = sigset_t()
    var before = sigset_t()
    sigemptyset(&none)
    pthread_sigmask(SIG_SETMASK, &none, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    try process.run()
    var data = Data()
    var acted = false
    while true {
      let part = pipe.fileHandleForReading.availableData
      if part.isEmpty { break }
      data += part
      if let text, !acted, String(decoding: data, as: UTF8.self).contains(text) {
        acted = true
        act(process)
      }
    }
    process.waitUntilExit()
    output = String(decoding: data, as: UTF8.self)
    status =
      process.terminationReason == .uncaughtSignal
      ? 128 + process.terminationStatus : process.terminationStatus
  }

  /// The process of a program, and where it is mpirun, the ranks that it has started.
  public static func processes(_ process: Process) -> [pid_t] {
    let pid = process.processIdentifier
    let children = try? String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8)
    return [pid] + (children ?? "").split(separator: " ").compactMap { pid_t($0) }
  }

  /// Where `program` of this package is; traps when it was not built.
  public static func path(_ program: String) -> String {
    let tests = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    let path = tests.deletingLastPathComponent().appendingPathComponent(program).path
    precondition(FileManager.default.isExecutableFile(atPath: path), "no program at \(path)")
    return path
  }
}
