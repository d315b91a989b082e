// `reformer-train [train]`: the only command that runs under mpirun as well as alone.
import ArgumentParser
import Communication
import Foundation
import Training

struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Train a model, alone or as ranks of mpirun.")

  @OptionGroup var arguments: ConfigArguments

  @Option(help: "Go on from the newest complete checkpoint (auto) or from a folder.")
  var resume: String?

  @Option(help: "Run folder (default: checkpoints/NAME).")
  var output: String?

  @Flag(
    help: "Let ranks differ in matrix library; bits then depend on the cut.")
  var allowMixedMachines = false

  @Option(help: "Stop after this step of the run; the schedule stays that of run.steps.")
  var steps: Int?

  @Option(help: "Stop, with a checkpoint, before so much time has passed: 90s, 45m, 1h30m, 2d.")
  var stopAfter: String?

  func run() throws {
    // Before MPI starts, so that a signal finds us ready as early as can be.
    StopSignal.install()
    guard MPICommunicator.underLauncher() else {
      return try train(SoloCommunicator())
    }
    try runUnderMPI { try train($0) }
  }

  private func train(_ communicator: any Communicator) throws {
    let config = try agree(communicator) { try arguments.load() }
    let trainer = try Trainer(
      config: config,
      options: TrainOptions(
        resume: resume, output: output, stopAfterStep: steps, stopAfter: stopAfter,
        allowMixedMachines: allowMixedMachines),
      communicator: communicator, progress: Progress(rank: communicator.rank))
    try trainer.run()
  }
}
