// A run without other ranks. It needs no MPI, so nothing of MPI is started.

/// The only rank of its group.
public final class SoloCommunicator: Communicator {
  /// Always 0.
  public let rank = 0
  /// Always 1.
  public let size = 1
  /// Nobody is waited for.
  public var waitLimit = 0.0

  /// A group of one.
  public init() {}

  /// Returns at once.
  public func barrier() {}

  /// Leaves the bytes as they are.
  public func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) {
    precondition(root == 0, "broadcast from rank \(root) of 1")
  }

  /// The bytes themselves.
  public func gatherAll(_ bytes: [UInt8]) -> [[UInt8]] { [bytes] }

  /// The value itself.
  public func reduce(_ value: Int64, _ reduction: IntegerReduction) -> Int64 { value }

  /// Traps: there is no other rank.
  public func startReceive(
    into bytes: UnsafeMutableRawBufferPointer, from source: Int, tag: Int
  ) -> Transfer {
    preconditionFailure("receive from rank \(source) of 1")
  }

  /// Traps: there is no other rank.
  public func startSend(_ bytes: UnsafeRawBufferPointer, to target: Int, tag: Int) -> Transfer {
    preconditionFailure("send to rank \(target) of 1")
  }

  /// Nothing is under way.
  public func progress() {}

  /// Nothing is under way.
  public func wait(for transfers: [Transfer], in operation: String) {
    precondition(transfers.isEmpty, "\(operation) waits for a message nobody started")
  }

  /// Returns: there is no other rank to end.
  public func abort(code: Int32) {}
}
