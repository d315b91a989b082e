// Threads of one rank. Work comes as numbered tasks cut by size; which thread runs a task is left to chance,
// what the task computes is not, so results are the same at any thread count.
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
  let arenas: [ScratchArena]

  private var mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private var wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var done = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var threads: [pthread_t] = []

  private let generation = Atomic<Int>(0)
  private let nextTask = Atomic<Int>(0)
  private let working = Atomic<Int>(0)
  private let stopping = Atomic<Bool>(false)
  private let cancelled = Atomic<Bool>(false)
  private var taskCount = 0
  private var body: ((Int, ScratchArena) -> Void)?

  // Regions follow each other within microseconds during a step; looking a while before sleeping saves
  // the wake-up. sched_yield keeps this harmless with more threads than cores.
  private static let looks = 200

  /// Starts `threadCount - 1` threads; the caller of `run` is the last one.
  public init(threadCount: Int) {
    precondition(threadCount >= 1, "a pool needs at least one thread")
    self.threadCount = threadCount
    arenas = (0..<threadCount).map { _ in ScratchArena(capacity: 1 << 34) }
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(wake, nil)
    pthread_cond_init(done, nil)
    for worker in 1..<max(threadCount, 1) {
      var thread = pthread_t()
      // The threads borrow the pool: deinit joins them before its memory goes.
      let box = Unmanaged.passRetained(WorkerStart(pool: self, worker: worker))
      let code = pthread_create(
        &thread, nil,
        { raw in
          guard let raw else { return nil }
          let start = Unmanaged<WorkerStart>.fromOpaque(raw).takeRetainedValue()
          start.pool.workerLoop(start.worker)
          return nil
        }, box.toOpaque())
      precondition(code == 0, "cannot start a thread (error \(code))")
      threads.append(thread)
    }
  }

  private final class WorkerStart {
    unowned(unsafe) let pool: WorkerPool
    let worker: Int
    init(pool: WorkerPool, worker: Int) {
      self.pool = pool
      self.worker = worker
    }
  }

  deinit {
    stopping.store(true, ordering: .releasing)
    pthread_mutex_lock(mutex)
    generation.add(1, ordering: .releasing)
    pthread_cond_broadcast(wake)
    pthread_mutex_unlock(mutex)
    for thread in threads { pthread_join(thread, nil) }
    pthread_mutex_destroy(mutex)
    pthread_cond_destroy(wake)
    pthread_cond_destroy(done)
    mutex.deallocate()
    wake.deallocate()
    done.deallocate()
  }

  /// Most bytes of scratch any thread was ever lent, summed over threads.
  public var scratchHighWaterBytes: Int { arenas.reduce(0) { $0 + $1.highWaterBytes } }

  /// Runs `task(0) … task(count - 1)`, each once unless cancelled, and returns when all are done.
  ///
  /// Tasks run at the same time and must write disjoint memory. Each gets the scratch of its thread, taken back
  /// when the task ends. Not to be called from inside a task.
  public func run(_ count: Int, _ task: (_ index: Int, _ scratch: ScratchArena) -> Void) {
    guard threadCount > 1 && count > 1 else {
      arenas[0].laps.start()
      for index in 0..<count where !isCancelled {
        arenas[0].frame { task(index, arenas[0]) }
        betweenTasks?()
      }
      return
    }
    withoutActuallyEscaping(task) { escaping in
      body = escaping
      taskCount = count
      nextTask.store(0, ordering: .relaxed)
      working.store(threadCount - 1, ordering: .relaxed)
      pthread_mutex_lock(mutex)
      generation.add(1, ordering: .releasing)
      pthread_cond_broadcast(wake)
      pthread_mutex_unlock(mutex)
      drain(worker: 0)
      var looks = 0
      while working.load(ordering: .acquiring) > 0 {
        looks += 1
        if looks < Self.looks {
          sched_yield()
        } else {
          pthread_mutex_lock(mutex)
          while working.load(ordering: .acquiring) > 0 { pthread_cond_wait(done, mutex) }
          pthread_mutex_unlock(mutex)
        }
      }
      body = nil
    }
  }

  private func drain(worker: Int) {
    guard let body else { return }
    let arena = arenas[worker]
    arena.laps.start()
    while true {
      let index = nextTask.add(1, ordering: .relaxed).oldValue
      guard index < taskCount, !isCancelled else { return }
      arena.frame { body(index, arena) }
      if worker == 0 { betweenTasks?() }
    }
  }

  private func workerLoop(_ worker: Int) {
    MatrixLibrary.prepareThread()
    var seen = 0
    while true {
      var looks = 0
      while generation.load(ordering: .acquiring) == seen {
        looks += 1
        if looks < Self.looks {
          sched_yield()
        } else {
          pthread_mutex_lock(mutex)
          while generation.load(ordering: .acquiring) == seen { pthread_cond_wait(wake, mutex) }
          pthread_mutex_unlock(mutex)
        }
      }
      seen += 1
      if stopping.load(ordering: .acquiring) { return }
      drain(worker: worker)
      if working.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 {
        pthread_mutex_lock(mutex)
        pthread_cond_signal(done)
        pthread_mutex_unlock(mutex)
      }
    }
  }
}
