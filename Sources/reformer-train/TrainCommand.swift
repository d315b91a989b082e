// `reformer-train [train]`: the only command that runs under mpirun as well as alone.
import ArgumentParser
import Communication
import Foundation
import Training

extension Adaptation: ExpressibleByArgument {}

struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Train a model, alone or as ranks of mpirun.",
    usage: """
      reformer-train [train] --config FILE [options]
      mpirun -np RANKS reformer-train [train] --config FILE [options]
      """,
    discussion: """
      The run goes into checkpoints/NAME (run.name of the config): config.toml with every key, \
      metrics.jsonl, and a folder per checkpoint. Ctrl-C or SIGTERM stops it within seconds, with \
      a checkpoint; the same command with --resume goes on, with any number of ranks, as if it \
      had never stopped.

      reformer-train plan --config FILE         what it needs, before it starts
      reformer-train help config                the keys of a config
      reformer-train evaluate checkpoints/NAME  bits per byte on bytes it has not seen
      """)

  @OptionGroup var arguments: ConfigArguments

  @Option(
    defaultAsFlag: "auto", parsing: .next,
    help: ArgumentHelp(
      "Go on: from the newest complete checkpoint of the run folder where no value is given, or "
        + "from a step folder or another run's.", valueName: "auto|folder"),
    completion: .directory)
  var resume: String?

  @Option(
    help: ArgumentHelp(
      "Begin with the parameters of this checkpoint, trained or imported, instead of random ones; a run that "
        + "--resume goes on with has its own.", valueName: "folder"), completion: .directory)
  var from: String?

  @Option(
    help: ArgumentHelp(
      "Let the model differ from that of --from: in positions (model.axial_shape; row r of a new table is row "
        + "r mod n of the old one's n), or in sight (attention.lsh.sight). Repeatable.",
      valueName: "positions|sight"))
  var adapt: [Adaptation] = []

  @Option(
    help: ArgumentHelp("Run folder (default: checkpoints/NAME).", valueName: "folder"),
    completion: .directory)
  var output: String?

  @Option(
    help: ArgumentHelp(
      "Stop after this step of the run; the schedule stays that of run.steps.",
      valueName: "number"))
  var steps: Int?

  @Option(
    help: ArgumentHelp(
      "Take as many steps as end within so many minutes, the last checkpoint included, in place "
        + "of run.steps: the speed is tried first, then the number is fixed, on resume too.",
      valueName: "number"))
  var minutes: Double?

  @Option(
    help: ArgumentHelp(
      "Stop, with a checkpoint, before so much time has passed: 90s, 45m, 1h30m, 2d.",
      valueName: "time"))
  var stopAfter: String?

  @Option(
    help: ArgumentHelp(
      "Write messages and log lines, with time, level and rank, to this file too, after what is "
        + "there.", valueName: "file"), completion: .file())
  var logFile: String?

  @Flag(help: "Say nothing on standard error but notices, warnings and errors.")
  var quiet = false

  @Flag(
    help:
      "Let ranks, or a resume, differ in the kernels of OpenBLAS; bits then depend on who computes what."
  )
  var allowMixedMachines = false

  private var setsSteps: Bool {
    arguments.changes.overrides.contains {
      $0.prefix { $0 != "=" }.trimmingCharacters(in: .whitespaces) == "run.steps"
    }
  }

  func validate() throws {
    if !adapt.isEmpty, from == nil {
      throw ValidationError("--adapt is for a model that the run starts from; give it with --from")
    }
    if let minutes, setsSteps {
      throw ValidationError(
        "--minutes \(minutes) and --set run.steps both say how long the run is; give one")
    }
  }

  func run() throws {
    // Before MPI starts, so that a signal finds us ready as early as can be.
    StopSignal.install()
    guard MPICommunicator.underLauncher() else {
      return try train(SoloCommunicator())
    }
    try runUnderMPI { try train($0) }
  }

  private func train(_ communicator: any Communicator) throws {
    let progress = try agree(communicator) {
      try Progress(rank: communicator.rank, logFile: logFile, isQuiet: quiet)
    }
    try progress.recordingErrors {
      let config = try agree(communicator) { try arguments.load() }
      let trainer = try Trainer(
        config: config,
        options: TrainOptions(
          resume: resume, from: from, adaptations: adapt, output: output, stopAfterStep: steps,
          stopAfter: stopAfter,
          minutes: minutes, setsSteps: setsSteps,
          allowMixedMachines: allowMixedMachines, commit: builtFromCommit),
        communicator: communicator, progress: progress)
      try trainer.run()
    }
  }
}
