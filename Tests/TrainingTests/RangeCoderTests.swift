// The coder by itself: what goes in comes out, at the size that theory has.
import Compute
import Foundation
import TestSupport
import Testing
import Training

@Suite("Range coder")
struct RangeCoderTests {
  private static let all: UInt32 = 1 << SymbolShare.bits

  /// Shares of random sizes, extremes among them.
  private func shares(_ count: Int, seed: UInt64) -> [SymbolShare] {
    let numbers = madeUpNormals(2 * count, seed: seed, scale: 1).map { Double($0) }
    return (0..<count).map { index in
      let (a, b) = (abs(numbers[2 * index]), abs(numbers[2 * index + 1]))
      switch index % 7 {
      case 0: return SymbolShare(start: 0, size: 1)
      case 1: return SymbolShare(start: Self.all - 1, size: 1)
      case 2: return SymbolShare(start: 1, size: Self.all - 1)
      case 3: return SymbolShare(start: 0, size: Self.all)
      default:
        let start = UInt32(min(a / 4, 0.99) * Double(Self.all))
        return SymbolShare(
          start: start, size: max(1, UInt32(min(b / 4, 1) * Double(Self.all - start))))
      }
    }
  }

  @Test("symbols come back, in as many bytes as their shares are worth", arguments: 0..<40)
  func roundTrip(seed: Int) {
    let shares = shares(seed * 50, seed: UInt64(seed + 1))
    var encoder = RangeEncoder()
    for share in shares { encoder.encode(share) }
    let bytes = encoder.finish()
    let bits = shares.reduce(0) { $0 + Double(SymbolShare.bits) - log2(Double($1.size)) }
    // A byte for the end, part of which is needed anyway; parts of an interval of 2^56 at least are rounded down.
    #expect(Double(bytes.count) >= bits / 8 - 1e-6)
    #expect(Double(bytes.count) <= bits / 8 + 2 + 1e-7 * Double(shares.count))
    // What stands before and behind is nobody's business.
    let slice = ([9, 9, 9] + bytes + [7, 7])[3..<3 + bytes.count]
    var decoder = RangeDecoder(slice)
    for (index, share) in shares.enumerated() {
      let part = decoder.part
      #expect(part >= share.start && part - share.start < share.size, "symbol \(index)")
      decoder.decode(share)
    }
    #expect(decoder.missing == 0)
  }

  @Test("a carry runs through bytes that are full")
  func carry() {
    // The interval's start creeps up to 2^64 without reaching it, until the last symbol takes it beyond.
    let top = SymbolShare(start: Self.all - 1, size: 1)
    for count in 1...20 {
      for last in [SymbolShare(start: 0, size: 1), top, SymbolShare(start: 1 << 29, size: 1 << 29)]
      {
        let shares = [SymbolShare](repeating: top, count: count) + [last]
        var encoder = RangeEncoder()
        for share in shares { encoder.encode(share) }
        var decoder = RangeDecoder(encoder.finish()[...])
        for share in shares {
          #expect(decoder.part >= share.start && decoder.part - share.start < share.size)
          decoder.decode(share)
        }
        #expect(decoder.missing == 0)
      }
    }
  }

  @Test("any bytes decode to something, however many symbols are asked for")
  func nonsense() {
    for length in 0..<40 {
      let bytes = madeUpTokens(length, vocabulary: 256, seed: UInt64(length + 1)).map {
        UInt8($0)
      }
      var decoder = RangeDecoder(bytes[...])
      for share in shares(500, seed: 3) {
        #expect(decoder.part < Self.all)
        decoder.decode(share)
      }
    }
  }

  @Test("shares of bytes: close to the softmax, never empty, all parts given out")
  func byteShares() {
    let logits = Buffer<Float>(256)
    logits.view.copy(from: madeUpNormals(256, seed: 5, scale: 6))
    let shares = ByteShares(logits.view)
    let weights = logits.view.array.map { exp(Double($0)) }
    let sum = weights.reduce(0, +)
    var end: UInt32 = 0
    for byte in 0..<256 {
      let share = shares[UInt8(byte)]
      #expect(share.start == end && share.size > 0)
      end += share.size
      // Rounded down to a part, one added, of a whole that is 256 parts smaller; the rest to the likeliest.
      #expect(
        abs(Double(share.size) / Double(Self.all) - weights[byte] / sum) <= 600 / Double(Self.all))
      for part in [share.start, share.start + share.size / 2, share.start + share.size - 1] {
        #expect(shares.byte(at: part) == UInt8(byte))
      }
    }
    #expect(end == Self.all)
  }

  @Test("logits at the edges of numbers still give shares")
  func edges() {
    for values in [
      [Float.infinity], [.nan], [-.infinity], [3e38, -3e38], [1e30, 1e30], [0],
    ] as [[Float]] {
      let logits = Buffer<Float>(256)
      for index in 0..<256 { logits.view[index] = values[index % values.count] }
      let shares = ByteShares(logits.view)
      let sizes = (0..<256).map { shares[UInt8($0)].size }
      #expect(sizes.allSatisfy { $0 > 0 } && sizes.reduce(0, +) == Self.all, "\(values)")
    }
  }
}
