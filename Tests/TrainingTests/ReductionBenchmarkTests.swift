// `benchmark --reduction` on a network that changes what it carries.
import Communication
import Compute
import TestSupport
import Testing
import Training

/// A rank for which the first byte of every larger message arrives changed.
private final class WrongReceiver: Communicator {
  private let real: ThreadedCommunicator
  private var received: [Transfer: UnsafeMutableRawBufferPointer] = [:]
  var rank: Int { real.rank }
  var size: Int { real.size }
  var waitLimit: Double {
    get { real.waitLimit }
    set { real.waitLimit = newValue }
  }

  init(_ real: ThreadedCommunicator) { self.real = real }

  func startReceive(
    into bytes: UnsafeMutableRawBufferPointer, from source: Int, tag: Int
  ) throws(CommunicationError) -> Transfer {
    let transfer = real.startReceive(into: bytes, from: source, tag: tag)
    if bytes.count >= 1000 { received[transfer] = bytes }
    return transfer
  }

  func wait(for transfers: [Transfer], in operation: String) throws(CommunicationError) {
    try real.wait(for: transfers, in: operation)
    for transfer in transfers { received.removeValue(forKey: transfer)?[3] ^= 1 }
  }

  func startSend(
    _ bytes: UnsafeRawBufferPointer, to target: Int, tag: Int
  ) throws(CommunicationError) -> Transfer {
    real.startSend(bytes, to: target, tag: tag)
  }
  func barrier() throws(CommunicationError) { try real.barrier() }
  func broadcast(
    _ bytes: UnsafeMutableRawBufferPointer, root: Int
  ) throws(CommunicationError) { try real.broadcast(bytes, root: root) }
  func gatherAll(_ bytes: [UInt8]) throws(CommunicationError) -> [[UInt8]] {
    try real.gatherAll(bytes)
  }
  func reduce(
    _ value: Int64, _ reduction: IntegerReduction
  ) throws(CommunicationError) -> Int64 { try real.reduce(value, reduction) }
  func progress() throws(CommunicationError) { try real.progress() }
  func abort(code: Int32) { real.abort(code: code) }
}

@Suite("Benchmark of the reduction")
struct ReductionBenchmarkTests {
  private func errors(wrongRank: Int?) throws -> [String] {
    try ThreadedCommunicator.run(ranks: 3) { real in
      let communicator: any Communicator = real.rank == wrongRank ? WrongReceiver(real) : real
      do {
        let report = try measureReduction(
          floats: 3000, rounds: 2, communicator: communicator, sumByMPI: { _ in },
          progress: Progress(rank: 1))
        return "\(report.ranks) ranks"
      } catch {
        return "\(isOfAllRanks(error)) \(error)"
      }
    }
  }

  @Test("a wrong sum on one rank is an error of all, so that none waits for it")
  func wrongSum() throws {
    #expect(try errors(wrongRank: nil) == ["3 ranks", "3 ranks", "3 ranks"])
    let errors = try errors(wrongRank: 2)
    #expect(Set(errors).count == 1, "\(errors)")
    #expect(errors[0].hasPrefix("true rank ") && errors[0].contains("the sum of ones"), "\(errors)")
  }
}
