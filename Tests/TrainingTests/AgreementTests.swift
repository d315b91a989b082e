// Ranks that wait for each other's preparations: slow ones, failing ones, and ones that never come.
import Communication
import Foundation
import TestSupport
import Testing
import Training

@Suite("Agreement of ranks")
struct AgreementTests {
  struct Trouble: Error, CustomStringConvertible {
    let description: String
  }

  @Test("a rank may work longer than the others wait for an answer")
  func slow() throws {
    let results = try ThreadedCommunicator.run(ranks: 3) { communicator in
      communicator.limitWaits(to: 1)
      let own = try agree(communicator) {
        if communicator.rank == 1 { Thread.sleep(forTimeInterval: 2.5) }
        return communicator.rank * 10
      }
      return try communicator.sum(Int64(own))
    }
    #expect(results == [30, 30, 30])
  }

  @Test("a rank waits as long as the one with most windows may work, also where it has none")
  func patience() throws {
    let limits = try ThreadedCommunicator.run(ranks: 3) { communicator in
      // Windows of all ranks, of this one, and the seconds it has taken; 5e10 operations are 50 seconds at most.
      [(3, 1, 70.0), (4, 1, 70), (4, 2, 70), (1, 0, 0), (4, 0, 0), (3, 1, 7)].map {
        communicator.limitWaits(
          to: 60, own: $0.1, seconds: $0.2, windows: $0.0, operations: 5e10)
        return communicator.waitLimit
      }
    }
    #expect(limits == [[Double]](repeating: [70, 140, 70, 60, 100, 60], count: 3))
    let unlimited = try ThreadedCommunicator.run(ranks: 2) { communicator in
      communicator.limitWaits(to: 0, own: 1, seconds: 9, windows: 2, operations: 1)
      return communicator.waitLimit
    }
    #expect(unlimited == [0, 0])
  }

  @Test("a rank without a window outlasts one that has a long one")
  func idle() throws {
    let sums = try ThreadedCommunicator.run(ranks: 2) { communicator in
      let isBusy = communicator.rank == 0
      if isBusy { Thread.sleep(forTimeInterval: 1.5) }
      communicator.limitWaits(
        to: 0.5, own: isBusy ? 1 : 0, seconds: isBusy ? 1.5 : 0, windows: 1, operations: 1e10)
      return try communicator.sum(Int64(communicator.rank))
    }
    #expect(sums == [1, 1])
  }

  @Test("a rank that is lost meanwhile is noticed")
  func lost() throws {
    let errors = try ThreadedCommunicator.run(ranks: 2) { communicator in
      guard communicator.rank == 0 else { return "" }
      communicator.limitWaits(to: 0.3)
      do {
        try agree(communicator) {}
        return "none"
      } catch {
        return "\(error)"
      }
    }
    #expect(errors[0].contains("no answer for 1 s"), "\(errors)")
  }

  @Test("failures are named with their ranks, on all ranks, and decide the kind of error")
  func failures() throws {
    func errors(_ failing: [Int: any Error]) throws -> Set<String> {
      Set(
        try ThreadedCommunicator.run(ranks: 3) { communicator in
          do {
            try agree(communicator) {
              if let error = failing[communicator.rank] { throw error }
            }
            return "none"
          } catch {
            return "\(type(of: error)) \(runExitCode(error)) \(isOfAllRanks(error)): \(error)"
          }
        })
    }
    #expect(try errors([:]) == ["none"])
    #expect(
      try errors([2: Trouble(description: "a")]) == ["RunFailure 1 true: rank 2: a"])
    #expect(
      try errors([1: Trouble(description: "a"), 2: UserError("b")])
        == ["UserError 2 true: rank 1: a; rank 2: b"])
    let same = UserError("c")
    #expect(try errors([0: same, 1: same, 2: same]) == ["UserError 2 true: c"])
  }

  @Test("waits are as long as the limit, or as own work where that is more; 0 is for ever")
  func limits() {
    let communicator = SoloCommunicator()
    for (limit, work, expected) in [(60.0, 0.0, 60.0), (60, 90, 90), (3, 2, 3), (0, 90, 0)] {
      communicator.limitWaits(to: limit, orOwnWork: work)
      #expect(communicator.waitLimit == expected)
    }
  }
}
