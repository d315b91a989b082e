import Compute
import Testing
import Training

@Suite("Beam search")
struct BeamSearchTests {
  private static let offset = 2

  /// A made-up model: logits of the next token after the bytes so far, of an end, "a" and "b".
  private func logits(_ text: String) -> (end: Float, a: Float, b: Float) {
    switch text {
    // "a" is likelier at first, but what goes on after it is not likely.
    case "": (-9, 1, 0.5)
    case "a": (0, 0, 0)
    case "b": (-9, -9, 3)
    case "bb": (5, -9, -9)
    default: (0, 0.5, 0)
    }
  }

  private func find(_ search: TargetSearch, limit: Int = 6) -> String {
    var beam = BeamSearch(search, limit: limit)
    var open = [""]
    while !open.isEmpty {
      let buffers = open.map { text in
        let buffer = Buffer<Float>(258)
        buffer.view.fill(-30)
        let (end, a, b) = logits(text)
        buffer.view[1] = end
        buffer.view[Self.offset + 97] = a
        buffer.view[Self.offset + 98] = b
        // The end of a line is no byte of one, however likely.
        buffer.view[Self.offset + 10] = 8
        return buffer
      }
      let parents = withExtendedLifetime(buffers) {
        beam.step(buffers.map(\.view), offset: Self.offset)
      }
      open = zip(parents, beam.lastBytes).map {
        open[$0] + String(UnicodeScalar($1))
      }
    }
    return String(decoding: beam.target, as: UTF8.self)
  }

  @Test("alone the likeliest byte is taken, side by side the likeliest target is found")
  func widths() {
    var search = TargetSearch()
    #expect(find(search) == "a")
    search.beam = 2
    #expect(find(search) == "bb")
  }

  @Test("a penalty prefers longer targets, and none goes over the limit")
  func lengths() {
    var search = TargetSearch()
    search.beam = 4
    search.lengthPenalty = 0
    let plain = find(search)
    search.lengthPenalty = 3
    #expect(find(search).utf8.count >= plain.utf8.count)
    for limit in 2...4 { #expect(find(search, limit: limit).utf8.count < limit) }
  }
}
