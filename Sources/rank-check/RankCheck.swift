// Exercises Communication on real ranks: `mpirun -np N rank-check`. The last line of output is
// "N passed, N failed", counted over all ranks, and the exit code is 1 when anything failed.
// `rank-check abort` shows instead that one rank ends all, `rank-check looks` what a look at messages under
// way costs.
import Communication
import Glibc

@main
struct RankCheck {
  static func main() {
    do {
      let communicator = try MPICommunicator.start()
      switch CommandLine.arguments.dropFirst().first {
      case "abort": try abortOnLastRank(communicator)
      case "looks": try countTests(communicator)
      default: exit(try runChecks(communicator) ? 0 : 1)
      }
    } catch {
      complain("rank-check: \(error)")
      exit(1)
    }
  }

  private static func runChecks(
    _ communicator: MPICommunicator
  ) throws(CommunicationError) -> Bool {
    let tally = Tally(rank: communicator.rank)
    do {
      tally.expect(
        !underMPIRun || MPICommunicator.underLauncher(), "mpirun is recognised as a launcher")
      // Pieces far smaller than the messages, odd ones, and the size of real runs.
      for pieceBytes in [333, 10_000, 1 << 30] {
        MPICommunicator.setPieceBytes(pieceBytes)
        try checkCollectives(communicator, tally)
        try checkMessages(communicator, tally)
        try checkReduction(communicator, tally)
      }
      try checkLargeMessages(communicator, tally)
      try checkMessageErrors(communicator, tally)
    } catch {
      // The ranks are out of step now, so a count over all of them cannot be had.
      complain("rank-check: \(error)")
      communicator.abort(code: 1)
    }
    let passed = try communicator.sum(Int64(tally.passed))
    let failed = try communicator.sum(Int64(tally.failed))
    if communicator.rank == 0 { print("\(passed) passed, \(failed) failed") }
    try communicator.finish()
    return failed == 0
  }

  private static func abortOnLastRank(
    _ communicator: MPICommunicator
  ) throws(CommunicationError) {
    try communicator.barrier()
    if communicator.rank == communicator.size - 1 { communicator.abort(code: 7) }
    // The others wait for a rank that never comes.
    try communicator.barrier()
  }

  private static var underMPIRun: Bool {
    MPICommunicator.environment("OMPI_COMM_WORLD_SIZE") != nil
  }
}
