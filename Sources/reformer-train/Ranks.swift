// One rank's way through a command under mpirun: how it ends when something fails.
import ArgumentParser
import Communication
import Training

/// Starts MPI, runs `body` on this rank and ends MPI.
///
/// Errors that all ranks throw together end them in order and are said once; any other ends all
/// ranks at once.
func runUnderMPI(_ body: (MPICommunicator) throws -> Void) throws {
  let communicator = try MPICommunicator.start()
  // Until a config says otherwise: a host may be lost at any time.
  communicator.limitWaits(to: RunSection.usualWaitLimit)
  do {
    try body(communicator)
    try communicator.finish()
  } catch  where isOfAllRanks(error) {
    if communicator.rank == 0 { complain("\(error)") }
    try communicator.finish()
    throw ExitCode(runExitCode(error))
  } catch {
    // Only this rank is in trouble; the others would wait for it for ever.
    complain("rank \(communicator.rank): \(error)")
    communicator.abort(code: runExitCode(error))
    throw ExitCode(runExitCode(error))
  }
}
