// launch/slurm.sbatch with stand-ins for srun and scontrol, which write down their arguments.
import Foundation
import TestSupport
import Testing

@Suite("Slurm", .serialized, .needs(.mpirun))
struct SlurmTests {
  let standIns: StandIns
  let tiny: TinyRun

  // A folder to submit from, like a checkout, and an srun whose steps end as SRUN_STATUS says; with
  // SRUN_TRAINS it starts the ranks that it is told to, by mpirun.
  init() throws {
    standIns = try StandIns()
    tiny = try TinyRun()
    let files = FileManager.default
    let folder = standIns.folder
    try files.copyItem(atPath: ProgramRun.launchFolder, toPath: folder.path("launch"))
    try folder.write("Package.swift", text: "")
    try files.createDirectory(atPath: folder.path(".build"), withIntermediateDirectories: true)
    try files.createSymbolicLink(
      atPath: folder.path(".build/release"),
      withDestinationPath: URL(fileURLWithPath: ProgramRun.path("reformer-train"))
        .deletingLastPathComponent().path)
    try standIns.add(
      "srun",
      """
      case "$*" in
        --mpi=list) echo "MPI plugin types are... pmix"; exit 0 ;;
        *"--nodelist=$LOST true") exit 1 ;;
        *" true") exit 0 ;;
      esac
      printf '%s\\n' "$@" >>\(folder.path("srun"))
      if [[ -z ${SRUN_TRAINS:-} ]]; then
        trap 'exit 0' USR1
        echo srun started
        for ((i = 0; i < ${SRUN_TENTHS:-0}; i++)); do sleep 0.1; done
        exit ${SRUN_STATUS:-0}
      fi
      while [[ $1 != *reformer-train ]]; do
        if [[ $1 == --ntasks ]]; then ranks=$2; fi
        shift
      done
      if [[ $EUID -eq 0 ]]; then root=--allow-run-as-root; fi
      exec mpirun $root --oversubscribe --bind-to none -np "$ranks" "$@"
      """)
    try standIns.add(
      "scontrol",
      """
      if [[ $1 == show ]]; then echo "${3//,/$'\\n'}"; else echo "$*" >>\(folder.path("scontrol")); fi
      """)
  }

  private func job(
    _ arguments: [String], _ variables: [String: String] = [:], when text: String? = nil,
    act: (Process) -> Void = { _ in }
  ) throws -> ProgramRun {
    let job = [
      "PATH": standIns.path, "SLURM_JOB_ID": "77", "SLURM_SUBMIT_DIR": standIns.folder.path,
      "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS": "2", "SLURM_CPUS_PER_TASK": "4",
      "SLURM_JOB_NODELIST": "n1,n2", "SLURM_RESTART_COUNT": "0", "LOST": "none",
    ]
    return try ProgramRun(
      executable: "/bin/bash", arguments: [ProgramRun.launchFolder + "/slurm.sbatch"] + arguments,
      environment: job.merging(variables) { $1 }, when: text, act: act)
  }

  /// What srun was to start, after the program's path.
  private func started() throws -> [String] {
    let words = try standIns.lines("srun")
    let program = try #require(words.lastIndex { $0.hasSuffix("reformer-train") })
    return Array(words[(program + 1)...])
  }

  @Test("a first start resumes by itself and has a task's CPUs as threads")
  func defaults() throws {
    let run = try job(["--config", "a.toml"])
    #expect(run.status == 0, "\(run.output)")
    #expect(
      try standIns.lines("srun") == [
        "--mpi=pmix", "--ntasks", "2", "--cpus-per-task", "4", "--cpu-bind=cores",
        "--kill-on-bad-exit=1", ".build/release/reformer-train", "--config", "a.toml", "--resume",
        "auto", "--set", "run.threads=4",
      ])
    #expect(try standIns.lines("scontrol").isEmpty)
  }

  @Test("LAUNCHER=mpirun starts a rank on the CPUs of each task")
  func mpirun() throws {
    try standIns.add("mpirun", "printf '%s\\n' \"$@\" >>\(standIns.folder.path("mpirun"))")
    let run = try job(["--config", "a.toml"], ["LAUNCHER": "mpirun"])
    #expect(run.status == 0, "\(run.output)")
    #expect(
      try standIns.lines("mpirun").filter { $0 != "--allow-run-as-root" } == [
        "-np", "2", "--map-by", "slot:PE=4", "--bind-to", "core", "-x", "OMP_NUM_THREADS", "-x",
        "OPENBLAS_NUM_THREADS", ".build/release/reformer-train", "--config", "a.toml", "--resume",
        "auto", "--set", "run.threads=4",
      ])
  }

  @Test("a Slurm without PMIx, and a launcher that is none, are named before anything starts")
  func launchers() throws {
    let other = try job(["--config", "a.toml"], ["LAUNCHER": "orterun"])
    #expect(other.status == 2 && other.output.contains("LAUNCHER=orterun; srun or mpirun"))
    try standIns.add("srun", "echo MPI plugin types are... none")
    let srun = try job(["--config", "a.toml"], ["LAUNCHER": "srun"])
    #expect(srun.status == 2 && srun.output.contains("use LAUNCHER=mpirun"), "\(srun.output)")
  }

  @Test(
    "what the user says about resume and threads stands",
    arguments: [
      ["train", "--config", "a.toml", "--resume", "runs/a/step-50", "--set", "run.threads=3"],
      ["--config", "a.toml", "--set", "run.threads=3", "--resume=runs/a/step-50"],
      ["--set=run.threads=3", "--config", "a.toml", "--resume"], ["evaluate", "runs/a"],
    ])
  func users(_ arguments: [String]) throws {
    #expect(try job(arguments).status == 0)
    #expect(try started() == arguments)
  }

  @Test("when queued again, a run with a checkpoint goes on from it, not from where it once began")
  func queuedAgain() throws {
    let folder = standIns.folder
    let arguments = ["--resume", "old/step-5", "--config", "a.toml", "--set", "run.threads=1"]
    try folder.write("a.toml", text: "[run]\nname = \"mine\"  # so\n[data]\ncorpus = \"c\"\n")
    let again = ["SLURM_RESTART_COUNT": "1"]
    #expect(try job(arguments, again).status == 0)
    #expect(try started() == arguments, "there is no checkpoint yet")
    try FileManager.default.createDirectory(
      atPath: folder.path("checkpoints/mine/step-00000007"), withIntermediateDirectories: true)
    #expect(try job(arguments, again).status == 0)
    #expect(try started() == arguments, "the checkpoint is not complete")
    try folder.write("checkpoints/mine/step-00000007/manifest.json", text: "{}")
    #expect(try job(arguments, again).status == 0)
    let rest = ["--config", "a.toml", "--set", "run.threads=1", "--resume", "auto"]
    #expect(try started() == rest)
    // The folder may also be named by an option.
    try FileManager.default.moveItem(
      atPath: folder.path("checkpoints/mine"), toPath: folder.path("there"))
    #expect(try job(arguments + ["--output", "there"], again).status == 0)
    #expect(
      try started() == [
        "--config", "a.toml", "--set", "run.threads=1", "--output", "there", "--resume", "auto",
      ])
  }

  @Test("before the time limit the run is stopped and queued again")
  func timeLimit() throws {
    let run = try job(["--config", "a"], ["SRUN_TENTHS": "100"], when: "srun started") {
      kill($0.processIdentifier, SIGUSR1)
    }
    #expect(run.status == 0, "\(run.output)")
    #expect(try standIns.lines("scontrol") == ["requeue 77"])
  }

  @Test(
    "a failed run is queued again where a node is lost, and only there",
    arguments: [
      (137, "n2", 1, ["requeue 77"]), (1, "none", 1, []), (2, "n2", 2, []), (0, "n2", 0, []),
    ])
  func failures(_ srun: Int, _ lost: String, _ status: Int32, _ requests: [String]) throws {
    let run = try job(["--config", "a"], ["SRUN_STATUS": "\(srun)", "LOST": lost])
    #expect(run.status == status, "\(run.output)")
    #expect(try standIns.lines("scontrol") == requests)
  }

  @Test("with fewer nodes than at first, a run goes on with fewer ranks to the same parameters")
  func fewerNodes() throws {
    let arguments = [
      "--config", tiny.config, "--output", tiny.output("fewer"), "--set", "run.steps=200",
      "--set", "run.threads=1",
    ]
    let trains = ["SRUN_TRAINS": "yes"]
    let lost = try job(
      arguments, trains.merging(["LOST": "n2"]) { $1 }, when: "step 30/"
    ) { _ in
      if let rank = trainers(with: tiny.output("fewer")).max() { kill(rank, SIGKILL) }
    }
    #expect(lost.status == 1, "\(lost.output)")
    #expect(try standIns.lines("scontrol") == ["requeue 77"])
    // Three tasks on one large node would be other bits: batches of 4 do not divide by 3.
    let again = ["SLURM_RESTART_COUNT": "1", "SLURM_JOB_NUM_NODES": "1", "SLURM_NTASKS": "1"]
    let rest = try job(arguments, trains.merging(again) { $1 })
    #expect(rest.status == 0, "\(rest.output)")
    #expect(rest.output.contains("1 ranks instead of 2"), "\(rest.output)")
    #expect(rest.output.contains("resuming"), "\(rest.output)")
    #expect(try tiny.train("whole", ["--set", "run.steps=200"]).status == 0)
    #expect(try tiny.digest("fewer") == tiny.digest("whole"))
  }
}
