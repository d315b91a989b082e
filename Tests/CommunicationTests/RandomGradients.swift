// Made-up gradients that several suites sum.
import Communication
import Compute

enum RandomGradients {
  /// Groups of 3, 1, 9 and 1 segments: ranks get empty, equal and unequal pieces of them.
  static let layout = ParameterLayout(groups: [
    ("embeddings", [("embeddings.weight", [3_000])]),
    ("layers.0", [("layers.0.weight", [70])]),
    ("layers.1", [("layers.1.weight", [90, 100]), ("layers.1.bias", [100])]),
    ("head", [("head.weight", [1_024])]),
  ])

  /// Overwrites the tensors in `gradients` with those of `sample`; padding is left zero.
  static func fill(_ gradients: View<Float>, sample: Int) {
    for slot in layout.slots {
      for index in slot.range { gradients[index] = value(sample, index) }
    }
  }

  /// A number in [-1, 1) that depends on both arguments.
  static func value(_ sample: Int, _ index: Int) -> Float {
    // SplitMix64 (Steele et al. 2014), its output function at an addressed place.
    var z = (UInt64(sample) << 32 | UInt64(index)) &* 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return Float(Int64((z ^ (z >> 31)) >> 40) - (1 << 23)) / Float(1 << 23)
  }

  /// The sum of samples, or of other terms, by the recursive definition of the order, written without the tree.
  static func referenceSum(
    samples: Int, of term: (_ sample: Int, _ index: Int) -> Float = RandomGradients.value
  ) -> [Float] {
    func block(_ start: Int, _ size: Int, _ index: Int) -> Float {
      guard size > 1 else { return term(start, index) }
      return block(start, size / 2, index) + block(start + size / 2, size / 2, index)
    }
    var sum = [Float](repeating: 0, count: layout.count)
    for index in layout.slots.flatMap(\.range) {
      var start = 0
      for bit in (0..<8).reversed() where samples & (1 << bit) != 0 {
        let next = block(start, 1 << bit, index)
        sum[index] = start == 0 ? next : sum[index] + next
        start += 1 << bit
      }
    }
    return sum
  }
}

extension [Float] {
  /// Bits, so that NaN equals itself and 0 differs from -0.
  var bits: [UInt32] { map(\.bitPattern) }
}
