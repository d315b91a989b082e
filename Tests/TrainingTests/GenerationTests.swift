// Text that goes on byte by byte, and how its bytes are chosen.
import Compute
import Foundation
import Reformer
import TestSupport
import Testing
import Training

@Suite("Generation")
struct GenerationTests {
  let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private func config(_ sight: String) throws -> RunConfig {
    try RunConfig.load(
      file: tiny.config,
      overrides: ["attention.lsh.sight=\(sight)", "model.vocabulary=260", "model.byte_offset=3"])
  }

  private func parameters(_ config: RunConfig) -> Buffer<Float> {
    let layout = config.reformer.parameterLayout
    let parameters = Buffer<Float>(layout.parameterBufferCount)
    layout.initialise(parameters.view, seed: 5)
    // First logits are near 0, and so near each other.
    Kernels.scale(parameters.view[layout["lm_head.decoder.weight"].range], by: 30)
    return parameters
  }

  /// The likeliest byte after each of `count` texts that begin with `prompt`, each computed as a whole: the rule of
  /// `generate --help`, spelt out.
  private func recomputed(_ prompt: [UInt8], count: Int, _ config: RunConfig) throws -> [UInt8] {
    let parameters = parameters(config)
    let model = try ReformerModel(config: config.reformer, engine: Engine(threads: 1))
    let classes = config.reformer.vocabulary
    var seen = Array(prompt.suffix(90))
    var bytes: [UInt8] = []
    for _ in 0..<count {
      if seen.count > 90 { seen = Array(seen.suffix(45)) }
      let buffer = Buffer<Float>(seen.count * classes)
      let logits = Matrix(buffer.view, rows: seen.count, columns: classes)
      _ = try model.loss(
        parameters: parameters.view,
        window: Window(
          inputs: seen.map { Int32($0) + 3 }, targets: [Int32](repeating: -1, count: seen.count)),
        address: RandomAddress(seed: UInt64(config.run.seed), step: UInt64.max, sample: 0),
        logits: logits)
      let last = Array(logits.row(seen.count - 1).array[3..<259])
      let byte = UInt8(last.firstIndex(of: last.max() ?? 0) ?? 0)
      bytes.append(byte)
      seen.append(byte)
    }
    return bytes
  }

  @Test(
    "greedy, the bytes are those of computing everything for each, past the context's end too",
    arguments: ["bucket", "chunks"], [1, 23, 61, 89, 90, 400])
  func greedy(sight: String, promptLength: Int) throws {
    let config = try config(sight)
    let prompt = Array(TinyRun.text(bytes: promptLength).utf8.prefix(promptLength))
    let parameters = parameters(config)
    let generator = try Generator(
      config: config, parameters: parameters.view, engine: Engine(threads: 2))
    #expect(generator.isIncremental == (sight == "bucket"))
    var choice = ByteChoice()
    choice.temperature = 0
    var logits = try generator.begin(prompt)
    var bytes: [UInt8] = []
    for number in 0..<120 {
      bytes.append(choice.byte(logits, number: number))
      logits = try generator.add(bytes[number])
    }
    #expect(bytes == (try recomputed(prompt, count: 120, config)))
    // A model that says the same whatever it reads would pass as well.
    #expect(Set(bytes).count > 1)
  }

  @Test("bytes come as often as their share, of those that may come")
  func shares() {
    let logits = Buffer<Float>(256)
    logits.view.fill(-40)
    // Shares 0.5, 0.25, 0.15, 0.1.
    for (byte, share) in [(7, 0.5), (200, 0.25), (3, 0.15), (90, 0.1)] {
      logits.view[byte] = Float(log(share)) + 3
    }
    func counts(_ change: (inout ByteChoice) -> Void) -> [UInt8: Int] {
      var choice = ByteChoice()
      change(&choice)
      return (0..<20_000).reduce(into: [:]) {
        $0[choice.byte(logits.view, number: $1), default: 0] += 1
      }
    }
    func expect(_ counts: [UInt8: Int], _ shares: [UInt8: Double]) {
      #expect(Set(counts.keys) == Set(shares.keys))
      for (byte, share) in shares {
        // Five deviations of a count of 20,000 draws.
        let deviation = (20_000 * share * (1 - share)).squareRoot()
        #expect(abs(Double(counts[byte] ?? 0) - 20_000 * share) <= 5 * deviation, "byte \(byte)")
      }
    }
    expect(counts { _ in }, [7: 0.5, 200: 0.25, 3: 0.15, 90: 0.1])
    expect(counts { $0.seed = 2 }, [7: 0.5, 200: 0.25, 3: 0.15, 90: 0.1])
    expect(counts { $0.topK = 2 }, [7: 2 / 3.0, 200: 1 / 3.0])
    // 0.75 is reached with two, 0.76 needs a third.
    expect(counts { $0.topP = 0.74 }, [7: 2 / 3.0, 200: 1 / 3.0])
    expect(counts { $0.topP = 0.76 }, [7: 5 / 9.0, 200: 2.5 / 9, 3: 1.5 / 9])
    expect(counts { $0.topP = 1e-9 }, [7: 1])
    expect(counts { ($0.topK, $0.topP) = (3, 0.6) }, [7: 2 / 3.0, 200: 1 / 3.0])
    // Squared shares, in all 0.345.
    expect(
      counts { $0.temperature = 0.5 },
      [7: 0.25 / 0.345, 200: 0.0625 / 0.345, 3: 0.0225 / 0.345, 90: 0.01 / 0.345])
    expect(counts { $0.temperature = 0 }, [7: 1])
  }

  @Test("numbers that are not legal")
  func illegal() {
    for (change, name) in [
      ({ $0.temperature = -1 }, "--temperature"), ({ $0.temperature = .nan }, "--temperature"),
      ({ $0.topK = 257 }, "--top-k"), ({ $0.topK = -1 }, "--top-k"), ({ $0.topP = 0 }, "--top-p"),
      ({ $0.topP = 1.5 }, "--top-p"),
    ] as [((inout ByteChoice) -> Void, String)] {
      var choice = ByteChoice()
      change(&choice)
      let error = #expect(throws: UserError.self) { try choice.check() }
      #expect(error?.description.hasPrefix(name) == true)
    }
  }

  @Test("the command: the same bytes at any number of threads and from any kind of prompt")
  func command() throws {
    let training = try tiny.train("run", ["--set", "attention.lsh.sight=bucket", "--steps", "5"])
    try #require(training.status == 0, "\(training.output)")
    let prompt = try tiny.folder.write("prompt", text: "bucket of the ")
    func generate(_ arguments: String) throws -> (bytes: Data, said: String) {
      let run = try ProgramRun(
        executable: "/bin/sh",
        arguments: [
          "-c",
          "\(ProgramRun.path("reformer-train")) generate \(tiny.output("run")) \(arguments) "
            + "> \(tiny.folder.path("bytes"))",
        ])
      #expect(run.status == 0, "\(run.output)")
      return (try Data(contentsOf: URL(fileURLWithPath: tiny.folder.path("bytes"))), run.output)
    }
    let first = try generate("--prompt 'bucket of the ' --bytes 150 --threads 1")
    #expect(first.bytes.count == 150)
    #expect(first.said.contains("150 bytes in") && first.said.contains("bytes/s"))
    #expect(try generate("--prompt-file \(prompt) --bytes 150 --threads 2").bytes == first.bytes)
    #expect(try generate("--bytes 150 < \(prompt)").bytes == first.bytes)
    #expect(try generate("--prompt-file - --bytes 90 < \(prompt)").bytes == first.bytes.prefix(90))
    #expect(try generate("--prompt-file \(prompt) --bytes 150 --seed 2").bytes != first.bytes)
    #expect(try generate("--prompt x --bytes 0").bytes.isEmpty)
  }

  @Test(
    "wrong input is refused in one line",
    arguments: [
      (["--prompt", ""], "empty"), (["--prompt", "a", "--prompt-file", "b"], "one of them"),
      (["--prompt", "a", "--top-p", "2"], "--top-p 2"),
      (["--prompt", "a", "--bytes=-1"], "--bytes -1"),
      (["--prompt-file", "/nowhere/at/all"], "/nowhere/at/all"),
      (["--prompt", "a"], "no such checkpoint"),
    ])
  func wrongInput(arguments: [String], message: String) throws {
    let run = try ProgramRun(
      "reformer-train", arguments: ["generate", tiny.output("nothing")] + arguments)
    #expect(run.status == 2 && run.output.contains(message), "\(run.output)")
    #expect(run.output.split(separator: "\n").count == 1)
  }
}
