// Work that may take a rank any time, such as that of a slow disk: the others wait, and still notice a rank that is
// lost.
import Communication
import Foundation

/// Runs `work` on every rank; returns on all of them once that of each is done.
///
/// All ranks call it. However long a rank works, the others do not give it up: it tells them several times a second
/// that it is there, from the calling thread, while `work` runs on a thread of its own. So `work` exchanges nothing
/// with other ranks. A rank that says nothing for as long as `communicator` waits is an error.
func whenAllDone<Result>(
  _ communicator: any Communicator, _ work: () throws -> Result
) throws -> Swift.Result<Result, any Error> {
  guard communicator.size > 1 else { return Swift.Result { try work() } }
  return try withoutActuallyEscaping(work) { work in
    let own = ThreadOfWork(work)
    var isDone = false
    do {
      repeat {
        isDone = isDone || own.isDone(within: 0.2)
      } while try communicator.minimum(isDone ? 1 : 0) == 0
    } catch {
      // It uses what belongs to the caller.
      while !isDone { isDone = own.isDone(within: 1) }
      throw error
    }
    guard let result = own.result else { preconditionFailure("work is done without a result") }
    return result
  }
}

/// Work on a thread of its own; `result` may be read once it is done.
private final class ThreadOfWork<Value>: @unchecked Sendable {
  private var work: (() throws -> Value)?
  private let ended = DispatchSemaphore(value: 0)
  private(set) var result: Result<Value, any Error>?

  init(_ work: @escaping () throws -> Value) {
    self.work = work
    let thread = Thread { self.run() }
    // As much as the first thread has.
    thread.stackSize = 8 << 20
    thread.start()
  }

  private func run() {
    result = work.map { work in Result { try work() } }
    work = nil
    ended.signal()
  }

  /// Whether the work ends within so many seconds; not asked again once it has.
  func isDone(within seconds: Double) -> Bool {
    ended.wait(timeout: .now() + seconds) == .success
  }
}
