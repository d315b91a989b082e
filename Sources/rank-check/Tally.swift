// Counts what held and reports what did not.
import Foundation

final class Tally {
  private(set) var passed = 0
  private(set) var failed = 0
  private let rank: Int

  init(rank: Int) { self.rank = rank }

  func expect(_ condition: Bool, _ claim: String) {
    if condition {
      passed += 1
    } else {
      failed += 1
      complain("rank \(rank): not so: \(claim)")
    }
  }
}

/// Writes a line to standard error.
func complain(_ line: String) { FileHandle.standardError.write(Data("\(line)\n".utf8)) }

/// Number `index` of the sequence `seed`, in [-1, 1), with all 24 bits of a float in use.
func randomFloat(_ seed: Int, _ index: Int) -> Float {
  // SplitMix64 (Steele et al. 2014), its output function at an addressed place.
  var z = (UInt64(seed) << 32 | UInt64(index)) &* 0x9E37_79B9_7F4A_7C15
  z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
  z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
  return Float(Int64((z ^ (z >> 31)) >> 40) - (1 << 23)) / Float(1 << 23)
}
