// How many threads a rank runs, and how many ranks share the machine.
import Communication
import Foundation

/// Threads of this rank: the configured number, or for 0 its share of the cores it may use.
///
/// A rank bound to cores by the launcher uses those; unbound ranks of one machine divide it.
public func threadCount(configured: Int) -> Int {
  guard configured == 0 else { return configured }
  return max(1, ProcessInfo.processInfo.activeProcessorCount / ranksOnTheseCores)
}

/// How many ranks share the cores that this one may use.
var ranksOnTheseCores: Int {
  // The active ones are those of this process's affinity mask.
  let (allowed, online) = (
    ProcessInfo.processInfo.activeProcessorCount, ProcessInfo.processInfo.processorCount
  )
  return allowed < online ? 1 : ranksOnThisMachine
}

/// Ranks that the launcher has started on this machine, 1 where it does not say.
var ranksOnThisMachine: Int {
  let told = ["OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE"]
    .compactMap { MPICommunicator.environment($0).flatMap { Int($0) } }
  return max(1, told.first ?? 1)
}
