// `reformer-train compare`: variants of a config, trained in turn and compared.
import ArgumentParser
import Communication
import Training

struct CompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Train variants of a config on equal bytes or for equal time, and compare them.",
    discussion: """
      SPEC is a TOML file:

      base = "configs/quickstart.toml"   the config that variants change
      output = "checkpoints/attention"   folder of all runs
      seeds = [1, 2]                     a run of each variant with each of them
      bytes = 1_700_000                  train on so many bytes, and/or
      seconds = 300                      as many steps as end in so many seconds here, as train --minutes
      test_bytes = 262_144               bytes of the test split to score (default: all)
      [[variant]]                        the first is what others are compared with
      name = "lsh"
      set = []                           changes of the base, as --set takes them
      [[variant]]
      name = "linear"
      set = ["model.layers=[local, linear, local, linear]"]

      Runs are folders of OUTPUT like any run's, one after the other, alone or as ranks of mpirun. What is done is not \
      repeated, and what was interrupted goes on. The tables also stand in OUTPUT/compare.html, above the curves.
      """)

  @Argument(help: "TOML file of the comparison.", completion: .file(extensions: ["toml"]))
  var spec: String

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    StopSignal.install()
    guard MPICommunicator.underLauncher() else { return try compare(SoloCommunicator()) }
    try runUnderMPI { try compare($0) }
  }

  private func compare(_ communicator: any Communicator) throws {
    let comparison = try agree(communicator) { try CompareSpec(file: self.spec) }
    let runs = try Comparison(
      comparison, commit: builtFromCommit, communicator: communicator,
      progress: Progress(rank: communicator.rank))
    guard let report = try runs.run(), communicator.rank == 0 else { return }
    if json { try printJSON(report) } else { print(report.text) }
  }
}
