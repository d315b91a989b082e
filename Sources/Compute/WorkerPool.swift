// Threads of one rank. Work comes as numbered tasks cut by size; which thread runs a task is left to chance,
// what the task computes is not, so results are the same at any thread count.
import CKernels
import Glibc
import Synchronization

/// A fixed set of threads that run numbered tasks.
public final class WorkerPool: @unchecked Sendable {
  /// Threads that work, the caller included.
  public let threadCount: Int
  /// Called by the caller of `run` after each task it does itself, for work that must not wait for
  /// the end of a long computation, such as moving messages.
  public var betweenTasks: (() -> Void)?
  /// Whether tasks that have not begun are left out, so that a long computation whose result nobody wants
  /// ends with the tasks under way.
  ///
  /// Only the caller of `run` sets it, and clears it once it is out of the computation.
  public var isCancelled: Bool {
    get { cancelled.load(ordering: .relaxed) }
    set { cancelled.store(newValue, ordering: .relaxed) }
  }
  /// In a pool of one thread: called when tasks begin, and after each with its index.
  package var watch: ((_ finished: Int?) -> Void)?
  let arenas: [ScratchArena]

  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  /// There are tasks, or all are finished.
  private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var threads: [pthread_t] = []

  /// The number of the computation in the upper half, its tasks that no thread has taken yet in the lower.
  ///
  /// A thread takes a task and knows whose it is in one exchange, so nobody waits for a thread that has none: it may have
  /// lost its core to another process.
  private let offer = Atomic<UInt64>(0)
  private let finished = Atomic<Int>(0)
  private let sleeping = Atomic<Int>(0)
  private let stopping = Atomic<Bool>(false)
  private let cancelled = Atomic<Bool>(false)
  private var taskCount = 0
  private var body: ((Int, ScratchArena) -> Void)?

  private let isRunning = Atomic<Bool>(false)

  // Whether the threads of all pools here, times the processes like this one beside it, fit the cores this
  // process may use. Only then does a thread that waits keep its core: nobody else of this run needs it.
  private let processes: Int
  /// Cores this process may use: where a launcher or a batch system bound it, those.
  public static let cores = Int(ck_core_count())
  private static let threadsHere = Atomic<Int>(0)
  private var isRoomy: Bool {
    Self.threadsHere.load(ordering: .relaxed) * processes <= Self.cores
  }

  /// Starts `threadCount - 1` threads; the caller of `run` is the last one.
  ///
  /// - `processes`: how many like this one share the cores that it may use.
  public init(threadCount: Int, processes: Int = 1) {
    precondition(threadCount >= 1, "a pool needs at least one thread")
    self.threadCount = threadCount
    self.processes = processes
    Self.threadsHere.add(threadCount, ordering: .relaxed)
    arenas = (0..<threadCount).map { _ in ScratchArena() }
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(changed, nil)
    for worker in 1..<max(threadCount, 1) {
      var thread = pthread_t()
      let start = Unmanaged.passRetained(
        WorkerStart(pool: .passUnretained(self), worker: worker))
      let code = pthread_create(
        &thread, nil,
        { raw in
          guard let raw else { return nil }
          let start = Unmanaged<WorkerStart>.fromOpaque(raw).takeRetainedValue()
          start.pool._withUnsafeGuaranteedRef { $0.workerLoop(start.worker) }
          return nil
        }, start.toOpaque())
      precondition(code == 0, "cannot start a thread (error \(code))")
      threads.append(thread)
    }
  }

  private final class WorkerStart {
    // The threads borrow the pool, and hold it not even while they run: deinit joins them before its memory goes.
    let pool: Unmanaged<WorkerPool>
    let worker: Int
    init(pool: Unmanaged<WorkerPool>, worker: Int) {
      self.pool = pool
      self.worker = worker
    }
  }

  deinit {
    stopping.store(true, ordering: .releasing)
    wake()
    for thread in threads { pthread_join(thread, nil) }
    Self.threadsHere.subtract(threadCount, ordering: .relaxed)
    pthread_mutex_destroy(mutex)
    pthread_cond_destroy(changed)
    mutex.deallocate()
    changed.deallocate()
  }

  /// Most bytes of scratch any thread was ever lent, summed over threads.
  public var scratchHighWaterBytes: Int { arenas.reduce(0) { $0 + $1.highWaterBytes } }

  /// Runs `task(0) … task(count - 1)`, each once unless cancelled, and returns when all are done.
  ///
  /// Tasks run at the same time and must write disjoint memory. Each gets the scratch of its thread, taken back
  /// when the task ends. Traps when called from inside a task, or from two threads at once.
  public func run(_ count: Int, _ task: (_ index: Int, _ scratch: ScratchArena) -> Void) {
    precondition(
      !isRunning.exchange(true, ordering: .acquiring),
      "WorkerPool.run called while it runs: from inside a task, or from two threads at once")
    defer { isRunning.store(false, ordering: .releasing) }
    guard threadCount > 1 && count > 1 else {
      defer { ck_release_tiles() }
      arenas[0].laps.start()
      watch?(nil)
      for index in 0..<count where !isCancelled {
        arenas[0].frame { task(index, arenas[0]) }
        watch?(index)
        betweenTasks?()
      }
      return
    }
    withoutActuallyEscaping(task) { escaping in
      body = escaping
      taskCount = count
      finished.store(0, ordering: .relaxed)
      let number = offer.load(ordering: .relaxed) >> 32 &+ 1
      offer.store(number << 32 | UInt64(count), ordering: .releasing)
      wake()
      drain(worker: 0)
      wait { finished.load(ordering: .acquiring) == count }
      body = nil
    }
  }

  private var isOffering: Bool { UInt32(truncatingIfNeeded: offer.load(ordering: .relaxed)) > 0 }

  /// Takes and runs tasks while there are any.
  private func drain(worker: Int) {
    let arena = arenas[worker]
    defer { ck_release_tiles() }
    arena.laps.start()
    while true {
      let seen = offer.load(ordering: .relaxed)
      let left = Int(UInt32(truncatingIfNeeded: seen))
      guard left > 0 else { return }
      guard
        offer.weakCompareExchange(expected: seen, desired: seen - 1, ordering: .acquiring).exchanged
      else { continue }
      // Until the task is finished the computation is not over, and all of it is as it was.
      let count = taskCount
      if !isCancelled { perform(count - left, arena) }
      let isLast = finished.add(1, ordering: .acquiringAndReleasing).newValue == count
      if worker == 0 {
        betweenTasks?()
      } else if isLast {
        wake()
      }
    }
  }

  // A call of its own: it holds the closure no longer than the task lasts.
  @inline(never)
  private func perform(_ index: Int, _ arena: ScratchArena) {
    arena.frame { body?(index, arena) }
  }

  /// Wakes the threads that sleep, after a change that they may wait for.
  private func wake() {
    // A thread counts itself before it looks for the last time: either it sees the change or it is seen here.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    guard sleeping.load(ordering: .relaxed) > 0 else { return }
    pthread_mutex_lock(mutex)
    pthread_cond_broadcast(changed)
    pthread_mutex_unlock(mutex)
  }

  /// Looks for a while whether `isOver`, then sleeps until it is woken.
  ///
  /// Computations follow each other within microseconds during a step, and looking saves the wake-up. A thread
  /// that keeps its core while it looks leaves a process of low priority what the scheduler gives it; by
  /// sched_yield it would hand over a time slice at every look, and by sleeping it would wait for the end of
  /// one. Where threads outnumber cores it is the other way round: the core is needed.
  private func wait(until isOver: () -> Bool) {
    if isRoomy {
      let start = ContinuousClock.now
      repeat {
        for _ in 0..<64 {
          if isOver() { return }
          ck_pause()
        }
      } while ContinuousClock.now - start < Self.longestLook
    } else {
      for _ in 0..<Self.yields {
        if isOver() { return }
        sched_yield()
      }
    }
    pthread_mutex_lock(mutex)
    sleeping.add(1, ordering: .relaxed)
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    while !isOver() { pthread_cond_wait(changed, mutex) }
    sleeping.subtract(1, ordering: .relaxed)
    pthread_mutex_unlock(mutex)
  }

  // Longer than the last task of a computation, shorter than anybody notices.
  private static let longestLook = Duration.milliseconds(2)
  private static let yields = 200

  private func workerLoop(_ worker: Int) {
    OpenBLAS.prepareThread()
    while true {
      wait { isOffering || stopping.load(ordering: .acquiring) }
      if stopping.load(ordering: .acquiring) { return }
      drain(worker: worker)
    }
  }
}

extension WorkerPool {
  /// Sets the times of all threads to zero and starts, or stops, their stopwatches.
  public func resetLaps(running: Bool) {
    for arena in arenas { arena.laps.reset(running: running) }
  }

  /// Seconds that tasks spent in each phase since `resetLaps`, all threads together.
  public var lapSeconds: [(phase: Phase, seconds: Double)] {
    Phase.allCases.map { phase in
      (phase, arenas.reduce(0) { $0 + Double($1.laps.nanoseconds[phase.rawValue]) } * 1e-9)
    }
  }
}
