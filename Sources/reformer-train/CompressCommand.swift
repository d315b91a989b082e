// `reformer-train compress` and `decompress`: bits per byte as a file.
import ArgumentParser
import Compute
import Foundation
import Training

struct CompressCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compress",
    abstract: "Make a file smaller by a model's own probabilities.",
    discussion: """
      Bytes are coded in windows of data.length side by side, as `evaluate` scores them, each by the probability that the
      model gives it from those before it: the file comes to the bits that `evaluate` prints. Only a strictly causal
      model can do this, and not with run.matrix_products = "openblas". decompress needs the same checkpoint and version of
      the program; threads and machine may differ.
      """)

  @Argument(help: "File to compress.", completion: .file())
  var file: String

  @OptionGroup var options: CompressionArguments

  @Option(
    help:
      "Parts of the file to code side by side: faster, at the price of a byte for each, and a file is decompressed as many at a time."
  )
  var streams = 16

  func run() throws {
    guard (1...Compressor.mostStreams).contains(streams) else {
      throw UserError("--streams \(streams); legal values: 1 to \(Compressor.mostStreams)")
    }
    try options.run { try $0.compress(file, to: options.output, streams: streams, progress: $1) }
  }
}

struct DecompressCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "decompress",
    abstract: "Restore a file that compress wrote.",
    discussion: """
      Nothing is written where the file is damaged or was compressed with another model.
      """)

  @Argument(help: "File that compress wrote.", completion: .file())
  var file: String

  @OptionGroup var options: CompressionArguments

  func run() throws {
    try options.run { try $0.decompress(file, to: options.output, progress: $1) }
  }
}

/// What both take.
struct CompressionArguments: ParsableArguments {
  @Option(
    name: .customLong("with"),
    help: ArgumentHelp(
      "Step folder, or run folder for its newest complete step.", valueName: "checkpoint"),
    completion: .directory)
  var checkpoint: String

  @Option(help: ArgumentHelp("File to write.", valueName: "path"), completion: .file())
  var output: String

  @Option(help: "Threads (default: all cores).")
  var threads = 0

  /// Opens the checkpoint, runs `body`, and says what came of it.
  func run(_ body: (Compressor, (Double) -> Void) throws -> Compressor.Outcome) throws {
    guard threads >= 0 else { throw UserError("--threads \(threads); legal values: 0 or more") }
    let progress = Progress(rank: 0)
    let stored = try Checkpoint.open(checkpoint, report: progress.notice)
    MatrixProducts.current = stored.config.run.matrixProducts
    let compressor = try Compressor(
      stored, threads: Placement.alone.threads(configured: threads))
    let start = ContinuousClock.now
    let outcome = try body(compressor) {
      progress.update("\(Int($0 * 100)) %", isMilestone: false)
    }
    progress.finish()
    let time = (ContinuousClock.now - start) / .seconds(1)
    print(
      String(
        format: "%d bytes of text, %d compressed, %.4f bits/byte, %.1f s, %.0f bytes/s",
        outcome.text, outcome.compressed,
        8 * Double(outcome.compressed) / Double(max(outcome.text, 1)), time,
        Double(outcome.text) / time))
  }
}
