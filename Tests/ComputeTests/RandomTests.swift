import Compute
import TestSupport
import Testing

@Suite("Addressed random numbers")
struct RandomTests {
  private func words(_ stream: CounterRandom) -> [UInt32] { (0..<8).map { stream.bits($0) } }

  @Test("every part of the address gives another stream, and no two parts stand for each other")
  func addresses() {
    var seen: [[UInt32]: String] = [:]
    var count = 0
    for value in [0, 1, 2, 3, 1 << 32] as [UInt64] {
      for purpose in [RandomPurpose.initialisation, .hashRotation, .attentionDropout, .sampling] {
        for part in ["seed", "step", "sample", "layer", "head"] {
          if value == 0 && part != "seed" { continue }
          let address = RandomAddress(
            seed: part == "seed" ? value : 0, step: part == "step" ? value : 0,
            sample: part == "sample" ? value : 0)
          let stream = address.stream(
            purpose, layer: part == "layer" ? Int(value) : 0, head: part == "head" ? Int(value) : 0)
          let place = "\(purpose) \(part) \(value)"
          let other = seen.updateValue(place, forKey: words(stream))
          #expect(other == nil, "\(place) is \(other ?? "")")
          count += 1
        }
      }
    }
    #expect(seen.count == count && count == 4 * (5 * 4 + 1))
  }

  // Saved runs go on with the numbers they began with: these must never change.
  @Test("the numbers at an address are for ever")
  func pinned() {
    let stream = RandomAddress(seed: 1, step: 2, sample: 3)
      .stream(.hashRotation, layer: 4, head: 5)
    let expected: [UInt32] = [
      2_105_743_906, 3_759_208_771, 4_140_393_583, 1_669_619_898, 3_192_952_193, 3_349_230_206,
      1_332_978_827, 3_909_404_651,
    ]
    #expect(words(stream) == expected)
    #expect(RandomPurpose.allRawValues == Array(1...12))
  }

  @Test("numbers can be had one by one, in pieces or all at once")
  func pieces() {
    let stream = RandomAddress(seed: 9, step: 0, sample: 0).stream(.hiddenDropout)
    let whole = Buffer<Float>(101)
    stream.normal(into: whole.view)
    let part = Buffer<Float>(23)
    for first in [0, 1, 6, 78] {
      stream.normal(into: part.view, first: first)
      #expect(part.view.array.bitPatterns == whole.view[first..<first + 23].array.bitPatterns)
    }
  }

  @Test(
    "dropout drops by the number of the element and scales what it keeps", arguments: [0.1, 0.5])
  func dropout(rate: Double) {
    let stream = RandomAddress(seed: 2, step: 7, sample: 1).stream(.hiddenDropout)
    let count = 10_000
    let first = 1234
    let values = Buffer<Float>(count)
    values.view.fill(1)
    stream.dropout(values.view, rate: rate, first: first)
    let expected = (0..<count).map {
      Double(stream.bits(first + $0)) < rate * 0x1p32 ? 0 : Float(1 / (1 - rate))
    }
    #expect(values.view.array == expected)
    // Five standard deviations of a binomial count.
    let dropped = values.view.array.count { $0 == 0 }
    let deviation = (Double(count) * rate * (1 - rate)).squareRoot()
    #expect(abs(Double(dropped) - Double(count) * rate) <= 5 * deviation)

    let pieces = Buffer<Float>(count)
    pieces.view.fill(1)
    for range in Tiling.ranges(count, by: 777) {
      stream.dropout(pieces.view[range], rate: rate, first: first + range.lowerBound)
    }
    #expect(pieces.view.array == expected)
  }
}

extension RandomPurpose {
  /// The raw values there are.
  fileprivate static var allRawValues: [UInt64] {
    (0...100).filter { RandomPurpose(rawValue: $0) != nil }
  }
}
