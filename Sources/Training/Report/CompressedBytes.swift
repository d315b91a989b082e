// What compressors need for the bytes that a run was scored on while they were new.
import Communication
import Corpus
import Foundation

/// The bytes of a run's prequential score, compressed.
struct CompressedBytes {
  /// One compressor.
  struct Result {
    /// As it was called.
    let command: String
    /// What it needs, bytes that no window predicts at 8 bits as in the score.
    let bitsPerByte: Double
  }

  /// The run's name.
  let run: String
  let results: [Result]
  /// Bytes compressed.
  let bytes: Int
  /// Bytes that no window of an epoch predicts, counted in proportion to the windows as in the score.
  private let unscored: Double
  /// Commands that this machine does not have.
  private let missing: [String]

  private static let commands = [["bzip2", "-9"], ["xz", "-9e"], ["zstd", "-19"]]

  /// What they are, for people.
  var description: String {
    let tools = results.map { String(format: "%@ %.4f", $0.command, $0.bitsPerByte) }
    return
      "Compressors of \(run), in bits per byte: \(tools.joined(separator: ", ")), each given the same \(bytes) bytes "
      + "that the prequential score is of, those predicted in the first epoch up to the last step, in the order of the "
      + "corpus; \(String(format: "%.0f", unscored)) bytes that no window predicts count 8 bits each, there as here."
      + (missing.isEmpty ? "" : " Not on this machine: \(missing.joined(separator: ", ")).")
  }

  /// Compresses the bytes that `run` has seen in its first epoch.
  ///
  /// - Returns: none where it has seen nothing. - Throws: `CorpusError` where the corpus is gone, `UserError` where
  ///   it is no text.
  static func all(of run: RunHistory) throws -> [CompressedBytes] {
    let config = run.config
    guard config.data.task.isText else {
      throw UserError(
        "\(run.name): compressors are given texts alone, not data.task = \"\(config.data.task.rawValue)\"; leave "
          + "--compressors out")
    }
    let data = try RunData(
      config: config, communicator: SoloCommunicator(), progress: Progress(rank: 0))
    let mix = try data.mix()
    let plan = config.stepPlan
    var ranges = mix.parts.map { _ in [Range<Int>]() }
    var unscored = 0.0
    for step in 1..<run.lastStep + 1 {
      for sample in plan.samples(step: step) {
        let (part, bytes, epoch) = mix.window(sample)
        guard epoch == 0 else { continue }
        // The first byte is seen, and not predicted.
        ranges[part].append(bytes.lowerBound + 1..<bytes.upperBound)
        unscored += Double(sample.length) * mix.plans[part].unscoredShare
      }
    }
    let count = ranges.joined().reduce(0) { $0 + $1.count }
    guard count > 0 else { return [] }
    let path = FileManager.default.temporaryDirectory.path + "/reformer-train-\(getpid()).bytes"
    defer { unlink(path) }
    try write(ranges, of: mix.parts, to: path)
    var (results, missing) = ([Result](), [String]())
    for command in commands {
      guard let size = try compressedSize(path, with: command) else {
        missing.append(command[0])
        continue
      }
      results.append(
        Result(
          command: command.joined(separator: " "),
          bitsPerByte: 8 * (Double(size) + unscored) / (Double(count) + unscored)))
    }
    return [
      CompressedBytes(
        run: run.name, results: results, bytes: count, unscored: unscored, missing: missing)
    ]
  }

  /// Writes bytes of corpora to the file at `path`, in the order in which they stand there.
  private static func write(
    _ ranges: [[Range<Int>]], of parts: [MixPart], to path: String
  ) throws {
    guard FileManager.default.createFile(atPath: path, contents: nil),
      let file = FileHandle(forWritingAtPath: path)
    else { throw RunFailure("\(path): cannot be written; set TMPDIR to a folder with room") }
    defer { try? file.close() }
    for (part, ranges) in zip(parts, ranges) {
      for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
        try file.write(contentsOf: part.corpus.bytes(in: range))
      }
    }
  }

  /// Bytes of the file at `path` compressed; nil where there is no such compressor.
  private static func compressedSize(_ path: String, with command: [String]) throws -> Int? {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = command + ["-c"]
    process.standardInput = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
    process.standardError = FileHandle.nullDevice
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    var size = 0
    while let part = try output.fileHandleForReading.read(upToCount: 1 << 20), !part.isEmpty {
      size += part.count
    }
    process.waitUntilExit()
    // `env` knows no such command.
    if process.terminationStatus == 127 { return nil }
    guard process.terminationStatus == 0 else {
      throw RunFailure("\(command[0]) has failed with status \(process.terminationStatus)")
    }
    return size
  }
}
