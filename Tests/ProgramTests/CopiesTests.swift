// Strict sight is of use where nothing but LSH can see: text that repeats itself farther back than local layers look.
import Foundation
import TestSupport
import Testing

@Suite("Copies beyond the local window")
struct CopiesTests {
  /// Sixteen letters, each that of 16 places before with probability 0.95 and else any: a predictor that knows the rule
  /// needs 0.85 bits per byte in windows of 120.
  private static func text(bytes: Int) -> String {
    var state: UInt64 = 5
    func draw(_ count: UInt64) -> UInt8 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8((state >> 33) % count)
    }
    var letters = (0..<16).map { _ in draw(16) }
    while letters.count < bytes {
      let next = draw(100) < 95 ? letters[letters.count - 16] : draw(16)
      letters.append(next)
    }
    return String(decoding: letters.map { $0 + 97 }, as: UTF8.self)
  }

  private static let config = """
    [run]
    name = "copies"
    steps = 600
    global_batch = 16
    threads = 1
    evaluate_every = 0
    [data]
    corpus = "copies"
    length = 120
    block = 120
    [model]
    width = 64
    layers = ["local", "lsh"]
    heads = 2
    head_width = 32
    feed_forward_width = 64
    axial_shape = [8, 15]
    axial_widths = [16, 48]
    [attention.local]
    chunk = 4
    [attention.lsh]
    chunk = 16
    hashes = 4
    buckets = 8
    [optimizer]
    learning_rate = 0.006
    schedule = "cosine"
    final_rate = 0.1
    warmup_steps = 50
    """

  private func bitsPerByte(_ run: String, _ more: [String] = []) throws -> Double {
    let run = try ProgramRun(
      "reformer-train", arguments: ["evaluate", run, "--json"] + more)
    return try #require(
      run.output.firstMatch(of: /"bits_per_byte" : ([0-9.]+)/).flatMap { Double($0.1) },
      "\(run.output)")
  }

  @Test(
    "both sights find them, strict sight within 0.02 bits of the paper's, and without LSH nothing does"
  )
  func copies() throws {
    let folder = try TemporaryFolder()
    let corpus = try folder.write("copies", text: Self.text(bytes: 1 << 17))
    let config = try folder.write("copies.toml", text: Self.config)
    let bits = try ["bucket", "chunks"].map { sight in
      let output = folder.path(sight)
      let run = try ProgramRun(
        "reformer-train",
        arguments: [
          "train", "--config", config, "--output", output, "--quiet",
          "--set", "data.corpus=\(corpus)", "--set", "attention.lsh.sight=\(sight)",
        ])
      try #require(run.status == 0, "\(run.output)")
      #expect(try bitsPerByte(output, ["--without", "lsh"]) > 4)
      return try bitsPerByte(output)
    }
    #expect(bits[1] < 1.1, "\(bits)")
    #expect(bits[0] <= bits[1] + 0.02, "\(bits)")
  }
}
