import TestSupport
import Testing
import Training

@Suite("Time budgets and spikes")
struct StopAndSkipTests {
  @Test(
    "a time budget is read in days, hours, minutes and seconds",
    arguments: [
      ("90s", 90.0), ("45m", 2700), ("2h", 7200), ("1h30m", 5400), ("3d", 259_200), ("1d1s", 86401),
    ])
  func budget(text: String, seconds: Double) {
    #expect(StopRequest.seconds(text) == seconds)
  }

  @Test(
    "anything else is no time budget",
    arguments: [
      "", "2", "h", "2x", "-2h", "2 h", "1.5h", "0s", "2h30", "\u{0661}h", "9999999999h", "h2",
    ])
  func noBudget(text: String) { #expect(StopRequest.seconds(text) == nil) }

  /// Thirty quiet steps: losses around 2, norms around 0.5, both with some spread.
  private func quiet() -> SpikeDetector {
    var detector = SpikeDetector()
    for step in 0..<30 {
      let wave = Double(step % 5) - 2
      detector.add(loss: 2 + 0.05 * wave, norm: 0.5 + 0.02 * wave)
    }
    return detector
  }

  @Test("a loss or a gradient far above the steps before is a spike, one a little above is not")
  func spikes() {
    let detector = quiet()
    #expect(detector.spike(loss: 2.1, norm: 0.55, limit: 6) == nil)
    #expect(detector.spike(loss: 1, norm: 0.1, limit: 6) == nil)
    #expect(detector.spike(loss: 3.5, norm: 0.5, limit: 6)?.contains("the loss, 3.5000") == true)
    #expect(detector.spike(loss: 2, norm: 5, limit: 6)?.contains("norm, 5, is") == true)
    #expect(detector.spike(loss: 3.5, norm: 5, limit: 0) == nil)
  }

  @Test("nothing is judged before there is something to judge by")
  func warmUp() {
    var detector = SpikeDetector()
    for _ in 0..<19 { detector.add(loss: 2, norm: 1) }
    #expect(detector.spike(loss: 100, norm: 100, limit: 6) == nil)
    detector.add(loss: 2, norm: 1)
    #expect(detector.spike(loss: 100, norm: 100, limit: 6) != nil)
  }

  @Test("a gradient of zeros and a series that never moves are no trouble")
  func still() {
    var detector = SpikeDetector()
    for _ in 0..<50 { detector.add(loss: 2, norm: 0) }
    #expect(detector.spike(loss: 2.01, norm: 0, limit: 6) == nil)
    #expect(detector.spike(loss: 2, norm: 1, limit: 6) != nil)
  }
}
