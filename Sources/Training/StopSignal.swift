// SIGTERM, SIGINT and SIGUSR1 (Slurm's warning) ask a run to stop after the step it is in.
import Glibc
import Synchronization

/// Whether a signal asked this process to stop.
public enum StopSignal {
  private static let received = Atomic<Int32>(0)

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
      signal(number) { number in
        if number == SIGINT && StopSignal.received.load(ordering: .relaxed) == SIGINT { _exit(130) }
        StopSignal.received.store(number, ordering: .relaxed)
      }
    }
  }

  /// The signal received, or 0.
  public static var number: Int32 { received.load(ordering: .relaxed) }
}
