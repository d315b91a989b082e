import Compute
import Testing

@Suite("Phase timer")
struct PhaseTimerTests {
  @Test("time goes to the phase it was spent in, results and errors come through, reset clears")
  func phases() throws {
    struct Failure: Error {}
    let timer = PhaseTimer()
    func seconds(_ phase: Phase) -> Double {
      timer.seconds.first { $0.phase == phase }?.seconds ?? .nan
    }
    let sum = timer.time(.loss) { (0..<1000).reduce(0, +) }
    #expect(sum == 499_500)
    #expect(seconds(.loss) > 0 && seconds(.hash) == 0)
    #expect(throws: Failure.self) { try timer.time(.hash) { throw Failure() } }
    #expect(seconds(.hash) > 0)
    let once = seconds(.loss)
    timer.time(.loss) {}
    #expect(seconds(.loss) > once)
    timer.reset()
    #expect(timer.seconds.map(\.phase) == Phase.allCases)
    #expect(timer.seconds.allSatisfy { $0.seconds == 0 })
  }
}
