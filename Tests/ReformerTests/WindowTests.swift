import Attention
import Reformer
import Testing

@Suite("Windows")
struct WindowTests {
  @Test("targets are the inputs one byte later, as token ids", arguments: [0, 2])
  func tokens(byteOffset: Int) throws {
    let bytes: [UInt8] = [0, 255, 128, 1]
    let window = Window(bytes: bytes, byteOffset: byteOffset)
    #expect(window.length == 3 && window.scoredCount == 3)
    let twin = Window(
      inputs: bytes.dropLast().map { Int32($0) + Int32(byteOffset) },
      targets: bytes.dropFirst().map { Int32($0) + Int32(byteOffset) })
    let probe = try ModelProbe(smallConfig([.local], vocabulary: 300))
    let losses = try [window, twin].map {
      try probe.model.loss(parameters: probe.parameters.view, window: $0, address: probe.address)
    }
    #expect(losses[0] == losses[1])
  }

  @Test("bytes that are context only are not scored")
  func context() throws {
    let probe = try ModelProbe(smallConfig([.local], vocabulary: 256))
    let bytes: [UInt8] = [7, 3, 200, 41, 5]
    func loss(_ window: Window) throws -> Double {
      try probe.model.loss(
        parameters: probe.parameters.view, window: window, address: probe.address)
    }
    let whole = try loss(Window(bytes: bytes, byteOffset: 0))
    let late = Window(bytes: bytes, byteOffset: 0) { $0 > 3 }
    #expect(late.scoredCount == 1)
    let early = Window(inputs: bytes.dropLast().map(Int32.init), targets: [3, 200, 41, -1])
    #expect(abs(try loss(late) + loss(early) - whole) <= 1e-12)
  }

  @Test("a window the model cannot read is refused in one line, not read past its tables")
  func refused() throws {
    let probe = try ModelProbe(smallConfig([.local]))
    let good = [Int32](repeating: 1, count: 5)
    let cases: [(Window, String)] = [
      (
        Window(inputs: [1, 2, 23], targets: [1, 2, 3]),
        "window: token 23 at 2; the vocabulary has 23"
      ),
      (
        Window(inputs: [1, -1, 2], targets: [1, 2, 3]),
        "window: token -1 at 1; the vocabulary has 23"
      ),
      (
        Window(inputs: [1, 2, 3], targets: [1, 40, 3]),
        "window: token 40 at 1; the vocabulary has 23"
      ),
      (
        Window(inputs: [Int32](repeating: 1, count: 41), targets: [Int32](repeating: 1, count: 41)),
        "window: 41 positions; this model takes 1 to 40"
      ),
    ]
    for (window, message) in cases {
      let error = #expect(throws: ReformerError.self) {
        _ = try probe.model.loss(
          parameters: probe.parameters.view, window: window, address: probe.address)
      }
      #expect(error.map(String.init(describing:)) == message)
    }
    _ = try probe.model.loss(
      parameters: probe.parameters.view, window: Window(inputs: good, targets: good),
      address: probe.address)
  }

  @Test("sizes that no model can have are refused in one line where the model is made")
  func sizes() throws {
    func refusal(_ change: (inout ReformerConfig) -> Void) -> String {
      var config = smallConfig([.local, .lsh])
      change(&config)
      let error = #expect(throws: ReformerError.self) { try config.check() }
      return error.map(String.init(describing:)) ?? ""
    }
    #expect(refusal { $0.axialShape = [5, 7] }.contains("axes [5, 7]; legal: sizes whose product"))
    #expect(refusal { $0.axialWidths = [5, 8] }.contains("add up to 12"))
    #expect(refusal { $0.width = -8 }.hasPrefix("model: width -8; legal: 1 to"))
    #expect(refusal { $0.heads = 1 << 40 }.contains("heads"))
    #expect(refusal { $0.headsPerGroup = 0 }.contains("a divisor of 2"))
    #expect(refusal { $0.layers = [] }.contains("at least one"))
    #expect(refusal { $0.dropout = .nan }.contains("dropout"))
    #expect(refusal { $0.residualFractionBits = 31 }.contains("1 to 30"))
    #expect(refusal { $0.byteOffset = 23 }.contains("0 to 22"))
    let local = LocalAttention(chunk: 0, chunksBefore: 1)
    #expect(refusal { $0.layers[1] = local }.hasPrefix("model: layer 1: chunk 0"))
    let lsh = LSHAttention(chunk: 4, chunksBefore: 1, hashes: 0, buckets: [4])
    #expect(refusal { $0.layers[0] = lsh }.contains("0 hash rounds"))
    let blind = LSHAttention(chunk: 4, chunksBefore: 0, hashes: 1, buckets: [4], sight: .bucket)
    #expect(refusal { $0.layers[0] = blind }.contains("chunks before 0 with sight bucket"))
    let paper = LSHAttention(chunk: 4, chunksBefore: 1, hashes: 1, buckets: [4], window: 3)
    #expect(refusal { $0.layers[0] = paper }.contains("window 3"))
    let odd = LSHAttention(chunk: 4, chunksBefore: 1, hashes: 1, buckets: [3])
    #expect(refusal { $0.layers[0] = odd }.contains("even factors"))
    try smallConfig([.local, .lsh, .full]).check()
  }
}
