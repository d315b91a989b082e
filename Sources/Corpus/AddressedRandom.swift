// Random numbers that are functions of their address, for data order and made-up bytes. Nothing here
// is drawn in sequence, so nothing has to be saved to resume.

/// Number `index` of the SplitMix64 sequence started at `key` (Steele, Lea and Flood 2014).
func splitMix64(key: UInt64, index: UInt64) -> UInt64 {
  var mixed = key &+ (index &+ 1) &* 0x9E37_79B9_7F4A_7C15
  mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
  mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
  return mixed ^ (mixed >> 31)
}

/// A pseudo-random order of `0..<count` that needs no memory.
///
/// A Feistel network is a bijection of the numbers of 2h bits whatever its round function is; where it
/// leads to a number that is not below `count` it is applied again ("cycle walking"), which keeps it
/// a bijection of `0..<count` (Black and Rogaway 2002).
struct RandomOrder {
  // Four rounds would do for large domains; six also mix domains of a few numbers well.
  private static let rounds = 6

  private let count: UInt64
  private let halfBits: UInt64
  private let key: UInt64

  /// The order number `key` of `0..<count`; `count` is positive.
  init(count: Int, key: UInt64) {
    precondition(count > 0, "an order of \(count) numbers")
    self.count = UInt64(count)
    let bits = UInt64(Int.bitWidth - (count - 1).leadingZeroBitCount)
    halfBits = max(1, (bits + 1) / 2)
    self.key = key
  }

  /// The number at `place`, which is in `0..<count`.
  subscript(place: Int) -> Int {
    precondition(place >= 0 && place < count, "place \(place) of \(count)")
    var number = UInt64(place)
    repeat { number = permute(number) } while number >= count
    return Int(number)
  }

  private func permute(_ number: UInt64) -> UInt64 {
    let mask = (UInt64(1) << halfBits) - 1
    var left = number >> halfBits
    var right = number & mask
    for round in 0..<Self.rounds {
      let mixed = splitMix64(key: key ^ right, index: UInt64(round)) & mask
      (left, right) = (right, left ^ mixed)
    }
    return left << halfBits | right
  }
}
