// The one error of this module: which operation failed, on which rank, and why.

/// A failed exchange between ranks.
public struct CommunicationError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What was being done, such as `gradient exchange`.
  public let operation: String
  /// The rank that noticed.
  public let rank: Int
  /// What went wrong, and what to do where the user can do something.
  public let reason: String
  /// The MPI error class, or nil when the error is not MPI's.
  public let mpiClass: Int?

  /// All parts at once.
  public init(operation: String, rank: Int, reason: String, mpiClass: Int? = nil) {
    self.operation = operation
    self.rank = rank
    self.reason = reason
    self.mpiClass = mpiClass
  }

  /// The reason of a wait that reached its limit.
  package static func noAnswer(_ seconds: Double) -> String {
    "no answer for \(Int(seconds.rounded(.up))) s: another rank has died or hangs, or the network is "
      + "down"
  }

  /// One line, such as `gradient exchange failed on rank 3: message truncated (MPI 15)`.
  public var description: String {
    let code = mpiClass.map { " (MPI \($0))" } ?? ""
    return "\(operation) failed on rank \(rank): \(reason)\(code)"
  }
}
