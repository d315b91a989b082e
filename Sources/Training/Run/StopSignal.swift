// SIGTERM, SIGINT and SIGUSR1 (Slurm's warning) ask a run to stop; StopRequest says how soon.
import Glibc
import Synchronization

/// Whether, and when, a signal asked this process to stop.
public enum StopSignal {
  private static let received = Atomic<Int32>(0)
  private static let receivedAt = Atomic<Int>(0)

  /// Takes over the signals.
  ///
  /// A second SIGINT ends the process at once.
  public static func install() {
    // Some parents start their children with signals blocked; a blocked request would never arrive.
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in [SIGTERM, SIGINT, SIGUSR1] { sigaddset(&signals, number) }
    pthread_sigmask(Int32(SIG_UNBLOCK), &signals, nil)
    for number in [SIGTERM, SIGINT, SIGUSR1] {
      // Only what may be called in a handler: atomics, clock_gettime and _exit.
      signal(number) { number in
        if number == SIGINT && StopSignal.received.load(ordering: .relaxed) == SIGINT { _exit(130) }
        let isFirst = StopSignal.received.exchange(number, ordering: .relaxed) == 0
        if isFirst { StopSignal.receivedAt.store(StopSignal.clock(), ordering: .relaxed) }
      }
    }
  }

  /// The signal received, or 0.
  public static var number: Int32 { received.load(ordering: .relaxed) }

  /// Seconds since the first signal; 0 without one.
  static var age: Double {
    guard number != 0 else { return 0 }
    let since = receivedAt.load(ordering: .relaxed)
    // The handler may be between its two stores.
    return since == 0 ? 0 : Double(clock() - since) * 1e-9
  }

  private static func clock() -> Int {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec * 1_000_000_000 + now.tv_nsec
  }
}
