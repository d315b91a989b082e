import Compute
import Glibc
import Synchronization
import Testing

// Pools of several threads poll while they wait; one test at a time keeps that off the others.
@Suite("Worker pool", .serialized)
struct WorkerPoolTests {
  @Test(
    "every task runs once, whatever the threads", arguments: [1, 2, 3, 8], [0, 1, 2, 7, 1000])
  func once(threads: Int, tasks: Int) {
    let pool = WorkerPool(threadCount: threads)
    let runs = Buffer<Int32>(tasks)
    pool.run(tasks) { index, _ in runs.view[index] += 1 }
    #expect(runs.view.array.allSatisfy { $0 == 1 })
    #expect(pool.threadCount == threads)
  }

  // A wake-up lost once in some thousand rounds would hang here.
  @Test("rounds follow each other, each seeing all of the one before", .timeLimit(.minutes(1)))
  func rounds() {
    let pool = WorkerPool(threadCount: 3)
    let tasks = 5
    let values = Buffer<Int32>(tasks)
    let sums = Buffer<Int32>(tasks)
    let rounds = 20_000
    var wrong = 0
    for round in 0..<rounds {
      pool.run(tasks) { index, _ in values.view[index] += 1 }
      pool.run(tasks) { index, _ in sums.view[index] = values.view.array.reduce(0, +) }
      if sums.view.array != [Int32](repeating: Int32(tasks * (round + 1)), count: tasks) {
        wrong += 1
      }
    }
    #expect(wrong == 0)
  }

  @Test("a thread that found no work for long is woken", .timeLimit(.minutes(1)))
  func idle() async throws {
    let pool = WorkerPool(threadCount: 2)
    let ran = Atomic<Int>(0)
    for _ in 0..<5 {
      // Long enough for the threads to give up polling and sleep.
      try await Task.sleep(for: .milliseconds(20))
      pool.run(10) { _, _ in ran.add(1, ordering: .relaxed) }
    }
    #expect(ran.load(ordering: .relaxed) == 50)
  }

  @Test("pools come and go", .timeLimit(.minutes(1)))
  func lifetimes() {
    let ran = Atomic<Int>(0)
    for count in 0..<200 {
      let pool = WorkerPool(threadCount: 1 + count % 4)
      if count % 3 > 0 { pool.run(4) { _, _ in ran.add(1, ordering: .relaxed) } }
    }
    #expect(ran.load(ordering: .relaxed) == 4 * (0..<200).count { $0 % 3 > 0 })
  }

  @Test("a pool that nobody holds is gone, though its threads have begun", .timeLimit(.minutes(1)))
  func ends() {
    for count in [0, 1, 100] {
      weak var gone: WorkerPool?
      do {
        let pool = WorkerPool(threadCount: 3)
        pool.run(count) { _, scratch in _ = scratch.floats(10) }
        // Until both threads have looked for tasks, and sleep.
        usleep(20_000)
        gone = pool
      }
      #expect(gone == nil, "after \(count) tasks")
    }
  }

  @Test("tasks at the same time have scratch of their own, taken back after each")
  func scratch() {
    let pool = WorkerPool(threadCount: 3)
    let damaged = Atomic<Int>(0)
    pool.run(300) { index, scratch in
      let mine = scratch.integers(1000)
      mine.fill(Int32(index))
      let more = scratch.integers(1000)
      more.fill(-1)
      if !mine.array.allSatisfy({ $0 == Int32(index) }) { damaged.add(1, ordering: .relaxed) }
    }
    #expect(damaged.load(ordering: .relaxed) == 0)
    // Two loans of 4000 bytes in whole cache lines, on one to three threads.
    let loan = 2 * 4032
    #expect((1...3).contains { $0 * loan == pool.scratchHighWaterBytes })
  }

  @Test("a task that calls its own pool ends the program", arguments: [1, 2])
  func nested(threads: Int) async {
    await #expect(processExitsWith: .failure) { [threads] in
      let pool = WorkerPool(threadCount: threads)
      pool.run(4) { _, _ in pool.run(4) { _, _ in } }
    }
  }
}
