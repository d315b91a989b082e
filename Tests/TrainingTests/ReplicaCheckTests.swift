// Ranks that have come apart are noticed and named.
import Communication
import Compute
import TestSupport
import Testing
import Training

@Suite("Replica check")
struct ReplicaCheckTests {
  /// The messages by rank when the ranks in `faulty` have one bit of their own; empty where nothing
  /// was thrown.
  private func messages(ranks: Int, faulty: [Int]) throws -> [String] {
    try ThreadedCommunicator.run(ranks: ranks) { communicator in
      let parameters = Buffer<Float>(3_000)
      for index in 0..<parameters.count { parameters.view[index] = Float(index) / 7 }
      if faulty.contains(communicator.rank) {
        // The last bit of one number, as a faulty memory would turn it.
        let number = parameters.view[2_999]
        parameters.view[2_999] = Float(bitPattern: number.bitPattern ^ 1)
      }
      do {
        try checkReplicas(parameters.view, step: 40, communicator)
        return ""
      } catch let failure as RunFailure {
        return failure.description
      }
    }
  }

  @Test("equal parameters pass", arguments: [1, 2, 5])
  func equal(ranks: Int) throws {
    #expect(try messages(ranks: ranks, faulty: []) == Array(repeating: "", count: ranks))
  }

  @Test("every rank names the step and the rank that differs from the rest", arguments: 0..<4)
  func oneDiffers(faulty: Int) throws {
    for message in try messages(ranks: 4, faulty: [faulty]) {
      #expect(message.hasPrefix("step 40: the parameters of rank \(faulty) differ from the rest;"))
      #expect(message.contains("--resume auto"))
    }
  }

  @Test("where nobody can tell which is right, all are named")
  func tie() throws {
    for message in try messages(ranks: 2, faulty: [1]) {
      #expect(message.hasPrefix("step 40: the parameters of rank 0 and rank 1 differ;"))
    }
    for message in try messages(ranks: 4, faulty: [1, 2]) {
      #expect(message.hasPrefix("step 40: the parameters of ranks 0, 3 and ranks 1, 2 differ;"))
    }
  }
}
