// What this machine has left for a run: limits of control groups on made-up folders, and who shares the cores.
import Communication
import Foundation
import TestSupport
import Testing
import Training

@Suite("The machine's share for a rank")
struct MachineMemoryTests {
  private static let gib = 1 << 30

  /// What is left where these files hold these texts; the machine itself has 64 GiB available.
  private func available(_ files: [String: String]) throws -> Int? {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let machine = ["proc/meminfo": "MemTotal: 1 kB\nMemAvailable:   67108864 kB\n"]
    for (name, text) in files.merging(machine, uniquingKeysWith: { $1 }) {
      let path = folder.path(name)
      try FileManager.default.createDirectory(
        atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
      try text.write(toFile: path, atomically: false, encoding: .utf8)
    }
    return MachineMemory.availableBytes(root: folder.path)
  }

  private static let second = [
    "proc/self/mountinfo": "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n",
    "proc/self/cgroup": "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0\n",
  ]

  private static let first = [
    "proc/self/mountinfo":
      "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
      + "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
      + "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
    "proc/self/cgroup":
      "9:cpu,cpuacct:/slurm\n4:memory:/slurm/uid_1000/job_7/step_0/task_0\n0::/\n",
  ]

  @Test("without groups it is what the machine has available")
  func machine() throws {
    #expect(try available([:]) == 64 * Self.gib)
    #expect(try available(Self.first) == 64 * Self.gib)
    #expect(try available(Self.second) == 64 * Self.gib)
  }

  @Test("version 2: a job's limit counts for the task inside, and unused pages of files are free")
  func versionTwo() throws {
    let job = "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7"
    var files = Self.second
    files["\(job)/memory.max"] = "\(8 * Self.gib)\n"
    files["\(job)/memory.high"] = "max\n"
    files["\(job)/memory.current"] = "\(7 * Self.gib)\n"
    files["\(job)/step_0/user/task_0/memory.max"] = "max\n"
    files["\(job)/step_0/user/task_0/memory.current"] = "1\n"
    #expect(try available(files) == Self.gib)
    files["\(job)/memory.stat"] =
      "anon \(2 * Self.gib)\nfile 9\ninactive_file \(5 * Self.gib)\nactive_file 9\n"
    #expect(try available(files) == 6 * Self.gib)
    // The tightest level decides, and what only slows down is a limit too.
    files["\(job)/step_0/memory.max"] = "\(4 * Self.gib)\n"
    files["\(job)/step_0/memory.current"] = "\(Self.gib)\n"
    #expect(try available(files) == 3 * Self.gib)
    files["\(job)/step_0/memory.high"] = "\(2 * Self.gib)\n"
    #expect(try available(files) == Self.gib)
    files["sys/fs/cgroup/memory.max"] = "\(5 * Self.gib)\n"
    files["sys/fs/cgroup/memory.current"] = "\(6 * Self.gib)\n"
    #expect(try available(files) == 0)
  }

  @Test("version 1: each level up to the root, with what its groups use together")
  func versionOne() throws {
    let root = "sys/fs/cgroup/memory"
    var files = Self.first
    files["\(root)/memory.limit_in_bytes"] = "9223372036854771712\n"
    files["\(root)/memory.usage_in_bytes"] = "\(50 * Self.gib)\n"
    files["\(root)/slurm/uid_1000/job_7/memory.limit_in_bytes"] = "\(16 * Self.gib)\n"
    files["\(root)/slurm/uid_1000/job_7/memory.usage_in_bytes"] = "\(12 * Self.gib)\n"
    files["\(root)/slurm/uid_1000/job_7/memory.stat"] =
      "inactive_file 0\ntotal_inactive_file \(10 * Self.gib)\n"
    #expect(try available(files) == 14 * Self.gib)
  }

  @Test("a container sees its group where the hierarchy is mounted")
  func container() throws {
    var files = [
      "proc/self/mountinfo": "35 24 0:30 /docker/abc /cg rw,nosuid - cgroup2 cgroup2 rw\n",
      "proc/self/cgroup": "0::/docker/abc/inner\n",
    ]
    files["cg/inner/memory.max"] = "\(3 * Self.gib)\n"
    files["cg/inner/memory.current"] = "\(Self.gib)\n"
    #expect(try available(files) == 2 * Self.gib)
    files["cg/memory.max"] = "\(Self.gib)\n"
    files["cg/memory.current"] = "0\n"
    #expect(try available(files) == Self.gib)
  }

  @Test("this machine has some memory left, and not more than it has")
  func here() throws {
    let bytes = try #require(MachineMemory.availableBytes)
    #expect(bytes > 1 << 20 && bytes <= Int(ProcessInfo.processInfo.physicalMemory))
  }

  @Test("ranks with the same cores divide them, ranks bound apart do not")
  func cores() {
    func placement(_ places: [String], rank: Int, cores: Int) -> [Int] {
      let placement = Placement(places: places, rank: rank, cores: cores)
      return [placement.ranksHere, placement.threads(configured: 0)]
    }
    let unbound = [String](repeating: "0 0-7", count: 4)
    #expect(placement(unbound, rank: 3, cores: 8) == [4, 2])
    #expect(placement(["0 0-3", "0 4-7"], rank: 1, cores: 4) == [2, 4])
    #expect(placement(["0 0-7", "0 0-7", "2 0-7", "2 0-7", "2 0-7"], rank: 4, cores: 8) == [3, 2])
    // A job that has a quarter of a machine to itself: its ranks share that quarter.
    #expect(placement(["0 8-15", "0 8-15"], rank: 0, cores: 8) == [2, 4])
    #expect(placement([String](repeating: "0 0", count: 3), rank: 0, cores: 1) == [3, 1])
    #expect(Placement(places: unbound, rank: 0, cores: 8).threads(configured: 5) == 5)
  }

  @Test("a rank has a thread for each core it was bound to; with more it says so before it trains")
  func bound() throws {
    let tiny = try TinyRun()
    func run(_ name: String, threads: String) throws -> ProgramRun {
      try ProgramRun(
        executable: "/usr/bin/env",
        arguments: [
          "taskset", "--cpu-list", "0", ProgramRun.path("reformer-train"), "train", "--config",
          tiny.config, "--output", tiny.output(name), "--steps", "1", "--set",
          "run.threads=\(threads)",
        ])
    }
    let two = try run("two", threads: "2")
    #expect(two.status == 0, "\(two.output)")
    let notice = "2 threads of a rank on 1 core take turns"
    #expect(two.output.contains(notice) && two.output.contains("run.threads=1"), "\(two.output)")
    let auto = try run("auto", threads: "auto")
    #expect(auto.output.contains("1 rank x 1 thread,") && !auto.output.contains(notice))
  }

  @Test("a batch system's variables do not divide the cores where there are no ranks")
  func variables() throws {
    let cores = ProcessInfo.processInfo.activeProcessorCount
    #expect(Placement.alone.threads(configured: 0) == cores)
    #expect(try Placement(SoloCommunicator()).threads(configured: 0) == cores)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: ProgramRun.path("reformer-train"))
    process.arguments = ["doctor"]
    process.environment = ProcessInfo.processInfo.environment.merging(
      ["SLURM_NTASKS_PER_NODE": "64", "MPI_LOCALNRANKS": "64"], uniquingKeysWith: { $1 })
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    #expect(output.contains("\(cores) threads a rank"), "\(output)")
  }

  @Test(
    "MPI says which ranks share the machine",
    .needs(.mpirun))
  func ranks() throws {
    let cores = ProcessInfo.processInfo.activeProcessorCount
    let run = try ProgramRun("reformer-train", ranks: 2, arguments: ["doctor"])
    #expect(run.status == 0 && run.output.contains("\(max(1, cores / 2)) threads a rank"))
  }
}
