// The meeting place of the ranks of a `ThreadedCommunicator`: everything under one lock.
import Communication
import Foundation

/// What the threads of one group share.
final class ThreadHub: @unchecked Sendable {
  struct Channel: Hashable {
    let source: Int
    let target: Int
    let tag: Int
  }

  private struct Posted {
    let handle: Int
    let bytes: UnsafeMutableRawBufferPointer
  }

  private enum State {
    case waiting
    case through
    case failed(String)
  }

  let size: Int
  private let condition = NSCondition()
  private var stopReason: String?

  // Collectives: a round fills up, is read by all, and makes room for the next one.
  private var offered: [[UInt8]?]
  private var readers = 0

  private var sends: [Channel: [Posted]] = [:]
  private var receives: [Channel: [Posted]] = [:]
  private var states: [Int: State] = [:]
  private var nextHandle = 0

  init(size: Int) {
    self.size = size
    offered = Array(repeating: nil, count: size)
  }

  /// Every exchange fails with `reason` from now on.
  func stop(_ reason: String) {
    condition.withLock {
      stopReason = stopReason ?? reason
      condition.broadcast()
    }
  }

  /// The bytes of all ranks, once all have come.
  func exchange(
    _ bytes: [UInt8], rank: Int, operation: String, limit: Double
  ) throws(CommunicationError) -> [[UInt8]] {
    condition.lock()
    defer { condition.unlock() }
    offered[rank] = bytes
    if offered.allSatisfy({ $0 != nil }) {
      readers = size
      condition.broadcast()
    }
    try waitUntil(rank: rank, operation: operation, limit: limit) { readers > 0 }
    let all = offered.compactMap { $0 }
    readers -= 1
    if readers == 0 {
      offered = Array(repeating: nil, count: size)
      condition.broadcast()
    } else {
      // Nobody starts the next round while someone still has to read this one.
      try waitUntil(rank: rank, operation: operation, limit: limit) { readers == 0 }
    }
    return all
  }

  /// Queues one side of a message, and moves the bytes if the other side is there already.
  func post(
    _ bytes: UnsafeMutableRawBufferPointer, _ channel: Channel, receiving: Bool
  ) -> Transfer {
    condition.withLock {
      let mine = Posted(handle: nextHandle, bytes: bytes)
      nextHandle += 1
      states[mine.handle] = .waiting
      if receiving {
        if let send = takeFirst(&sends, channel) {
          move(from: send, to: mine)
        } else {
          receives[channel, default: []].append(mine)
        }
      } else if let receive = takeFirst(&receives, channel) {
        move(from: mine, to: receive)
      } else {
        sends[channel, default: []].append(mine)
      }
      return Transfer(handle: mine.handle)
    }
  }

  /// Returns when the message is through.
  func wait(
    for transfer: Transfer, rank: Int, operation: String, limit: Double
  ) throws(CommunicationError) {
    condition.lock()
    defer { condition.unlock() }
    precondition(states[transfer.handle] != nil, "no message \(transfer.handle) to wait for")
    try waitUntil(rank: rank, operation: operation, limit: limit) {
      if case .waiting = states[transfer.handle] { false } else { true }
    }
    if case .failed(let reason) = states.removeValue(forKey: transfer.handle) {
      throw CommunicationError(operation: operation, rank: rank, reason: reason)
    }
  }

  /// Throws once every exchange fails.
  func check(rank: Int) throws(CommunicationError) {
    let reason = condition.withLock { stopReason }
    guard let reason else { return }
    throw CommunicationError(operation: "exchange", rank: rank, reason: reason)
  }

  private func takeFirst(_ queues: inout [Channel: [Posted]], _ channel: Channel) -> Posted? {
    guard var queue = queues[channel], !queue.isEmpty else { return nil }
    let first = queue.removeFirst()
    queues[channel] = queue
    return first
  }

  private func move(from send: Posted, to receive: Posted) {
    let state: State
    if send.bytes.count == receive.bytes.count {
      receive.bytes.copyMemory(from: UnsafeRawBufferPointer(send.bytes))
      state = .through
    } else {
      state = .failed("\(send.bytes.count) bytes sent, \(receive.bytes.count) expected")
    }
    states[send.handle] = state
    states[receive.handle] = state
    condition.broadcast()
  }

  private func waitUntil(
    rank: Int, operation: String, limit: Double, _ met: () -> Bool
  ) throws(CommunicationError) {
    let end = Date(timeIntervalSinceNow: limit)
    while true {
      if let stopReason {
        throw CommunicationError(operation: operation, rank: rank, reason: stopReason)
      }
      if met() { return }
      if limit <= 0 {
        condition.wait()
      } else if !condition.wait(until: end) {
        throw CommunicationError(
          operation: operation, rank: rank, reason: CommunicationError.noAnswer(limit))
      }
    }
  }
}
