// How much of a computation could not be shared, however many threads there were: found out by one thread that does
// everything. For tests; nothing of it runs elsewhere.
import Glibc

/// Work of one thread in nanoseconds of its own processor time, which other programs do not add to.
package final class WorkRecorder {
  /// All work between the first task and the last.
  package private(set) var total = 0
  /// The most that was done in a row by one thread alone: what lies between computations of several tasks, or the
  /// longest task of one.
  package private(set) var longestStretch = 0
  /// Computations, and tasks in all of them.
  package private(set) var (computations, tasks) = (0, 0)

  private var stretch = 0
  private var tasksHere = 0
  private var last = now()

  /// A recorder that starts now.
  package init() {}

  private static func now() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }

  /// A computation begins: its first task goes on with the stretch of what was done by the caller.
  func begin() {
    stretch += lap()
    (computations, tasksHere) = (computations + 1, 0)
  }

  /// A task is done; the second one of a computation could have been another thread's.
  func finishTask() {
    (tasks, tasksHere) = (tasks + 1, tasksHere + 1)
    if tasksHere > 1 { stretch = 0 }
    stretch += lap()
    longestStretch = max(longestStretch, stretch)
  }

  private func lap() -> Int {
    let now = Self.now()
    defer { last = now }
    total += now - last
    return now - last
  }
}
