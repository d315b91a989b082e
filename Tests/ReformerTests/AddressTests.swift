import Attention
import Compute
import Reformer
import TestSupport
import Testing

// That a pass replays itself does not show that it draws the numbers it should.
@Suite("Addresses of the model's random numbers")
struct AddressTests {
  @Test(
    "streams start as token plus axial position, dropped by place in the window",
    arguments: [0, 0.25],
    [([15, 20], [5, 7]), ([2, 10, 15], [3, 4, 5])] as [([Int], [Int])])
  func embedding(rate: Double, axes: (shape: [Int], widths: [Int])) throws {
    let (length, width, bits) = (290, 12, 18)
    let probe = try ModelProbe(
      smallConfig(
        [.local], length: 300, axialShape: axes.shape, axialWidths: axes.widths, dropout: rate,
        residualFractionBits: bits), length: length)
    let tables = axes.shape.indices.map {
      probe.values("reformer.embeddings.position_embeddings.weights.\($0)").array
    }
    let words = probe.values("reformer.embeddings.word_embeddings.weight").array
    func keep(_ purpose: RandomPurpose, _ place: Int) -> Float {
      let isDropped = Double(probe.address.stream(purpose).bits(place)) < rate * 0x1p32
      return isDropped ? 0 : Float(1 / (1 - rate))
    }
    var expected: [Float] = []
    for position in 0..<length {
      var (rest, positions) = (position, [[Float]]())
      for axis in axes.shape.indices.reversed() {
        let row = rest % axes.shape[axis]
        rest /= axes.shape[axis]
        positions.append(
          Array(tables[axis][row * axes.widths[axis]..<(row + 1) * axes.widths[axis]]))
      }
      for (column, value) in positions.reversed().joined().enumerated() {
        let word = words[Int(probe.inputs[position]) * width + column]
        let place = position * width + column
        expected.append(
          word * keep(.embeddingDropout, place) + value * keep(.positionDropout, place))
      }
    }
    let streams = probe.embeddedStreams()
    #expect(streams.first == streams.second)
    let step = Float(sign: .plus, exponent: -bits, significand: 1)
    let seen = streams.first.prefix(expected.count).map { Float($0) * step }
    // Half a step, and the last bit of a number below 4.
    #expect(largestDifference(seen, expected) <= Double(step) / 2 + 0x1p-22)
  }

  @Test(
    "each layer and head has rotations of its own, however heads are grouped", arguments: [1, 2, 4])
  func rotations(headsPerGroup: Int) throws {
    let config = smallConfig([.lsh, .local, .lsh], heads: 4, headsPerGroup: headsPerGroup)
    let probe = try ModelProbe(config)
    let drawn = try probe.loss()
    let buffer = Buffer<Float>(rotationCount(config) / config.heads)
    for layer in [0, 2] {
      probe.rotations[layer] = (0..<config.heads).flatMap { head in
        probe.address.stream(.hashRotation, layer: layer, head: head).normal(into: buffer.view)
        return buffer.view.array
      }
    }
    #expect(try probe.loss() == drawn)
    // Swapped, they hash otherwise.
    probe.rotations = [0: probe.rotations[2] ?? [], 2: probe.rotations[0] ?? []]
    #expect(try probe.loss() != drawn)
  }

  // Where only one half of a block writes, what it reads never changes: twin layers write the same
  // twice unless their draws differ. Twins that write half then are one layer that writes whole.
  @Test("no two layers drop alike", arguments: ["attention.output", "feed_forward.output"])
  func layers(writer: String) throws {
    func probe(_ layers: Int) throws -> ModelProbe {
      try ModelProbe(
        smallConfig(
          [AttentionKind](repeating: .full, count: layers), dropout: 0.4, attentionDropout: 0.4))
    }
    let (one, two) = (try probe(1), try probe(2))
    for slot in one.model.layout.slots {
      let values = one.values(slot.name)
      if slot.name.contains("output.dense") && !slot.name.contains(writer) { values.fill(0) }
      let half = Buffer<Float>(slot.count)
      half.view.copy(from: values)
      if slot.name.contains(writer) { Kernels.scale(half.view, by: 0.5) }
      two.values(slot.name).copy(from: half.view)
      two.values(slot.name.replacing("layers.0.", with: "layers.1.")).copy(from: half.view)
    }
    // Rounded to 2^-18 twice instead of once, the loss moves by some 1e-5; by other draws, by more.
    #expect(abs(try two.loss() - one.loss()) / 40 <= 2e-5)
    #expect(abs(try two.step() - one.step()) > 2e-4)
  }
}
