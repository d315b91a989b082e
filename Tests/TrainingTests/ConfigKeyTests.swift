// The declarations of the config's keys: what follows from them holds for every key, so the tests walk the table.
import Foundation
import Reformer
import TestSupport
import Testing
import Training

@Suite("Config keys")
struct ConfigKeyTests {
  private static let file = MinimalConfig.toml + MinimalConfig.axes

  private static func config(
    _ overrides: [String] = [], _ file: String = file
  ) throws(ConfigError) -> RunConfig {
    try RunConfig(toml: file, file: "a.toml", overrides: overrides)
  }

  private static let names = ConfigKey.all.map(\.name)

  /// Another value than `value` that the key takes.
  private static func another(_ key: ConfigKey, than value: ConfigValue) -> ConfigValue {
    if let example = key.examples.first(where: { $0 != value }) { return example }
    guard case .text(let text) = value, key.examples.isEmpty else { return value }
    return .text(text + "x")
  }

  @Test("docs/config.md is what help config prints; write it again after a change of the keys")
  func page() throws {
    let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../../docs/config.md").standardized
    let run = try ProgramRun("reformer-train", arguments: ["help", "config"])
    #expect(run.status == 0)
    #expect(
      try String(contentsOf: page, encoding: .utf8) == run.output,
      "reformer-train help config > docs/config.md")
  }

  @Test("each key has a reference with its default and legal values", arguments: names)
  func reference(name: String) throws {
    let key = ConfigKey.named(name)
    let text = try ConfigSection.reference(of: name)
    #expect(text.hasPrefix("- `\(name)` (") && text.contains(key.text))
    #expect(text.contains("Legal values: \(key.legal). On resume: \(key.onResume)."))
    #expect(ConfigSection.reference.contains(text))
    #expect(key.text.hasSuffix(".") && !key.text.contains("\n"))
    let standard = try Self.config()
    // What the file says is no default.
    let isSet = Self.file.contains("\(name) =")
    if let value = key.standard, value != .text("auto"), !isSet {
      #expect(key.get(standard) == value && text.contains("default `\(value.toml)`"))
    }
  }

  @Test("help config shows one key, a section, or what was probably meant")
  func help() throws {
    func help(_ name: String) throws -> ProgramRun {
      try ProgramRun("reformer-train", arguments: ["help", "config", name])
    }
    #expect(try help("data.length").output == ConfigSection.reference(of: "data.length"))
    let attention = try help("attention").output
    #expect(attention.contains("## [attention.lsh]") && !attention.contains("run."))
    let unknown = try help("data.lenth")
    #expect(unknown.status == 2)
    #expect(unknown.output == "error: no config key data.lenth; did you mean data.length?\n")
  }

  /// Values just outside a range, where `value` is an end of it.
  private static func outside(_ value: ConfigValue) -> [ConfigValue] {
    switch value {
    case .integer(let end): [-1, 1].map { .integer(end == .max ? -1 : end + $0) }
    case .real(let end): [end.nextDown, end.nextUp, .nan, .infinity, -.infinity].map { .real($0) }
    default: []
    }
  }

  @Test("every number has a range, and nothing outside of it is taken", arguments: names)
  func ranges(name: String) throws {
    let key = ConfigKey.named(name)
    var config = try Self.config()
    let before = config
    let ends = key.examples.filter { !Self.outside($0).isEmpty }
    if case .integer = key.get(config) { #expect(ends.count == 2) }
    if case .real = key.get(config) { #expect(ends.count == 2) }
    for (index, end) in ends.enumerated() {
      // Below the first, above the last.
      let values = Self.outside(end).enumerated().filter { $0.offset >= 2 || $0.offset == index }
      for (_, value) in values {
        #expect(!key.set(&config, value), "\(name) = \(value.toml)")
      }
    }
    for value in [ConfigValue.other("1979-05-27"), .list([.list([])]), .boolean(true), .text("")]
    where !key.examples.contains(value) {
      #expect(!key.set(&config, value), "\(name) = \(value.toml)")
    }
    #expect(config == before)
  }

  @Test("the ends of each range are refused in a line or planned, and never trap", arguments: names)
  func ends(name: String) throws {
    for example in ConfigKey.named(name).examples {
      do throws(ConfigError) {
        let config = try Self.config(["\(name)=\(example.toml)"])
        #expect(MemoryPlan(config, ranks: 1, threads: 4096).peakRssBytes > 0)
        #expect(FlopCount(config.reformer).step > 0)
      } catch {
        // In combination with the rest of the config.
        #expect(error.description.contains(" = ") && !error.description.contains("\n"))
      }
    }
  }

  @Test("the largest sizes that go together are planned without a trap")
  func largest() throws {
    let layers = [String](repeating: "\"lsh\"", count: 4096).joined(separator: ", ")
    for (heads, width) in [(1 << 20, 1), (1, 1 << 20)] {
      let config = try Self.config([
        "data.length=134217728", "model.axial_shape=[1048576, 128]", "model.width=1048576",
        "model.axial_widths=[1, 1048575]", "model.heads=\(heads)", "model.head_width=\(width)",
        "model.heads_per_group=\(heads)", "model.feed_forward_width=1048576",
        "model.vocabulary=1048576", "model.layers=[\(layers)]", "attention.lsh.chunk=1048576",
        "attention.lsh.chunks_before=1024", "attention.lsh.hashes=8",
        "attention.lsh.buckets=1048576", "run.global_batch=1048576", "run.keep_activations=true",
        "run.background_checkpoints=true", "run.memory_budget_gb=1000000",
      ])
      let plan = MemoryPlan(config, ranks: 1, threads: 4096)
      #expect(plan.peakRssBytes > 1 << 50)
      #expect(config.memoryBudget(ranksHere: 1) == 1_000_000_000_000_000)
    }
  }

  @Test("a value that has another name since is read from a file, with a notice, and nowhere else")
  func formerNames() throws {
    for key in ConfigKey.all {
      for (name, value) in key.formerNames {
        let text = Self.file + "\n\(key.name) = \"\(name)\""
        var notices: [String] = []
        let config = try RunConfig(toml: text, file: "config.toml") { notices.append($0) }
        #expect(key.get(config) == value && key.get(config).toml != "\"\(name)\"")
        #expect(notices.count == 1 && notices[0].contains(value.toml), "\(notices)")
        let refusal = #expect(throws: ConfigError.self) {
          try RunConfig(toml: Self.file, file: "a.toml", overrides: ["\(key.name)=\(name)"])
        }
        #expect(refusal?.description.contains("is called \(value.toml) now") == true)
      }
    }
  }

  @Test("a change on resume is allowed or refused as the key says", arguments: names)
  func resume(name: String) throws {
    let key = ConfigKey.named(name)
    let saved = try Self.config()
    #expect(saved.differencesThatForbidResume(from: saved).isEmpty)
    #expect(saved.differencesThatAllowResume(from: saved).isEmpty)
    var other = saved
    let value = Self.another(key, than: key.get(saved))
    try #require(value != key.get(saved))
    #expect(key.set(&other, value), "\(name) = \(value.toml)")
    let difference = ["\(name): \(key.get(saved).toml) in the checkpoint, \(value.toml) now"]
    let isFixed = key.onResume == .fixed
    #expect(other.differencesThatForbidResume(from: saved) == (isFixed ? difference : []))
    #expect(other.differencesThatAllowResume(from: saved) == (isFixed ? [] : difference))
    // What makes another model may never be declared free.
    if "\(other.reformer)" != "\(saved.reformer)" { #expect(isFixed) }
  }

  @Test("seed, batch, split and method may not change, whatever the model does")
  func fixed() {
    for name in ["run.seed", "run.global_batch", "data.length", "data.split", "optimizer.kind"] {
      #expect(ConfigKey.named(name).onResume == .fixed, "\(name)")
    }
  }
}
