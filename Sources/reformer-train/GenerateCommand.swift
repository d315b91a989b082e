// `reformer-train generate`: text that goes on where a prompt ends.
import ArgumentParser
import Compute
import Foundation
import Training

struct GenerateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate",
    abstract: "Continue a text byte by byte.",
    discussion: """
      The prompt is --prompt, --prompt-file, or standard input. Bytes go to standard output as they come.

      A model that is strictly causal computes one row for each byte, from what earlier rows left, with the bits of a
      pass over the whole text. Where LSH layers have sight "chunks", what an earlier row sees depends on later
      ones: such a model computes the whole text anew for each byte.

      Where data.length bytes are reached, the last half of them becomes the start of a new context, which is read
      again; of a longer prompt the last data.length bytes are read.
      """)

  @Argument(help: "Step folder, or run folder for its newest complete step.")
  var checkpoint: String

  @Option(help: "Text to continue.")
  var prompt: String?

  @Option(
    help: ArgumentHelp("File to continue; - for standard input.", valueName: "path"),
    completion: .file())
  var promptFile: String?

  @Option(help: "Bytes to generate.")
  var bytes = 512

  @Option(
    help: "How freely bytes are chosen: 0 takes the likeliest, 1 each as often as the model says.")
  var temperature = 1.0

  @Option(help: "Choose among so many of the likeliest bytes; 0 for all.")
  var topK = 0

  @Option(help: "Choose among the likeliest bytes that together have this share.")
  var topP = 1.0

  @Option(help: "Of the choice: the same seed gives the same bytes, at any number of threads.")
  var seed: UInt64 = 1

  @Flag(help: "Use the averaged parameters (optimizer.average) instead of the last ones.")
  var averaged = false

  @Option(name: .customLong("set"), help: "Change a key of the stored config (repeatable).")
  var overrides: [String] = []

  @Option(help: "Threads (default: all cores).")
  var threads = 0

  func run() throws {
    guard bytes >= 0, threads >= 0 else {
      throw UserError("--bytes \(bytes), --threads \(threads); legal values: 0 or more")
    }
    var choice = ByteChoice()
    (choice.temperature, choice.topK, choice.topP, choice.seed) = (temperature, topK, topP, seed)
    try choice.check()
    let text = try Prompt.read(text: prompt, path: promptFile)
    let progress = Progress(rank: 0)
    var stored = try Checkpoint.open(checkpoint, overrides: overrides, report: progress.notice)
    if averaged { stored = try stored.averaged() }
    try stored.config.requireDecoder("continue a text")
    MatrixProducts.current = stored.config.run.matrixProducts
    try stored.withParameters { parameters in
      let generator = try Generator(
        config: stored.config, parameters: parameters,
        engine: Engine(threads: Placement.alone.threads(configured: threads)))
      if !generator.isIncremental {
        progress.notice("not strictly causal: the whole text is computed again for each byte")
      }
      progress.message(try generate(text, generator, choice))
    }
  }

  /// Writes the bytes; returns what they took.
  private func generate(
    _ text: [UInt8], _ generator: Generator, _ choice: ByteChoice
  ) throws -> String {
    let start = ContinuousClock.now
    var logits = try generator.begin(text)
    let begun = ContinuousClock.now
    for number in 0..<bytes {
      let byte = choice.byte(logits, number: number)
      try write(byte)
      if number + 1 < bytes { logits = try generator.add(byte) }
    }
    let (reading, writing) = (begun - start, ContinuousClock.now - begun)
    return String(
      format: "%d bytes in %.2f s, %.0f bytes/s; prompt of %d bytes read in %.2f s", bytes,
      writing / .seconds(1), Double(bytes) / max(writing / .seconds(1), 1e-9), text.count,
      reading / .seconds(1))
  }

  /// At once, so that whoever reads sees each byte as it comes.
  private func write(_ byte: UInt8) throws {
    var byte = byte
    while Foundation.write(STDOUT_FILENO, &byte, 1) != 1 {
      guard errno == EINTR else {
        throw RunFailure("standard output cannot be written (\(String(cString: strerror(errno))))")
      }
    }
  }
}
