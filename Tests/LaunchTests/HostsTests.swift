// launch/hosts.sh: what it reads, what it checks before a run, and what it makes of a failing one.
import Foundation
import TestSupport
import Testing

@Suite("Hosts", .serialized, .needs(.mpirun))
struct HostsTests {
  let standIns: StandIns
  let tiny: TinyRun

  init() throws {
    standIns = try StandIns()
    tiny = try TinyRun()
  }

  /// Runs hosts.sh with this host file; in place of ssh `agent`, a script that gets host and command.
  private func hosts(
    _ file: String, _ arguments: [String], options: [String] = [],
    agent: String = #"shift; exec sh -c "$*""#, when text: String? = nil,
    act: (Process) -> Void = { _ in }
  ) throws -> ProgramRun {
    let path = try standIns.folder.write("hosts", text: file)
    return try ProgramRun(
      script: "hosts.sh", options + [path] + arguments,
      environment: ["OMPI_MCA_plm_rsh_agent": try standIns.add("agent", agent)],
      when: text, act: act)
  }

  private func arguments(_ name: String, _ more: [String] = []) -> [String] {
    ["--config", tiny.config, "--output", tiny.output(name)] + more
  }

  @Test(
    "ranks of a host are its slots, in decimal, whatever else its line says",
    arguments: [
      ("localhost", 1), ("localhost slots=2", 2), ("localhost slots=08", 8),
      ("localhost max-slots=4", 1), ("localhost slots=2 max_slots=4  # the login node", 2),
      ("# a comment\n\nlocalhost slots=3\r\n", 3),
    ])
  func slots(_ file: String, _ ranks: Int) throws {
    let run = try hosts(file, ["--version"])
    #expect(run.status == 0, "\(run.output)")
    #expect(run.output.contains("+ mpirun -np \(ranks) "), "\(run.output)")
  }

  @Test(
    "a line that is no host is refused by its number",
    arguments: [
      ("-oProxyCommand=true slots=2", "line 1: '-oProxyCommand=true' is no host"),
      ("localhost\na;b", "line 2: 'a;b' is no host"),
      ("localhost slots=0", "line 1: localhost has slots=0"),
      ("localhost slots=two", "line 1: slots=two"), ("localhost slots=", "line 1: slots="),
      ("localhost slot=2", "line 1: 'slot=2' is not understood"),
      ("localhost\nlocalhost", "line 2: localhost is there twice"), ("# none", "names no host"),
    ])
  func badLines(_ file: String, _ message: String) throws {
    let run = try hosts(file, ["--version"])
    #expect(run.status == 2, "\(run.output)")
    #expect(run.output.contains(message) && !run.output.contains("+ mpirun"), "\(run.output)")
  }

  /// What `agent` does to the host `far`, and what hosts.sh says about it.
  static let unfit = [
    ("exit 255", "far runs no command by"),
    (hiding("$(dirname $CORPUS)"), "far has no corpus"),
    (covering("$PROGRAM", by: "/bin/true"), "far has another"),
    (covering("$BLAS", by: "/dev/null"), "far cannot start"),
    (
      "mkdir -p $FEW; ln -sf /bin/sh /usr/bin/sha256sum $FEW; PATH=$FEW exec sh -c \"$*\"",
      "far has no Open MPI (orted)"
    ),
    (hiding("$(dirname $PROGRAM)"), "far has no"),
  ]

  private static func hiding(_ folder: String) -> String {
    "exec unshare --mount sh -c \"mount -t tmpfs none \(folder); $*\""
  }

  private static func covering(_ file: String, by other: String) -> String {
    "exec unshare --mount sh -c \"mount --bind \(other) \(file); $*\""
  }

  /// The agent that does `deed` to host `far` and nothing to others.
  private func agent(_ deed: String) -> String {
    """
    host=$1; shift
    [[ $host == far ]] || exec sh -c "$*"
    CORPUS=\(tiny.folder.path("corpus")) PROGRAM=$(readlink -f \(ProgramRun.path("reformer-train")))
    FEW=\(standIns.folder.path("few"))
    BLAS=$(readlink -f $(ldd $PROGRAM | sed -n 's/.*libopenblas.* => \\([^ ]*\\) .*/\\1/p'))
    \(deed)
    """
  }

  @Test("a host that cannot take part is named before the run", .needs(.mounts), arguments: unfit)
  func fitness(_ deed: String, _ message: String) throws {
    let run = try hosts("localhost\nfar", arguments("unfit"), agent: agent(deed))
    #expect(run.status == 2, "\(run.output)")
    #expect(run.output.contains(message), "\(run.output)")
    #expect(run.output.contains("not started") && !run.output.contains("+ mpirun"))
  }

  @Test("each corpus of a mix is looked for on the hosts", .needs(.mounts))
  func mix() throws {
    try FileManager.default.createDirectory(
      atPath: standIns.folder.path("few"), withIntermediateDirectories: true)
    let corpus = try standIns.folder.write("few/texts", text: TinyRun.text())
    let single = "corpus = \"\(tiny.folder.path("corpus"))\"\n"
    let text = try String(contentsOfFile: tiny.config, encoding: .utf8)
    try #require(text.contains(single))
    let mix = [tiny.folder.path("corpus"), corpus].map {
      "[[data.mix]]\npath = \"\($0)\"\nweight = 0.5\n"
    }
    _ = try tiny.folder.write(
      "tiny.toml", text: text.replacing(single, with: "") + "\n" + mix.joined())
    let run = try hosts(
      "localhost\nfar", arguments("mix"), agent: agent(Self.hiding("$FEW")))
    #expect(run.status == 2, "\(run.output)")
    #expect(run.output.contains("far has no corpus"), "\(run.output)")
    #expect(run.output.contains(corpus) && !run.output.contains("+ mpirun"), "\(run.output)")
  }

  @Test("with --restart a host that cannot take part is left out, and the bits are the same")
  func leftOut() throws {
    let run = try hosts(
      "localhost\nfar", arguments("less"), options: ["--restart"], agent: agent("exit 255"))
    #expect(run.status == 0, "\(run.output)")
    #expect(run.output.contains("1 ranks instead of 2"), "\(run.output)")
    #expect(try tiny.train("whole", ranks: 2).status == 0)
    #expect(try tiny.digest("less") == tiny.digest("whole"))
  }

  @Test("wrong input is 2 and a killed rank is 1, also for ranks of one machine")
  func statuses() throws {
    for script in ["local.sh", "hosts.sh"] {
      let file = try standIns.folder.write("two", text: "localhost slots=2")
      let where_ = script == "local.sh" ? "2" : file
      let environment = ["OMPI_MCA_plm_rsh_agent": try standIns.add("ssh", #"shift; sh -c "$*""#)]
      let wrong = try ProgramRun(
        script: script, [where_] + arguments("wrong", ["--set", "model.width=-1"]),
        environment: environment)
      #expect(wrong.status == 2, "\(wrong.output)")
      let name = "killed-by-\(script)"
      let killed = try ProgramRun(
        script: script, [where_] + arguments(name, ["--set", "run.steps=100000"]),
        environment: environment, when: "step 5/"
      ) { _ in
        if let rank = trainers(with: name).max() { kill(rank, SIGKILL) }
      }
      #expect(killed.status == 1, "\(killed.output)")
    }
  }

  @Test("a signal ends the run with a checkpoint and status 0, with --restart too")
  func signal() throws {
    let run = try hosts(
      "localhost slots=2", arguments("signalled", ["--set", "run.steps=100000"]),
      options: ["--restart"], when: "step 5/"
    ) { $0.terminate() }
    #expect(run.status == 0, "\(run.output)")
    #expect(run.output.components(separatedBy: "+ mpirun").count == 2, "\(run.output)")
    #expect(try tiny.digest("signalled").count == 2)
  }

  @Test("with --restart a failed run goes on as long as it gets ahead")
  func gettingAhead() throws {
    let more = ["--set", "run.steps=300", "--set", "run.checkpoint_every=10"]
    let run = try hosts(
      "localhost slots=2", arguments("ahead", more), options: ["--restart"], when: "step 30/"
    ) { _ in
      if let rank = trainers(with: tiny.output("ahead")).max() { kill(rank, SIGKILL) }
    }
    #expect(run.status == 0, "\(run.output)")
    #expect(run.output.contains("going on from \(tiny.output("ahead"))/step-"), "\(run.output)")
    #expect(try tiny.train("whole", more).status == 0)
    #expect(try tiny.digest("ahead") == tiny.digest("whole"))

    let never = ["--set", "run.steps=100000", "--set", "run.checkpoint_every=0"]
    let stuck = try hosts(
      "localhost slots=2", arguments("stuck", never), options: ["--restart"], when: "step 5/"
    ) { _ in
      if let rank = trainers(with: tiny.output("stuck")).max() { kill(rank, SIGKILL) }
    }
    #expect(stuck.status == 1, "\(stuck.output)")
    #expect(stuck.output.contains("not started again"), "\(stuck.output)")
  }
}

@Suite("Two hosts", .serialized, .needs(.twoHosts))
struct TwoHostsTests {
  let tiny: TinyRun
  let name = "lt\(getpid() % 100_000)"

  init() throws { tiny = try TinyRun() }

  private func command(_ arguments: [String]) throws -> ProgramRun {
    try ProgramRun(executable: "/usr/bin/env", arguments: arguments)
  }

  private func run(
    _ folder: String, _ more: [String], restart: Bool = false, when text: String,
    act: () throws -> Void
  ) throws -> ProgramRun {
    try ProgramRun(
      script: "two-hosts.sh",
      ["--name", name] + (restart ? ["--restart"] : [])
        + ["train", "--config", tiny.config, "--output", tiny.output(folder)] + more,
      when: text
    ) { _ in
      do { try act() } catch { Issue.record(error) }
    }
  }

  @Test("a failing rank on the second host is status 1")
  func failingRank() throws {
    var killed = false
    let run = try run("failing", ["--set", "run.steps=100000"], when: "step 5/") {
      let pids = try command(["ip", "netns", "pids", name + "b"]).output.split(separator: "\n")
      let ranks = Set(pids.compactMap { pid_t($0) }).intersection(trainers(with: "failing"))
      #expect(ranks.count == 1)
      for rank in ranks { killed = kill(rank, SIGKILL) == 0 }
    }
    #expect(killed)
    #expect(run.status == 1, "\(run.output)")
  }

  @Test("a training that loses a host goes on with the other, to the same parameters")
  func lostHost() throws {
    let more = [
      "--set", "run.steps=400", "--set", "run.checkpoint_every=20", "--set",
      "run.wait_limit_seconds=3",
    ]
    let run = try run("lost", more, restart: true, when: "step 30/") {
      let cut = try command(["ip", "-n", name + "b", "link", "set", name + "b", "down"])
      #expect(cut.status == 0, "\(cut.output)")
    }
    #expect(run.status == 0, "\(run.output)")
    #expect(run.output.contains("1 ranks instead of 2"), "\(run.output)")
    #expect(run.output.contains("going on from \(tiny.output("lost"))/step-"), "\(run.output)")
    #expect(try tiny.train("whole", more).status == 0)
    #expect(try tiny.digest("lost") == tiny.digest("whole"))
  }
}
