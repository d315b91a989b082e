// Probabilities as whole numbers, which two machines agree on.
import Compute

/// The shares of all bytes.
package struct ByteShares {
  /// `[257]`: where each byte's share begins, and where the last one ends.
  private var starts = [UInt32](repeating: 0, count: 257)

  /// Those of the softmax of `logits` `[256]`; each byte has at least one part.
  ///
  /// All of it is arithmetic whose bits are the same on every machine. Logits that are not finite give some shares, as
  /// good as any.
  package init(_ logits: View<Float>) {
    precondition(logits.count == 256, "logits of \(logits.count) bytes")
    let most = (0..<256).reduce(0) { logits[$1] > logits[$0] ? $1 : $0 }
    let top = Double(logits[most])
    let weights = (0..<256).map { DoubleFunctions.exp(Double(logits[$0]) - top) }
    let sum = weights.reduce(0, +)
    guard sum.isFinite else {
      starts = Self.equal.starts
      return
    }
    // What rounding leaves over goes to the likeliest.
    let all: UInt32 = 1 << SymbolShare.bits
    let factor = Double(all - 256) / sum
    var sizes = weights.map { 1 + UInt32($0 * factor) }
    sizes[most] += all - sizes.reduce(0, +)
    for byte in 0..<256 { starts[byte + 1] = starts[byte] + sizes[byte] }
  }

  private init() {}

  /// Bytes of which nothing is known.
  package static let equal: ByteShares = {
    var shares = ByteShares()
    for byte in 0...256 { shares.starts[byte] = UInt32(byte) << (SymbolShare.bits - 8) }
    return shares
  }()

  /// The share of a byte.
  package subscript(byte: UInt8) -> SymbolShare {
    let byte = Int(byte)
    return SymbolShare(start: starts[byte], size: starts[byte + 1] - starts[byte])
  }

  /// The byte in whose share a part is.
  package func byte(at part: UInt32) -> UInt8 {
    var (low, high) = (0, 256)
    while high - low > 1 {
      let middle = (low + high) / 2
      if starts[middle] <= part { low = middle } else { high = middle }
    }
    return UInt8(low)
  }
}
