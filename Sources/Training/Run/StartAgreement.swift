// Before anything is computed or written, all ranks agree that they can start and that they start the same run.
// A mistake is then named once, and no rank is left waiting for one that has given up.
import Checkpointing
import Communication
import Compute
import Foundation

/// Runs `prepare` on every rank, for as long as it takes; where it fails on any, all throw one `UserError` or
/// `RunFailure` naming each failure with its ranks.
///
/// `prepare` may run on another thread, and exchanges nothing with other ranks.
public func agree<Result>(
  _ communicator: any Communicator, _ prepare: () throws -> Result
) throws -> Result {
  let outcome = try whenAllDone(communicator, prepare)
  var own: [UInt8] = []
  // First byte: the exit code. Rest: the message.
  if case .failure(let failure) = outcome {
    own = [UInt8(runExitCode(failure))] + Array("\(failure)".utf8)
  }
  let all = try communicator.gatherAll(own)
  guard let worst = all.compactMap(\.first).max() else { return try outcome.get() }
  var ranks: [String: [Int]] = [:]
  for (rank, bytes) in all.enumerated() where !bytes.isEmpty {
    ranks[String(decoding: bytes.dropFirst(), as: UTF8.self), default: []].append(rank)
  }
  let messages = ranks.sorted { $0.value[0] < $1.value[0] }.map { message, ranks in
    ranks.count == communicator.size
      ? message : "rank \(ranks.map(String.init).joined(separator: ", ")): \(message)"
  }
  let text = messages.joined(separator: "; ")
  if worst == 2 { throw UserError(text) }
  throw RunFailure(text)
}

/// Throws where the ranks differ in something that the bits depend on.
///
/// `identity`: name and value of each such thing on this rank, for example the config's digest.
public func requireEqual(
  _ identity: [(name: String, value: String)], _ communicator: any Communicator
) throws {
  if let difference = try firstDifference(identity, communicator) {
    throw UserError("\(difference); start all ranks with the same program, config and corpus")
  }
}

/// In what the ranks' machines differ, as far as the bits depend on it; nil where they are of one
/// kind.
func machineDifference(_ communicator: any Communicator) throws -> String? {
  try firstDifference([("matrix products", MatrixProducts.description)], communicator)
}

/// The first rank that differs from rank 0, and in what; the same answer on all ranks.
private func firstDifference(
  _ identity: [(name: String, value: String)], _ communicator: any Communicator
) throws -> String? {
  let text = identity.map(\.value).joined(separator: "\u{0}")
  let all = try communicator.gatherAll(Array(text.utf8)).map {
    String(decoding: $0, as: UTF8.self).split(separator: "\u{0}", omittingEmptySubsequences: false)
  }
  for (rank, values) in all.enumerated() {
    for (index, entry) in identity.enumerated() where values[index] != all[0][index] {
      return "rank \(rank) has \(entry.name) \(values[index]), rank 0 has \(all[0][index])"
    }
  }
  return nil
}
