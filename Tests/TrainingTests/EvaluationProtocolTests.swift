// Both protocols of evaluation against a computation that predicts one byte at a time, and what scores say beside
// bits per byte.
import Communication
import Compute
import Corpus
import Foundation
import Reformer
import TestSupport
import Testing
import Training

@Suite("Protocols of evaluation")
struct EvaluationProtocolTests {
  let tiny: TinyRun
  let config: RunConfig
  let model: ReformerModel
  let parameters: Buffer<Float>

  init() throws {
    tiny = try TinyRun()
    // Without hashing, a prediction depends on the bytes before it alone, so that it can be made from just these.
    config = try RunConfig.load(
      file: tiny.config, overrides: [#"model.layers=["local","full"]"#])
    model = try ReformerModel(config: config.reformer, engine: Engine(threads: 1))
    parameters = Buffer<Float>(model.layout.parameterBufferCount)
    model.layout.initialise(parameters.view, seed: 5)
    // Far from the first values, whose predictions are all alike.
    for (index, slot) in model.layout.slots.enumerated() {
      let noise = madeUpNormals(slot.count, seed: UInt64(index), scale: 0.1)
      for (place, number) in zip(slot.range, noise) { parameters.view[place] += number }
    }
  }

  /// Bits that the model needs for `byte` after `seen`.
  private func bits(of byte: UInt8, after seen: ArraySlice<UInt8>) throws -> Double {
    let logits = Buffer<Float>(seen.count * 256)
    _ = try model.loss(
      parameters: parameters.view, window: Window(bytes: seen + [byte], byteOffset: 0),
      address: RandomAddress(seed: 0, step: 0, sample: 0),
      logits: Matrix(logits.view, rows: seen.count, columns: 256))
    let last = logits.view.array.suffix(256).map(Double.init)
    let largest = last.max() ?? 0
    let sum = last.reduce(0) { $0 + exp($1 - largest) }
    return (largest + log(sum) - last[Int(byte)]) / log(2)
  }

  @Test(
    "blocks and sliding windows are what their definitions say, byte by byte, and so is each position",
    arguments: [(64, 64), (90, 90), (64, 24), (50, 1)])
  func definition(context: Int, stride: Int) throws {
    let file = [UInt8](try Data(contentsOf: URL(fileURLWithPath: tiny.folder.path("corpus"))))
    // 90, 5 and 5 per cent; 200 bytes of the test split are no whole number of windows.
    let split = file[(file.count * 95 / 100)...].prefix(201)
    var all: [Double] = []
    var bySight: [Int: [Double]] = [:]
    for index in 1..<split.count {
      // The window that scores the byte begins at a multiple of the stride, less what it carries over.
      let begin = (index - 1) / stride * stride
      let first = max(0, begin - (context - stride))
      let seen = split.dropFirst(first).prefix(index - first)
      let bits = try bits(of: split[split.startIndex + index], after: seen)
      all.append(bits)
      bySight[Int(log2(Double(seen.count))), default: []].append(bits)
    }
    let mean = { (bits: [Double]) in bits.reduce(0, +) / Double(bits.count) }
    let corpus = try ByteCorpus(path: tiny.folder.path("corpus"))
    let score = try #require(
      try Evaluator(
        config: config, model: model, corpora: [MixPart(name: "c", weight: 1, corpus: corpus)],
        communicator: SoloCommunicator()
      ).run(
        parameters: parameters.view, split: .test, context: context, stride: stride, limit: 200))
    #expect(score.bytes == 200)
    #expect(abs(score.bitsPerByte - mean(all)) < 1e-6)
    // All of it is ASCII.
    #expect(score.characters == 200)
    #expect(score.bitsPerCharacter == score.bitsPerByte)
    #expect(score.positions.map { Int(log2(Double($0.seenFrom))) } == bySight.keys.sorted())
    for part in score.positions {
      let bits = try #require(bySight[Int(log2(Double(part.seenFrom)))])
      #expect(part.bytes == bits.count)
      #expect(abs(part.bitsPerByte - mean(bits)) < 1e-6)
      #expect(part.seenTo == min(2 * part.seenFrom - 1, context))
    }
  }

  @Test(
    "characters are counted where each begins, in any cut of the text; what is no UTF-8 has none")
  func characters() throws {
    let text = Array("aé漢😀z, ñ€𐍈!".utf8)
    let count = "aé漢😀z, ñ€𐍈!".unicodeScalars.count
    #expect(utf8Characters(text[...]) == count)
    for cut in 0...text.count {
      let parts = [text[..<cut], text[cut...]].map(utf8Characters)
      #expect(parts.allSatisfy { $0 != nil }, "cut at \(cut)")
      #expect(parts.reduce(0) { $0 + ($1 ?? 0) } == count, "cut at \(cut)")
    }
    let wrong: [[UInt8]] = [
      [65, 0xFF, 66], [65, 0xC3, 65, 66, 67, 68], [65, 0x80, 65], [0x80, 0x80, 0x80, 0x80, 65],
      [65, 0xC0, 0xAF, 65], [65, 0xED, 0xA0, 0x80, 65], [65, 0xF8, 0x88, 0x80, 0x80, 0x80],
    ]
    for bytes in wrong { #expect(utf8Characters(bytes[...]) == nil, "\(bytes)") }
  }
}
