// Files that a model makes smaller: whole again to the byte, as small as `evaluate` says, and never wrong.
import Checkpointing
import Compute
import Foundation
import TestSupport
import Testing
import Training

@Suite("Compression", .serialized)
struct CompressionTests {
  let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  /// A model that a few steps have trained.
  private func checkpoint(
    _ name: String = "run", _ more: [String] = [], changes: [String] = []
  ) throws -> Checkpoint {
    let changes = ["attention.lsh.sight=bucket"] + changes
    let training = try tiny.train(
      name, changes.flatMap { ["--set", $0] } + ["--steps", "10"] + more)
    try #require(training.status == 0, "\(training.output)")
    return try Checkpoint.open(tiny.output(name)) { Issue.record("\($0)") }
  }

  private func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    let path = tiny.folder.path(name)
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    return path
  }

  private func read(_ name: String) throws -> [UInt8] {
    Array(try Data(contentsOf: URL(fileURLWithPath: tiny.folder.path(name))))
  }

  @Test(
    "texts of any length come back, in any number of streams, at other numbers of threads",
    arguments: [[], ["model.precision=bf16", "run.matrix_products=amx"]])
  func roundTrip(changes: [String]) throws {
    let checkpoint = try checkpoint(changes: changes)
    let one = try Compressor(checkpoint, threads: 1)
    let two = try Compressor(checkpoint, threads: 2)
    let text = Array(TinyRun.text(bytes: 1500).utf8)
    for (count, streams) in [
      (0, 16), (1, 16), (2, 1), (89, 3), (90, 3), (91, 3), (92, 3), (181, 16), (700, 1), (700, 3),
      (721, 4), (1441, 256),
    ] {
      // Bytes that the model has never seen are among them.
      var bytes = Array(text.prefix(count))
      if count > 80 { bytes.replaceSubrange(40..<42, with: [0, 255]) }
      let path = try write("text", bytes)
      let outcome = try one.compress(path, to: tiny.folder.path("small"), streams: streams)
      let file = try read("small")
      #expect(outcome.text == count && outcome.compressed == file.count)
      _ = try two.compress(path, to: tiny.folder.path("again"), streams: streams)
      #expect(try read("again") == file, "\(count) bytes in \(streams) streams")
      _ = try two.decompress(tiny.folder.path("small"), to: tiny.folder.path("back"))
      #expect(try read("back") == bytes, "\(count) bytes in \(streams) streams")
    }
  }

  @Test("a file has as many bytes as `evaluate` says, and those of what it was made with")
  func size() throws {
    let checkpoint = try checkpoint()
    let evaluation = try ProgramRun(
      "reformer-train", arguments: ["evaluate", tiny.output("run"), "--json"])
    let start = try #require(evaluation.output.firstIndex(of: "{"), "\(evaluation.output)")
    struct Score: Decodable {
      let bits_per_byte: Double
      let bytes: Int
    }
    let score = try JSONDecoder().decode(
      Score.self, from: Data(evaluation.output[start...].utf8))
    let text = Array(try read("corpus").suffix(score.bytes + 1))
    let path = try write("text", text)
    for streams in [1, 3, 16] {
      let outcome = try Compressor(checkpoint, threads: 2).compress(
        path, to: tiny.folder.path("small"), streams: streams)
      let file = try CompressedFile(read("small"), path: "small")
      // A byte each for where streams begin, and what the end of the coder takes.
      let expected = score.bits_per_byte * Double(score.bytes) / 8
      let begun = Double(file.segments.streams)
      #expect(Double(file.payload.count) >= expected + begun - 0.01)
      #expect(Double(file.payload.count) <= expected + begun + 2)
      #expect(outcome.compressed - file.payload.count == 105)
    }
  }

  @Test("damaged files are refused, their seals mended or not, and nothing is written")
  func damage() throws {
    let checkpoint = try checkpoint()
    let compressor = try Compressor(checkpoint, threads: 1)
    let text = Array(TinyRun.text(bytes: 300).utf8.prefix(300))
    _ = try compressor.compress(write("text", text), to: tiny.folder.path("small"), streams: 2)
    let sound = try read("small")
    let path = tiny.folder.path("damaged")
    let output = tiny.folder.path("output")
    let fuzzing = Fuzzing(inputs: 300)
    var written = 0
    func open(_ bytes: [UInt8], isMended: Bool) throws {
      var bytes = bytes
      if isMended, bytes.count > 8 {
        let content = bytes.dropLast(8)
        bytes = Array(content) + digestBytes(content).prefix(8)
      }
      _ = try write("damaged", bytes)
      defer { try? FileManager.default.removeItem(atPath: output) }
      do {
        _ = try compressor.decompress(path, to: output)
      } catch {
        #expect(!FileManager.default.fileExists(atPath: output))
        throw error
      }
      // Whatever is accepted is the text that was compressed.
      written += 1
      #expect(try Data(contentsOf: URL(fileURLWithPath: output)) == Data(text))
    }
    for isMended in [false, true] {
      #expect(
        try fuzzing.problem(path, samples: [sound]) { try open($0, isMended: isMended) } == nil)
    }
    #expect(written > 0)
    // Every single byte counts.
    for place in sound.indices {
      var bytes = sound
      bytes[place] ^= 1 << UInt8(place % 8)
      let error = #expect(throws: (any Error).self) { try open(bytes, isMended: false) }
      #expect(error.map { runExitCode($0) } == 2)
    }
  }

  private func digestBytes(_ bytes: some Collection<UInt8>) -> [UInt8] {
    let digits = Array(SHA256.digits(of: bytes))
    return stride(from: 0, to: digits.count, by: 2).map {
      UInt8(String(digits[$0...$0 + 1]), radix: 16) ?? 0
    }
  }

  @Test("other parameters, another seed, and models that cannot, are refused in one line")
  func refusals() throws {
    let first = try checkpoint()
    let path = try write("text", Array("a bucket of the stream".utf8))
    let small = tiny.folder.path("small")
    _ = try Compressor(first, threads: 1).compress(path, to: small, streams: 1)
    func message(_ checkpoint: Checkpoint, compresses: Bool = false) throws -> String {
      let error = #expect(throws: UserError.self) {
        let compressor = try Compressor(checkpoint, threads: 1)
        _ =
          compresses
          ? try compressor.compress(path, to: tiny.folder.path("out"), streams: 1)
          : try compressor.decompress(small, to: tiny.folder.path("out"))
      }
      #expect(!FileManager.default.fileExists(atPath: tiny.folder.path("out")))
      return error?.description ?? ""
    }
    let other = try checkpoint("other", ["--set", "run.seed=4"])
    #expect(try message(other).contains("parameters_sha256"))
    let seeds = try Checkpoint.open(tiny.output("run"), overrides: ["run.seed=5"]) { _ in }
    #expect(try message(seeds).contains("another config"))
    let tables = try Checkpoint.open(
      tiny.output("run"), overrides: ["run.matrix_products=openblas"]
    ) { _ in }
    #expect(try message(tables, compresses: true).contains("openblas"))
    let chunks = try Checkpoint.open(
      tiny.output("run"), overrides: ["attention.lsh.sight=chunks"]
    ) { _ in }
    #expect(try message(chunks, compresses: true).contains("strictly causal"))
  }

  @Test("the commands, and their wrong input")
  func commands() throws {
    _ = try checkpoint()
    let text = try write("text", Array(TinyRun.text(bytes: 400).utf8))
    let (small, back) = (tiny.folder.path("small"), tiny.folder.path("back"))
    func run(_ arguments: [String]) throws -> ProgramRun {
      try ProgramRun("reformer-train", arguments: arguments)
    }
    let run1 = try run([
      "compress", text, "--with", tiny.output("run"), "--output", small, "--streams", "2",
    ])
    #expect(run1.status == 0 && run1.output.contains("bits/byte"), "\(run1.output)")
    let run2 = try run(["decompress", small, "--with", tiny.output("run"), "--output", back])
    #expect(run2.status == 0, "\(run2.output)")
    #expect(try read("back") == read("text"))
    for (arguments, message) in [
      (
        ["decompress", text, "--with", tiny.output("run"), "--output", back],
        "no file that compress"
      ),
      (
        ["compress", tiny.folder.path("no"), "--with", tiny.output("run"), "--output", back], "no:"
      ),
      (
        ["compress", text, "--with", tiny.output("run"), "--output", back, "--streams", "0"],
        "--streams 0"
      ),
      (
        ["compress", text, "--with", tiny.folder.path("x"), "--output", back], "no such checkpoint"
      ),
      (
        ["compress", text, "--with", tiny.output("run"), "--output", "/nowhere/x"],
        "cannot be created"
      ),
    ] {
      let run = try run(arguments)
      #expect(run.status == 2 && run.output.contains(message), "\(run.output)")
      #expect(run.output.split(separator: "\n").count == 1)
    }
    #expect(try read("back") == read("text"))
  }
}
