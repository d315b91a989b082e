// The exchange of gradients and parameters beside MPI's own sum: the figures of `benchmark
// --reduction`.
import Communication
import Compute

/// How fast ranks sum and share numbers.
public struct ReductionReport: Codable, Sendable {
  /// Ranks.
  public let ranks: Int
  /// Numbers summed.
  public let floats: Int
  /// Seconds of our sum in pieces and the gathering of the result, the fastest of several.
  public let reductionSeconds: Double
  /// Median of the same.
  public let reductionSecondsMedian: Double
  /// Seconds of `MPI_Allreduce`, the fastest of several taken in turn with ours.
  public let allreduceSeconds: Double
  /// Median of the same.
  public let allreduceSecondsMedian: Double
  /// Our rate over that of `MPI_Allreduce`, by the medians.
  public let ratio: Double
  /// Seconds of a round of nothing: a barrier.
  public let barrierSeconds: Double
}

/// Sums `floats` numbers over all ranks, as a training step does, and by `MPI_Allreduce`.
///
/// Both leave the whole sum on every rank. A round counts from a barrier to the slowest rank's end.
/// `sumByMPI`: the latter, of this rank's numbers. Throws on all ranks where the sum of any is wrong.
public func measureReduction(
  floats: Int, rounds: Int, communicator: any Communicator,
  sumByMPI: (View<Float>) throws -> Void, progress: Progress
) throws -> ReductionReport {
  let layout = ParameterLayout(groups: [("all", [("numbers", [floats])])])
  let reduction = GradientReduction(communicator: communicator, layout: layout)
  let values = Buffer<Float>(layout.count)
  /// The slowest rank's seconds.
  func timed(_ body: () throws -> Void) throws -> Double {
    try communicator.barrier()
    let start = ContinuousClock.now
    try body()
    return Double(try communicator.maximum(Int64(seconds(since: start) * 1e9))) * 1e-9
  }
  var (ours, theirs, barriers): ([Double], [Double], [Double]) = ([], [], [])
  // One more round than is counted: the first touches the memory and opens the connections.
  for round in 0...rounds {
    progress.update("reduction round \(round)/\(rounds)", isMilestone: false)
    values.view.fill(1)
    let own = try timed {
      try reduction.reduce(gradients: values.view)
      try reduction.startGather(parameters: values.view)
      try reduction.endGather()
    }
    let expected = Float(communicator.size)
    let sums = Set([values.view[0], values.view[floats - 1]])
    try agree(communicator) {
      for sum in sums where sum != expected {
        throw RunFailure("the sum of ones over \(communicator.size) ranks is \(sum)")
      }
    }
    values.view.fill(1)
    let mpi = try timed { try sumByMPI(values.view) }
    let barrier = try timed { try communicator.barrier() }
    guard round > 0 else { continue }
    ours.append(own)
    theirs.append(mpi)
    barriers.append(barrier)
  }
  func median(_ times: [Double]) -> Double { times.sorted()[times.count / 2] }
  return ReductionReport(
    ranks: communicator.size, floats: floats, reductionSeconds: ours.min() ?? 0,
    reductionSecondsMedian: median(ours), allreduceSeconds: theirs.min() ?? 0,
    allreduceSecondsMedian: median(theirs), ratio: median(theirs) / median(ours),
    barrierSeconds: median(barriers))
}
