// A step whose exchange with the other ranks fails while a pass goes on.
import Communication
import Compute
import Corpus
import Foundation
import Reformer
import Synchronization
import TestSupport
import Testing
import Training

@Suite("A step that loses the other ranks")
struct StepExchangeTests {
  let config: RunConfig

  init() throws {
    let tiny = try TinyRun()
    config = try RunConfig.load(file: tiny.config, overrides: ["run.global_batch=2"])
    withExtendedLifetime(tiny) {}
  }

  /// The shares of its second step that rank 0 has computed, and its error, when rank 1 ends the work of
  /// all once rank 0 is `share` of its way through that step.
  private func secondStep(lostAt share: Double) throws -> (shares: [Double], error: String) {
    let config = config
    let shares = Mutex<[Double]>([])
    let message = Mutex("no error")
    let isTime = DispatchSemaphore(value: 0)
    let isDone = DispatchSemaphore(value: 0)
    @Sendable func lose() {
      isTime.signal()
      isDone.wait()
    }
    _ = try ThreadedCommunicator.run(ranks: 2) { communicator in
      let step = try TrainStep(
        config: config, communicator: communicator, engine: Engine(threads: 2))
      func window(_ sample: Sample) -> Window {
        Window(
          bytes: [UInt8](repeating: UInt8(sample.index), count: config.data.length + 1),
          byteOffset: 0)
      }
      _ = try step.run(step: 1, window: window)
      guard communicator.rank == 0 else {
        isTime.wait()
        communicator.abort(code: 1)
        isDone.signal()
        return
      }
      do {
        _ = try step.run(
          step: 2,
          progress: { now in
            let isFirst = shares.withLock {
              $0.append(now)
              return $0.count { $0 >= share } == 1
            }
            if isFirst, now >= share { lose() }
          }
        ) { sample in
          if share == 0 { lose() }
          return window(sample)
        }
      } catch {
        message.withLock { $0 = "\(error)" }
      }
    }
    return (shares.withLock { $0 }, message.withLock { $0 })
  }

  @Test("an error where the pass needs parameters ends it there")
  func atStart() throws {
    let (shares, error) = try secondStep(lostAt: 0)
    #expect(error.contains("failed on rank 0: rank 1 aborted"), "\(error)")
    #expect(shares.isEmpty, "\(shares)")
  }

  @Test("an error while a pass computes ends it at its next tile", arguments: [0.2, 0.5])
  func between(share: Double) throws {
    let (shares, error) = try secondStep(lostAt: share)
    #expect(error.contains("failed on rank 0: rank 1 aborted"), "\(error)")
    let last = try #require(shares.last)
    #expect(last >= share && shares.count { $0 >= share } == 1, "\(shares)")
  }
}
