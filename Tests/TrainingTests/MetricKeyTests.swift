// The declarations of the keys of metrics.jsonl: each record has just these, and the page says what they are.
import Foundation
import TestSupport
import Testing
import Training

@Suite("Keys of the metrics")
struct MetricKeyTests {
  private static func record(_ line: some StringProtocol) throws -> MetricsRecord {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(MetricsRecord.self, from: Data(line.utf8))
  }

  @Test("docs/metrics.md is what help metrics prints; write it again after a change of the keys")
  func page() throws {
    let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../../docs/metrics.md").standardized
    let run = try ProgramRun("reformer-train", arguments: ["help", "metrics"])
    #expect(run.status == 0)
    #expect(
      try String(contentsOf: page, encoding: .utf8) == run.output,
      "reformer-train help metrics > docs/metrics.md")
    for key in MetricKey.all { #expect(run.output.contains("- `\(key.name)`")) }
  }

  @Test("each property of a record has its key, in the same order")
  func complete() throws {
    let properties = Mirror(reflecting: try Self.record(#"{"step":1}"#)).children.map { child in
      (child.label ?? "").replacing(/[A-Z]/) { "_" + $0.output.lowercased() }
    }
    #expect(properties == MetricKey.all.map(\.name))
    #expect(MetricKey.all.allSatisfy { $0.text.hasSuffix(".") && !$0.text.contains("\n") })
  }

  @Test("a key reads the value that stands in the line, whatever its type")
  func values() throws {
    let line = #"{"bits_per_byte":2.5,"is_skipped":true,"step":7,"trained_bytes":90}"#
    let record = try Self.record(line)
    let found = MetricKey.all.reduce(into: [String: Double]()) { $0[$1.name] = $1.number(record) }
    #expect(found == ["bits_per_byte": 2.5, "is_skipped": 1, "step": 7, "trained_bytes": 90])
  }

  @Test("lines of a run are of the event that their keys are said to belong to")
  func events() throws {
    let tiny = try TinyRun()
    #expect(try tiny.train("run", ["--steps", "6"]).status == 0)
    let text = try String(contentsOfFile: tiny.output("run") + "/metrics.jsonl", encoding: .utf8)
    var seen: Set<String> = []
    for line in text.split(separator: "\n") {
      let values = try #require(
        try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
      seen.formUnion(values.keys)
      let events = Set(values.keys.map { MetricKey.named($0).event })
      #expect(events.count == 2 && events.contains(.any), "\(line)")
      if events.contains(.step) {
        #expect(MetricKey.named("planned_rss_bytes").number(try Self.record(line)) ?? 0 > 30e6)
      }
    }
    // One rank, one corpus, and no step that was skipped.
    let rare: Set = [
      "is_skipped", "slowest_rank", "slowest_rank_seconds", "mean_rank_seconds",
      "validation_corpora", "averaged_validation_bits_per_byte", "sample",
      "validation_accuracy",
    ]
    #expect(seen == Set(MetricKey.all.map(\.name)).subtracting(rare))
  }
}
