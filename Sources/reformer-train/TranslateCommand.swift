// `reformer-train translate`: the target of each line of a text.
import ArgumentParser
import Checkpointing
import Compute
import Foundation
import Training

struct TranslateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "translate",
    abstract: "Write the target of each line, by a model with an encoder.",
    discussion: """
      For runs with data.task = "pairs". Lines are read from a file or standard input, and targets go to standard \
      output, a line for each: the likeliest byte at each place or, with --beam, what a beam search finds (Wu et al. \
      2016). A line has the same target alone or among others, at any number of threads.
      """)

  @Argument(help: "Step folder, or run folder for its newest complete step.")
  var checkpoint: String

  @Argument(help: "Lines to translate; - or none for standard input.", completion: .file())
  var file: String?

  @Option(help: "Lines that are translated side by side: faster, at the price of memory for each.")
  var lines = 16

  @Option(
    help:
      "Targets of a line that are gone on with side by side; 1 for the likeliest byte at each place."
  )
  var beam = 1

  @Option(help: "How much a beam search prefers longer targets; 0: not at all.")
  var lengthPenalty = 1.0

  @Flag(help: "Use the averaged parameters (optimizer.average) instead of the last ones.")
  var averaged = false

  @Option(help: "Threads (default: all cores).")
  var threads = 0

  func run() throws {
    guard (1...1024).contains(lines), threads >= 0 else {
      throw UserError(
        "--lines \(lines), --threads \(threads); legal values: 1 to 1024, 0 or more")
    }
    var search = TargetSearch()
    (search.beam, search.lengthPenalty) = (beam, lengthPenalty)
    try search.check()
    let progress = Progress(rank: 0)
    var stored = try Checkpoint.open(checkpoint, report: progress.notice)
    if averaged { stored = try stored.averaged() }
    MatrixProducts.current = stored.config.run.matrixProducts
    let config = stored.config
    try stored.withParameters { parameters in
      let translator = try Translator(
        config: config, parameters: parameters, search: search, most: lines,
        engine: Engine(threads: Placement.alone.threads(configured: threads)))
      let start = ContinuousClock.now
      let text = try read()
      var bytes = 0
      try translator.translate(text) { target in
        bytes += target.count + 1
        try FileHandle.standardOutput.write(contentsOf: target + [UInt8(ascii: "\n")])
      }
      let seconds = (ContinuousClock.now - start) / .seconds(1)
      progress.message(
        String(
          format: "%d lines, %d bytes in %.2f s, %.0f bytes/s", text.count, bytes, seconds,
          Double(bytes) / max(seconds, 1e-9)))
    }
  }

  /// The lines; the last may have no end.
  private func read() throws -> [[UInt8]] {
    let bytes =
      if let file, file != "-" {
        try SmallFile.read(file, limit: 1 << 30)
      } else {
        Array(FileHandle.standardInput.readDataToEndOfFile())
      }
    var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    if lines.last?.isEmpty == true { lines.removeLast() }
    return lines.map(Array.init)
  }
}
