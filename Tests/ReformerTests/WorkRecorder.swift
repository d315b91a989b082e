// How much of a computation could not be shared, however many threads there were: found out by one thread that does
// everything.
import Compute
import Glibc

/// Work of one thread in nanoseconds of its own processor time, which other programs do not add to.
final class WorkRecorder {
  /// All work between the first task and the last.
  private(set) var total = 0
  /// The most that was done in a row by one thread alone: what lies between computations of several tasks, or the
  /// longest task of one.
  private(set) var longestStretch = 0
  /// Computations, and tasks in all of them.
  private(set) var (computations, tasks) = (0, 0)

  private var stretch = 0
  private var last = now()

  private static func now() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }

  /// Begins now, with the next computation of `pool`.
  init(_ pool: WorkerPool) {
    pool.watch = { [unowned self] in note($0) }
  }

  private func note(_ finished: Int?) {
    let now = Self.now()
    total += now - last
    guard let finished else {
      // A computation begins: its first task goes on with the stretch of what was done by the caller.
      computations += 1
      stretch += now - last
      last = now
      return
    }
    tasks += 1
    // The second one of a computation could have been another thread's.
    if finished > 0 { stretch = 0 }
    stretch += now - last
    longestStretch = max(longestStretch, stretch)
    last = now
  }
}
