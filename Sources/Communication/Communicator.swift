// What the trainer asks of the ranks around it. One implementation per way of running: alone and
// under MPI; tests have one more, of threads of one process.
import Compute

/// How integers of all ranks become one.
public enum IntegerReduction: Sendable {
  /// The smallest.
  case minimum
  /// The largest.
  case maximum
  /// The sum.
  case sum
}

/// A message under way; its bytes must stay in place, and unchanged, until it is waited for.
public struct Transfer: Sendable, Hashable {
  package let handle: Int

  package init(handle: Int) { self.handle = handle }
}

/// A group of ranks that work on one run, seen from one of them.
///
/// All calls of one rank come from one thread. Collective calls (barrier, broadcast, gather, reduce)
/// must come in the same order on every rank, so code branches only on values equal on all ranks.
/// After an error the ranks are out of step: end the run with `abort`.
public protocol Communicator: AnyObject {
  /// This rank, in `0..<size`.
  var rank: Int { get }
  /// Number of ranks, N.
  var size: Int { get }
  /// Seconds a single wait for other ranks may last before it fails; 0, as at first, for no limit.
  var waitLimit: Double { get set }

  /// The lowest of the ranks that share this rank's machine; a collective call.
  func firstRankHere() throws(CommunicationError) -> Int

  /// Returns when every rank has come here.
  func barrier() throws(CommunicationError)

  /// Overwrites `bytes`, of equal count everywhere, with those of rank `root`.
  func broadcast(
    _ bytes: UnsafeMutableRawBufferPointer, root: Int
  ) throws(CommunicationError)

  /// Every rank's bytes, by rank; counts may differ.
  func gatherAll(_ bytes: [UInt8]) throws(CommunicationError) -> [[UInt8]]

  /// One integer from those of all ranks; a sum that overflows wraps around.
  func reduce(_ value: Int64, _ reduction: IntegerReduction) throws(CommunicationError) -> Int64

  /// Starts to receive a message of exactly `bytes.count` bytes from another rank.
  ///
  /// Messages with the same tag from the same rank arrive in the order they were sent. `tag` is in
  /// `0..<32768`, the range every MPI has.
  func startReceive(
    into bytes: UnsafeMutableRawBufferPointer, from source: Int, tag: Int
  ) throws(CommunicationError) -> Transfer

  /// Starts to send a message to another rank.
  func startSend(
    _ bytes: UnsafeRawBufferPointer, to target: Int, tag: Int
  ) throws(CommunicationError) -> Transfer

  /// Lets messages under way move; never blocks.
  ///
  /// MPI moves data only inside its own calls, so long computations call this now and then. Throws
  /// what is known by now to make the wait for a message fail.
  func progress() throws(CommunicationError)

  /// Returns when all `transfers` are through; each may be waited for once.
  ///
  /// `operation` names the failing operation in errors.
  func wait(for transfers: [Transfer], in operation: String) throws(CommunicationError)

  /// Ends the work of all ranks within seconds.
  ///
  /// Under MPI this ends every process, this one included, and mpirun exits with `code`. Elsewhere it
  /// returns and the caller ends the process.
  func abort(code: Int32)
}

extension Communicator {
  /// Makes this rank wait for the others up to `limit` seconds, 0 for ever, or as long as it has just worked itself
  /// where that is more.
  ///
  /// Ranks that do equal work wait for each other less than that work takes, however slow their machines.
  public func limitWaits(to limit: Double, orOwnWork seconds: Double = 0) {
    waitLimit = limit > 0 ? max(limit, seconds) : 0
  }

  /// Ranks of one process share its machine.
  public func firstRankHere() -> Int { 0 }

  /// The smallest of all ranks' values.
  public func minimum(_ value: Int64) throws(CommunicationError) -> Int64 {
    try reduce(value, .minimum)
  }

  /// The largest of all ranks' values.
  public func maximum(_ value: Int64) throws(CommunicationError) -> Int64 {
    try reduce(value, .maximum)
  }

  /// The sum of all ranks' values.
  public func sum(_ value: Int64) throws(CommunicationError) -> Int64 {
    try reduce(value, .sum)
  }

  /// Rank `root`'s bytes; the others' argument is ignored, so they need not know the count.
  public func broadcast(_ bytes: [UInt8], root: Int) throws(CommunicationError) -> [UInt8] {
    let count = Buffer<Int64>(1)
    count.view[0] = Int64(bytes.count)
    try broadcast(count.view.bytes, root: root)
    let content = Buffer<UInt8>(Int(count.view[0]))
    if rank == root { content.view.copy(from: bytes) }
    try broadcast(content.view.bytes, root: root)
    return content.view.array
  }

  /// Every rank's numbers, by rank, bit for bit; counts may differ.
  public func gatherAll(doubles: [Double]) throws(CommunicationError) -> [[Double]] {
    let bytes = doubles.withUnsafeBytes { [UInt8]($0) }
    return try gatherAll(bytes).map { part in
      part.withUnsafeBytes { raw in
        (0..<(part.count / 8)).map { raw.loadUnaligned(fromByteOffset: 8 * $0, as: Double.self) }
      }
    }
  }

  /// Traps where a message to `peer` with this tag cannot be.
  package func checkPeer(_ peer: Int, tag: Int) {
    precondition((0..<size).contains(peer) && peer != rank, "rank \(rank) to rank \(peer)")
    precondition((0..<32768).contains(tag), "tag \(tag)")
  }
}
