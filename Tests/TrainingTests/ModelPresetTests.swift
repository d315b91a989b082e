import TestSupport
import Testing
import Training

@Suite("Presets of a model")
struct ModelPresetTests {
  private static func config(_ text: String, _ overrides: [String] = []) throws -> RunConfig {
    try RunConfig(toml: MinimalConfig.toml + text, file: "a.toml", overrides: overrides)
  }

  @Test("native sets keys that the config leaves open, wherever it is named")
  func native() throws {
    let before = try Self.config("model.preset = \"native\"\nmodel.activation = \"gelu\"")
    #expect(before.model.positions == .rotary && before.attention.lsh.sight == .bucket)
    #expect(before.model.ngrams.orders.count == 8 && before.model.activation == .gelu)
    let after = try Self.config("model.activation = \"gelu\"\nmodel.preset = \"native\"")
    #expect(after == before)
    let optional = try Self.config("model.activation = \"gelu\"", ["model.preset=native"])
    #expect(optional == before)
    // What was resolved says it all by itself.
    let again = try RunConfig(
      toml: before.toml.replacing("preset = \"native\"", with: "preset = \"none\""),
      file: "b.toml")
    #expect(again.reformer.parameterLayout.count == before.reformer.parameterLayout.count)
    #expect(again.attention == before.attention)
  }

  @Test("what a program wrote down before there was a key has that key's default")
  func stored() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/config.toml"
    let written = try Self.config("model.preset = \"native\"").toml
    let older = written.replacing("token_shift = true\n", with: "")
    #expect(older != written)
    try older.write(toFile: path, atomically: true, encoding: .utf8)
    #expect(try !RunConfig.load(stored: path).model.tokenShift)
    #expect(try RunConfig.load(file: path).model.tokenShift)
    #expect(try RunConfig.load(stored: path).model.positions == .rotary)
  }

  @Test("the last name counts, and --set of a key wins over the preset")
  func last() throws {
    let config = try Self.config(
      MinimalConfig.axes + "model.preset = \"native\"", ["model.preset=none"])
    #expect(config.model.positions == .axial && config.model.ngrams.orders.isEmpty)
    let set = try Self.config(
      "model.preset = \"native\"", ["attention.lsh.window=5", "model.ngrams.orders=[]"])
    #expect(set.attention.lsh.window == 5 && set.model.ngrams.orders.isEmpty)
  }

  @Test(
    "paper is refused with what Hugging Face's Reformer has not, by name",
    arguments: [
      "model.ngrams.orders=[2]", "model.positions=rotary", "model.positions=infused",
      "attention.lsh.sight=bucket", "model.layers=[local,full]", "model.token_shift=true",
    ])
  func paper(setting: String) throws {
    let text = MinimalConfig.axes + "model.preset = \"paper\""
    #expect(try Self.config(text).model.preset == .paper)
    let more =
      setting.hasPrefix("model.positions=")
      ? ["model.axial_shape=[]", "model.axial_widths=[]"] : []
    let error = #expect(throws: ConfigError.self) { try Self.config(text, [setting] + more) }
    let message = error?.description ?? ""
    let key = setting.prefix { $0 != "=" }
    #expect(message.hasPrefix("a.toml: model.preset = \"paper\": "), "\(message)")
    #expect(message.contains(key), "\(message)")
  }
}
