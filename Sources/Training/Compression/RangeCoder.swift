// A range coder (Martin 1979, "Range encoding: an algorithm for removing redundancy from a digitised message"): a text of
// symbols becomes a number in an interval that each symbol narrows to its share. The interval is 64 bits wide; a share is
// counted in parts of 2^30, so that rounding costs less than 10^-7 bits a symbol.

/// The share of a symbol: `size` parts from `start` on, of 2^30.
package struct SymbolShare: Equatable {
  /// Parts of all symbols together, as a power of two.
  package static let bits = 30

  /// Parts of the symbols before it.
  package let start: UInt32
  /// Its own, at least one.
  package let size: UInt32

  /// A share.
  package init(start: UInt32, size: UInt32) {
    self.start = start
    self.size = size
  }
}

/// Turns shares of symbols into bytes.
package struct RangeEncoder {
  /// What is final but for a carry.
  private var bytes: [UInt8] = []
  private var low: UInt64 = 0
  private var range = UInt64.max

  /// Nothing yet.
  package init() {}

  /// Narrows the interval to a symbol's share.
  package mutating func encode(_ share: SymbolShare) {
    let part = range >> SymbolShare.bits
    add(part * UInt64(share.start))
    range = part * UInt64(share.size)
    while range < rangeFloor {
      bytes.append(UInt8(low >> 56))
      low <<= 8
      range <<= 8
    }
  }

  private mutating func add(_ value: UInt64) {
    let (sum, carries) = low.addingReportingOverflow(value)
    low = sum
    guard carries else { return }
    var place = bytes.count - 1
    while bytes[place] == .max {
      bytes[place] = 0
      place -= 1
    }
    bytes[place] += 1
  }

  /// The bytes, with which zeros that follow give the symbols; to be called once.
  package mutating func finish() -> [UInt8] {
    // The interval is wide enough to have a number of one byte.
    add(rangeFloor - 1)
    bytes.append(UInt8(low >> 56))
    return bytes
  }
}

/// Finds the symbols again.
///
/// Any bytes give symbols; whether they are the right ones is for others to know.
package struct RangeDecoder {
  private let bytes: ArraySlice<UInt8>
  private var next: Int
  /// The number, less the interval's start.
  private var code: UInt64 = 0
  private var range = UInt64.max

  /// Reads what an encoder wrote.
  package init(_ bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    next = bytes.startIndex
    for _ in 0..<8 { read() }
  }

  private mutating func read() {
    code = code << 8 | UInt64(next < bytes.endIndex ? bytes[next] : 0)
    next += 1
  }

  /// The part that the number is in, below 2^30.
  package var part: UInt32 {
    UInt32(min(code / (range >> SymbolShare.bits), 1 << SymbolShare.bits - 1))
  }

  /// Narrows the interval to the share that `part` is in.
  package mutating func decode(_ share: SymbolShare) {
    let part = range >> SymbolShare.bits
    code &-= part * UInt64(share.start)
    range = part * UInt64(share.size)
    while range < rangeFloor {
      read()
      range <<= 8
    }
  }

  /// Bytes that the symbols so far need beyond those that are there; negative where some are left.
  package var missing: Int { next - (bytes.endIndex + 7) }
}

/// Below it the interval is made 256 times as wide.
private let rangeFloor: UInt64 = 1 << 56
