// The program's bits, pinned, the same at every instruction-set level: a change that means to change them writes Golden/bits.json anew
// (REFORMER_WRITE_GOLDEN=1 launch/test.sh --filter GoldenTests) and says why in its commit.
import CKernels
import Checkpointing
import Compute
import Corpus
import Foundation
import Reformer
import TestSupport
import Testing
import Training

/// What is pinned of one run.
private struct GoldenBits: Codable, Equatable {
  var losses: [Double]
  var parametersSHA256: String
}

/// The whole file.
private struct GoldenFile: Codable, Equatable {
  /// SHA-256 of the windows of several plans.
  var dataOrder = ""
  /// By run: SHA-256 of the first values of all parameters.
  var firstValues: [String: String] = [:]
  /// By run.
  var runs: [String: GoldenBits] = [:]

  static let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Golden/bits.json").path
  static let isWriting = ProcessInfo.processInfo.environment["REFORMER_WRITE_GOLDEN"] != nil

  init() throws {
    guard FileManager.default.fileExists(atPath: Self.path) else { return }
    self = try JSONDecoder().decode(
      Self.self, from: Data(contentsOf: URL(fileURLWithPath: Self.path)))
  }

  func write() throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    try encoder.encode(self).write(to: URL(fileURLWithPath: Self.path))
  }
}

@Suite("Golden bits")
struct GoldenTests {
  /// Cases run side by side, and each writes the whole file.
  private static let lock = NSLock()
  private static let levels = (0...ck_best_level()).map { String(cString: ck_level_name($0)) }

  /// Compares with the file, or puts `value` there.
  private func pin<Value: Equatable>(
    _ value: Value, _ place: WritableKeyPath<GoldenFile, Value?>, _ comment: Comment
  ) throws {
    try Self.lock.withLock {
      var file = try GoldenFile()
      if GoldenFile.isWriting {
        file[keyPath: place] = value
        try file.write()
      } else {
        #expect(value == file[keyPath: place], comment)
      }
    }
  }

  /// Every level for every run; but what only products of bf16 numbers have is for runs with those.
  private static let cases = levels.flatMap { level in
    GoldenRun.all.filter { $0.name.hasPrefix("bf16") || !["avx512-bf16", "amx"].contains(level) }
      .map { (level, $0) }
  }

  @Test("losses of 20 steps and the last parameters", arguments: cases)
  func runs(level: String, golden: GoldenRun) throws {
    let folder = try TemporaryFolder()
    let corpus = try folder.write("corpus", text: golden.corpus)
    let config = try golden.writeConfig(in: folder, corpus: corpus)
    let output = folder.path("run")
    let start = ["train", "--config", config, "--output", output]
    let environment = ["REFORMER_INSTRUCTIONS": level]
    for arguments in [
      start + ["--steps", "12"], start + ["--resume", "auto", "--set", "run.threads=1"],
    ] {
      let run = try ProgramRun("reformer-train", arguments: arguments, environment: environment)
      try #require(run.status == 0, "\(run.output)")
    }
    let losses = try String(contentsOfFile: output + "/metrics.jsonl", encoding: .utf8)
      .split(separator: "\n").compactMap {
        $0.firstMatch(of: /"loss_nats":([-0-9.e]+)/).flatMap { Double($0.1) }
      }
    let inspected = try ProgramRun("reformer-train", arguments: ["inspect", output, "--json"])
    let digest = inspected.output.firstMatch(of: /"parameters_sha256" : "([0-9a-f]+)"/)?.1
    let bits = GoldenBits(losses: losses, parametersSHA256: String(digest ?? ""))
    try #require(losses.count == 20 && digest != nil)
    try pin(bits, \.runs[golden.name], "\(level), \(golden.name)")
  }

  @Test("first values of all parameters", arguments: levels, GoldenRun.all)
  func firstValues(level: String, golden: GoldenRun) throws {
    let folder = try TemporaryFolder()
    let config = try RunConfig.load(
      file: golden.writeConfig(in: folder, corpus: "none"), overrides: [])
    let layout = config.reformer.parameterLayout
    let parameters = Buffer<Float>(layout.parameterBufferCount)
    let number = Int32(Self.levels.firstIndex(of: level) ?? 0)
    #expect(ck_set_thread_level(number) == 0)
    defer { _ = ck_set_thread_level(-1) }
    layout.initialise(parameters.view, seed: 5)
    let digest = ModelFile.parametersSHA256(layout: layout, parameters: parameters.view)
    try pin(digest, \.firstValues[golden.name], "\(level), \(golden.name)")
  }

  @Test("order of the data")
  func dataOrder() throws {
    let hash = SHA256()
    for (bytes, length, seed) in [
      (0..<5_000, 64, 1), (100..<100_000, 1_000, 7), (3..<70_000, 333, 9),
    ] {
      let plan = BatchPlan(bytes: bytes, length: length, seed: UInt64(seed))
      for sample in 0..<3 * plan.windowsPerEpoch {
        hash.update("\(plan.window(sample: sample));".utf8)
      }
    }
    try pin(hash.finish(), \.optionalDataOrder, "windows of an epoch")
  }
}

extension GoldenFile {
  /// As the other places of the file: nil where nothing is pinned yet.
  fileprivate var optionalDataOrder: String? {
    get { dataOrder.isEmpty ? nil : dataOrder }
    set { dataOrder = newValue ?? "" }
  }
}
