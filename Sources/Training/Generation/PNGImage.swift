// Images as files that every browser shows (Portable Network Graphics, ISO/IEC 15948): numbers of eight bits, not compressed, in
// the blocks that the format's deflate (RFC 1951) has for that.

/// Rows of pixels.
package struct PNGImage {
  /// Numbers of rows and columns.
  let rows, columns: Int
  /// 1 for gray, 3 for red, green and blue.
  let channels: Int
  /// `[rows, columns, channels]`.
  package private(set) var pixels: [UInt8]

  /// All pixels gray.
  package init(rows: Int, columns: Int, channels: Int, gray: UInt8) {
    precondition(
      rows > 0 && columns > 0 && [1, 3].contains(channels), "\(rows) x \(columns) x \(channels)")
    (self.rows, self.columns, self.channels) = (rows, columns, channels)
    pixels = [UInt8](repeating: gray, count: rows * columns * channels)
  }

  /// Puts rows of `width` pixels with their upper left one at a place.
  mutating func put(_ part: some Collection<UInt8>, width: Int, row: Int, column: Int) {
    let line = width * channels
    for (index, value) in part.enumerated() {
      let (down, right) = index.quotientAndRemainder(dividingBy: line)
      pixels[((row + down) * columns + column) * channels + right] = value
    }
  }

  /// The file.
  package var bytes: [UInt8] {
    var data: [UInt8] = []
    let line = columns * channels
    for row in 0..<rows {
      data.append(0)  // the row is not filtered
      data += pixels[row * line..<(row + 1) * line]
    }
    // Eight bits, gray or colours, and the only methods that there are.
    let head = Self.big(columns) + Self.big(rows) + [8, channels == 1 ? 0 : 2, 0, 0, 0]
    return [0x89] + Array("PNG\r\n".utf8) + [0x1A, 0x0A] + Self.chunk("IHDR", head)
      + Self.chunk("IDAT", Self.stored(data)) + Self.chunk("IEND", [])
  }

  private static func big(_ number: Int) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) }
  }

  private static func chunk(_ name: String, _ data: [UInt8]) -> [UInt8] {
    let named = Array(name.utf8) + data
    return big(data.count) + named + big(Int(checksum(named)))
  }

  /// CRC-32.
  private static func checksum(_ bytes: [UInt8]) -> UInt32 {
    let table = (0..<256).map { byte in
      (0..<8).reduce(UInt32(byte)) { rest, _ in rest >> 1 ^ (rest & 1 == 1 ? 0xEDB8_8320 : 0) }
    }
    return ~bytes.reduce(~0) { $0 >> 8 ^ table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] }
  }

  /// A zlib stream (RFC 1950) of blocks that are not compressed.
  private static func stored(_ data: [UInt8]) -> [UInt8] {
    var result: [UInt8] = [0x78, 0x01]
    let most = 65_535
    for start in stride(from: 0, to: data.count, by: most) {
      let block = data[start..<min(start + most, data.count)]
      let count = [UInt8(truncatingIfNeeded: block.count), UInt8(block.count >> 8)]
      result += [block.endIndex == data.count ? 1 : 0] + count + count.map(~) + block
    }
    // Adler-32.
    var (low, high) = (1, 0)
    for byte in data {
      low = (low + Int(byte)) % 65_521
      high = (high + low) % 65_521
    }
    return result + big(high << 16 | low)
  }
}
