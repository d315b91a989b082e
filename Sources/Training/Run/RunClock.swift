// How long the parts of a run take.

/// Seconds things take, to tell the time left and to stop in time.
struct RunClock {
  /// Of a step: an average that forgets, so that a slow start does not linger.
  private(set) var typical = 0.0
  /// Of another step and a checkpoint, with a margin for those that are slower than most.
  func secondsToNextEnd(checkpoint: Double) -> Double { 1.2 * typical + 1.5 * checkpoint }

  mutating func step(_ seconds: Double) {
    typical = typical == 0 ? seconds : 0.9 * typical + 0.1 * seconds
  }
}

/// Seconds since an instant.
func seconds(since start: ContinuousClock.Instant) -> Double {
  let parts = (ContinuousClock.now - start).components
  return Double(parts.seconds) + Double(parts.attoseconds) * 1e-18
}
