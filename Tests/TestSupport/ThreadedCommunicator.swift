// Several ranks in one process, one thread each: what tests of rank code run on where mpirun would be
// slow. Data really moves, and only when sender and receiver have both come, as large MPI messages do.
import Communication
import Foundation

/// One of several ranks that are threads of this process.
public final class ThreadedCommunicator: Communicator {
  /// This rank, in `0..<size`.
  public let rank: Int
  /// Number of ranks, N.
  public var size: Int { hub.size }
  /// Seconds a single wait for other ranks may last before it fails; 0 for no limit.
  public var waitLimit = 0.0
  private let hub: ThreadHub

  private init(rank: Int, hub: ThreadHub) {
    self.rank = rank
    self.hub = hub
  }

  /// Runs `body` on `ranks` threads, one rank each; the results by rank.
  ///
  /// When a body throws, exchanges of the other ranks fail rather than wait for it, and the first error
  /// is thrown here once all threads have ended.
  public static func run<Result: Sendable>(
    ranks: Int, _ body: @escaping @Sendable (ThreadedCommunicator) throws -> Result
  ) throws -> [Result] {
    precondition(ranks >= 1, "a group of \(ranks) ranks")
    let hub = ThreadHub(size: ranks)
    let results = ThreadResults<Result>(count: ranks)
    let group = DispatchGroup()
    for rank in 0..<ranks {
      group.enter()
      let thread = Thread {
        do {
          results.put(try body(ThreadedCommunicator(rank: rank, hub: hub)), rank: rank)
        } catch {
          results.fail(error)
          hub.stop("rank \(rank) failed: \(error)")
        }
        group.leave()
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
    group.wait()
    return try results.get()
  }

  /// Returns when every rank has come here.
  public func barrier() throws(CommunicationError) {
    _ = try hub.exchange([], rank: rank, operation: "barrier", limit: waitLimit)
  }

  /// Overwrites `bytes` with those of rank `root`.
  public func broadcast(
    _ bytes: UnsafeMutableRawBufferPointer, root: Int
  ) throws(CommunicationError) {
    precondition((0..<size).contains(root), "broadcast from rank \(root) of \(size)")
    let mine = rank == root ? [UInt8](bytes) : []
    let all = try hub.exchange(mine, rank: rank, operation: "broadcast", limit: waitLimit)
    guard all[root].count == bytes.count else {
      throw CommunicationError(
        operation: "broadcast", rank: rank,
        reason: "\(all[root].count) bytes sent, \(bytes.count) expected")
    }
    bytes.copyBytes(from: all[root])
  }

  /// Every rank's bytes, by rank.
  public func gatherAll(_ bytes: [UInt8]) throws(CommunicationError) -> [[UInt8]] {
    try hub.exchange(bytes, rank: rank, operation: "gather", limit: waitLimit)
  }

  /// One integer from those of all ranks.
  public func reduce(
    _ value: Int64, _ reduction: IntegerReduction
  ) throws(CommunicationError) -> Int64 {
    let mine = withUnsafeBytes(of: value) { [UInt8]($0) }
    let all = try hub.exchange(mine, rank: rank, operation: "reduction", limit: waitLimit)
    let values = all.map { $0.withUnsafeBytes { $0.loadUnaligned(as: Int64.self) } }
    return values.dropFirst().reduce(values[0]) { left, right in
      switch reduction {
      case .minimum: min(left, right)
      case .maximum: max(left, right)
      case .sum: left &+ right
      }
    }
  }

  /// Starts to receive a message of exactly `bytes.count` bytes.
  public func startReceive(
    into bytes: UnsafeMutableRawBufferPointer, from source: Int, tag: Int
  ) -> Transfer {
    checkPeer(source, tag: tag)
    return hub.post(bytes, .init(source: source, target: rank, tag: tag), receiving: true)
  }

  /// Starts to send a message.
  public func startSend(_ bytes: UnsafeRawBufferPointer, to target: Int, tag: Int) -> Transfer {
    checkPeer(target, tag: tag)
    // The hub only reads from the bytes of a sender.
    let source = UnsafeMutableRawBufferPointer(mutating: bytes)
    return hub.post(source, .init(source: rank, target: target, tag: tag), receiving: false)
  }

  /// Messages move when the second of the two ranks comes; there is nothing to push.
  public func progress() throws(CommunicationError) { try hub.check(rank: rank) }

  /// Returns when all `transfers` are through.
  public func wait(for transfers: [Transfer], in operation: String) throws(CommunicationError) {
    for transfer in transfers {
      try hub.wait(for: transfer, rank: rank, operation: operation, limit: waitLimit)
    }
  }

  /// Makes every exchange of every rank fail, those under way included.
  public func abort(code: Int32) { hub.stop("rank \(rank) aborted with code \(code)") }
}

private final class ThreadResults<Result: Sendable>: @unchecked Sendable {
  private let lock = NSLock()
  private var values: [Result?]
  private var firstError: (any Error)?

  init(count: Int) { values = Array(repeating: nil, count: count) }

  func put(_ value: Result, rank: Int) { lock.withLock { values[rank] = value } }

  func fail(_ error: any Error) { lock.withLock { firstError = firstError ?? error } }

  func get() throws -> [Result] {
    if let firstError { throw firstError }
    return values.compactMap { $0 }
  }
}
