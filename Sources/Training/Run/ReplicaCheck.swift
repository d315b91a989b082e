// Every rank holds the same parameters, or something is broken: a memory, a network card, a
// library. Ranks then train apart without a sign of it in the loss, so they compare digests now and
// then.
import Checkpointing
import Communication
import Compute
import Foundation

/// Throws `RunFailure` on all ranks alike where any has other parameters than the rest.
///
/// Costs a SHA-256 of the parameters and one small gather. With two groups of equal size nobody can
/// tell which one is right, and both are named.
package func checkReplicas(
  _ parameters: View<Float>, step: Int, _ communicator: any Communicator
) throws {
  guard communicator.size > 1 else { return }
  let hash = SHA256()
  hash.update(UnsafeRawBufferPointer(parameters.bytes))
  var ranks: [[UInt8]: [Int]] = [:]
  for (rank, digest) in try communicator.gatherAll(Array(hash.finish().utf8)).enumerated() {
    ranks[digest, default: []].append(rank)
  }
  guard ranks.count > 1 else { return }
  // Largest first; of equal ones that of the lowest rank.
  let groups = ranks.values.sorted { ($1.count, $0[0]) < ($0.count, $1[0]) }
  func named(_ group: [Int]) -> String {
    "rank\(group.count == 1 ? "" : "s") \(group.map(String.init).joined(separator: ", "))"
  }
  let difference =
    groups[0].count > groups[1].count
    ? groups.dropFirst().map(named).joined(separator: " and ") + " differ from the rest"
    : groups.map(named).joined(separator: " and ") + " differ"
  throw RunFailure(
    "step \(step): the parameters of \(difference); a machine's memory or network is faulty. "
      + "Nothing was saved since the last comparison: go on with --resume auto on other machines")
}
