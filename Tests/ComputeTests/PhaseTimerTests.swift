import Compute
import Testing

@Suite("Phase timer")
struct PhaseTimerTests {
  @Test("laps of all threads go to their phases, only while the stopwatches run")
  func laps() {
    let pool = WorkerPool(threadCount: 2)
    func seconds(_ phase: Phase) -> Double {
      pool.lapSeconds.first { $0.phase == phase }?.seconds ?? .nan
    }
    func work() {
      let sums = Buffer<Double>(8)
      pool.run(8) { index, scratch in
        sums.view[index] = (0..<1000).reduce(0.0) { $0 + Double($1) }
        scratch.lap(index == 0 ? .loss : .hash)
      }
      #expect(sums.view.array.allSatisfy { $0 == 499_500 })
    }
    work()
    #expect(pool.lapSeconds.map(\.phase) == Phase.allCases)
    #expect(pool.lapSeconds.allSatisfy { $0.seconds == 0 })
    pool.resetLaps(running: true)
    work()
    #expect(seconds(.loss) > 0 && seconds(.hash) > 0 && seconds(.norm) == 0)
    let once = seconds(.hash)
    work()
    #expect(seconds(.hash) > once)
    pool.resetLaps(running: false)
    work()
    #expect(pool.lapSeconds.allSatisfy { $0.seconds == 0 })
  }

  @Test("a thread between two computations has no lap longer than there was time")
  func starts() {
    let pool = WorkerPool(threadCount: 2)
    let start = ContinuousClock.now
    for _ in 0..<500 {
      pool.resetLaps(running: false)
      pool.run(4) { _, scratch in scratch.lap(.hash) }
      pool.resetLaps(running: true)
      pool.run(4) { _, scratch in scratch.lap(.hash) }
      let all = pool.lapSeconds.reduce(0) { $0 + $1.seconds }
      let elapsed = start.duration(to: .now)
      #expect(Duration.seconds(all) <= elapsed * 2)
    }
  }
}
