import Attention
import Foundation
import Reformer
import TestSupport
import Testing
import Training

@Suite("Run config")
struct RunConfigTests {
  /// Required keys only, one per line, so that a test can replace or drop one.
  private static let lines: KeyValuePairs = [
    "run.name": #""test""#, "run.steps": "10", "data.corpus": #""books.txt""#,
    "data.length": "4096", "model.width": "64", "model.layers": #"["local", "lsh"]"#,
    "model.heads": "4", "model.head_width": "16", "model.feed_forward_width": "128",
    "model.axial_shape": "[64, 64]", "model.axial_widths": "[16, 48]",
  ]

  /// The minimal file with `changes` put in; an empty value drops the key.
  private static func file(_ changes: [String: String] = [:]) -> String {
    let keys = lines.map(\.key) + changes.keys.filter { key in !lines.contains { $0.key == key } }
    let values = Dictionary(uniqueKeysWithValues: lines.map { ($0.key, $0.value) })
    return keys.sorted().compactMap { key in
      let value = changes[key] ?? values[key] ?? ""
      return value.isEmpty ? nil : "\(key) = \(value)"
    }.joined(separator: "\n")
  }

  private static func message(_ toml: String, _ overrides: [String] = []) -> String {
    do throws(ConfigError) {
      _ = try RunConfig(toml: toml, file: "a.toml", overrides: overrides)
      return "no error"
    } catch {
      return error.description
    }
  }

  private static func config(
    _ changes: [String: String] = [:], set overrides: [String] = []
  ) throws(ConfigError) -> RunConfig {
    try RunConfig(toml: file(changes), file: "a.toml", overrides: overrides)
  }

  @Test("required keys suffice, the rest has the documented defaults")
  func defaults() throws {
    let config = try Self.config()
    #expect(config.data.split == [0.9, 0.05, 0.05])
    #expect(config.run.globalBatch == 1)
    #expect(config.run.threads == 0)
    #expect(config.run.keep == 2)
    #expect(config.optimizer.learningRate == 5e-4)
    let lsh = LSHAttention(
      chunk: 64, chunksBefore: 1, hashes: 2,
      buckets: LSHAttention.automaticBuckets(length: 4096, longestLength: 4096, chunk: 64))
    let reformer = ReformerConfig(
      length: 4096, width: 64,
      layers: [
        LocalAttention(chunk: 64, chunksBefore: 1), lsh,
      ], heads: 4, headWidth: 16, feedForwardWidth: 128, axialShape: [64, 64],
      axialWidths: [16, 48])
    #expect("\(config.reformer)" == "\(reformer)")
  }

  @Test("sections, whole numbers for reals and every kind of bucket count are read")
  func sections() throws {
    let text = """
      [run]
      name = "r"
      steps = 5
      threads = 3
      keep_activations = true
      [data]
      corpus = "c"
      length = 100
      split = [1, 0, 0]
      [model]
      width = 8
      layers = ["full"]
      heads = 6
      heads_per_group = 2
      head_width = 4
      feed_forward_width = 16
      activation = "gelu"
      axial_shape = [100]
      axial_widths = [8]
      dropout = 0
      [attention.full]
      shared_query_key = true
      [attention.lsh]
      buckets = 6
      [optimizer]
      schedule = "cosine"
      clip = 2
      """
    let config = try RunConfig(toml: text, file: "a.toml")
    #expect(config.run.threads == 3)
    #expect(config.run.keepActivations)
    #expect(config.data.split == [1, 0, 0])
    #expect(config.reformer.headsPerGroup == 2)
    #expect(config.reformer.activation == .gelu)
    #expect(config.reformer.layers[0].sharesQueryKey)
    #expect(config.attention.lsh.buckets == [6])
    #expect(config.learningRateSchedule.kind == .cosine)
    #expect(config.optimizer.clip == 2)
    #expect(try Self.config(["attention.lsh.buckets": "[4, 8]"]).attention.lsh.buckets == [4, 8])
  }

  @Test(
    "heads are grouped by the size of a group's buffer",
    arguments: [
      (4096, 8), (16384, 4), (32768, 2), (1_048_576, 1),
    ])
  func headGroups(length: Int, expected: Int) {
    // 16 MiB hold 2^22 floats: 64 features times 2^16 positions times heads.
    #expect(
      RunConfig.automaticHeadsPerGroup(heads: 8, headWidth: 64, length: length) == expected)
  }

  @Test(
    "a wrong value is refused with its key, the value and what is legal",
    arguments: [
      ("model.width", "0", "1 to 1048576"),
      ("model.width", "\"64\"", "a whole number"),
      ("model.width", "64.0", "a whole number"),
      ("model.layers", "[]", "a list of 1 to 4096 entries"),
      ("model.layers", "[\"local\", \"lhs\"]", "\"full\" or \"local\" or \"lsh\""),
      ("model.layers", "\"local\"", "a list"),
      ("model.heads", "-1", "1 to 1048576"),
      ("model.head_width", "0", "1 to 1048576"),
      ("model.head_width", "1048576", "1 to 262144 with model.heads = 4"),
      ("model.heads_per_group", "3", "a divisor of model.heads = 4"),
      ("model.heads_per_group", "0", "\"auto\" or a whole number from 1"),
      ("model.feed_forward_width", "-5", "1 to 1048576"),
      ("model.activation", "\"tanh\"", "\"relu\" or \"relu2\" or \"gelu\""),
      ("model.vocabulary", "255", "256 to 1048576"),
      ("model.byte_offset", "-1", "0 to 65536"),
      ("model.axial_shape", "[64, 63]", "a product of at least data.length = 4096"),
      ("model.axial_shape", "[]", "a product of at least data.length = 4096"),
      ("model.axial_shape", "[-64, -64]", "each a whole number from 1"),
      ("model.axial_widths", "[16, 47]", "add up to model.width = 64"),
      ("model.axial_widths", "[64]", "2 widths"),
      ("model.axial_widths", "[0, 64]", "each a whole number from 1"),
      ("model.dropout", "1.0", "0 to below 1"),
      ("model.dropout", "nan", "0 to below 1"),
      ("model.attention_dropout", "-0.1", "0 to below 1"),
      ("model.layer_norm_epsilon", "0.0", "1e-30 to below 1"),
      ("model.residual_fraction_bits", "25", "8 to 24"),
      ("model.residual_fraction_bits", "7", "8 to 24"),
      ("attention.full.shared_query_key", "1", "true or false"),
      ("attention.local.chunk", "0", "1 to 1048576"),
      ("attention.local.chunks_before", "-1", "0 to 1024"),
      ("attention.lsh.chunk", "-64", "1 to 1048576"),
      ("attention.lsh.chunks_before", "-2", "0 to 1024"),
      ("attention.lsh.hashes", "0", "1 to 1024"),
      ("attention.lsh.buckets", "[4, 3]", "an even whole number from 2"),
      ("attention.lsh.buckets", "[0]", "an even whole number from 2"),
      ("attention.lsh.buckets", "[1048576, 2]", "a list of such factors with a product up to it"),
      ("attention.lsh.buckets", "[]", "\"auto\" or an even whole number"),
      ("attention.lsh.buckets", "\"many\"", "\"auto\" or an even whole number"),
      ("data.corpus", "\"\"", "the path of a file"),
      ("data.length", "1", "2 to 134217728"),
      ("data.length", "1152921504606846976", "2 to 134217728"),
      ("data.block", "6000", "\"auto\" or a multiple of data.length = 4096"),
      ("data.split", "[0.9, 0.05, 0.06]", "add up to 1"),
      ("data.split", "[0.5, 0.5]", "a list of 3 entries"),
      ("data.split", "[0.0, 0.5, 0.5]", "the first above 0"),
      ("data.split", "[1.1, -0.1, 0.0]", "from 0 to 1"),
      ("optimizer.kind", "\"sgd\"", "\"adam\" or \"muon\" or \"adafactor\""),
      ("optimizer.momentum", "1.0", "0 to below 1"),
      ("optimizer.momentum", "0.9", "0.95, its default, unless optimizer.kind = \"muon\""),
      ("optimizer.learning_rate", "0.0", "a number from 1e-30"),
      ("optimizer.learning_rate", "inf", "a number from 1e-30"),
      ("optimizer.learning_rate", "\"fast\"", "a number"),
      ("optimizer.schedule", "\"step\"", "\"constant\" or \"rsqrt\" or \"cosine\" or \"linear\""),
      ("optimizer.final_rate", "1.1", "a number from 0 to 1"),
      ("optimizer.decay_share", "-0.1", "a number from 0 to 1"),
      ("optimizer.warmup_steps", "-1", "0 to"),
      ("optimizer.beta1", "1.0", "0 to below 1"),
      ("optimizer.beta2", "-0.5", "0 to below 1"),
      ("optimizer.epsilon", "0.0", "1e-30 to 1"),
      ("optimizer.weight_decay", "-1.0", "a number from 0"),
      ("optimizer.clip", "-1.0", "0 for no clipping"),
      ("run.name", "\"../x\"", "letters, digits"),
      ("run.name", "\"\"", "letters, digits"),
      ("run.name", "\"a\\nb\"", "letters, digits"),
      ("run.steps", "0", "1 to"),
      ("run.steps", "1979-05-27", "a whole number"),
      ("run.global_batch", "0", "1 to"),
      ("run.seed", "-1", "0 to"),
      ("run.threads", "0", "\"auto\" or a whole number from 1"),
      ("run.threads", "\"all\"", "\"auto\" or a whole number from 1"),
      ("run.evaluate_every", "-1", "0 to"),
      ("run.evaluate_bytes", "-1", "0 to"),
      ("run.checkpoint_every", "-1", "0 to"),
      ("run.keep", "0", "1 to"),
      ("run.keep_every", "-1", "0 to"),
      ("run.keep_best", "1", "true or false"),
      ("run.on_checkpoint_error", "\"ignore\"", "\"stop\" or \"continue\""),
      ("run.background_checkpoints", "\"yes\"", "true or false"),
      ("run.skip_limit", "-1", "0 to"),
      ("run.spike_deviations", "-0.5", "0 skips no spikes"),
      ("run.spike_deviations", "nan", "0 skips no spikes"),
      ("run.log_every", "0", "1 to"),
      ("run.memory_budget_gb", "-1.5", "a number from 0 to 1000000"),
      ("run.memory_budget_gb", "1e11", "a number from 0 to 1000000"),
      ("run.wait_limit_seconds", "1e300", "0 waits for ever"),
      ("run.keep_activations", "\"yes\"", "true or false"),
    ])
  func wrongValue(key: String, value: String, legal: String) {
    let text = Self.message(Self.file([key: value]))
    #expect(text.hasPrefix("a.toml: \(key) = "), "\(text)")
    #expect(text.contains("; legal values: "), "\(text)")
    #expect(text.contains(legal), "\(text)")
    #expect(!text.contains("\n"))
  }

  @Test(
    "constants that the optimizer has not are refused, and taken where it has them",
    arguments: [
      ("adam", "momentum", "0.8"), ("adafactor", "momentum", "0.8"), ("adafactor", "beta1", "0.8"),
      ("adafactor", "beta2", "0.9"), ("adafactor", "epsilon", "0.001"),
    ])
  func foreignConstants(kind: String, key: String, value: String) throws {
    let keys = { (kind: String) in
      ["optimizer.kind": "\"\(kind)\"", "optimizer.\(key)": value]
    }
    let text = Self.message(Self.file(keys(kind)))
    #expect(text.hasPrefix("a.toml: optimizer.\(key) = \(value); legal values: "), "\(text)")
    #expect(text.contains("its default") && !text.contains("\n"), "\(text)")
    _ = try Self.config(keys("muon"))
  }

  @Test("the order of AMX is for bf16 numbers, which OpenBLAS does not take")
  func productRoutes() throws {
    for (route, precision, key) in [
      ("amx", "fp32", "run.matrix_products = \"amx\""),
      ("openblas", "bf16", "model.precision = \"bf16\""),
    ] {
      let text = Self.message(
        Self.file(["run.matrix_products": "\"\(route)\"", "model.precision": "\"\(precision)\""]))
      #expect(text.hasPrefix("a.toml: \(key); legal values: "), "\(text)")
      #expect(text.contains("with ") && !text.contains("\n"), "\(text)")
    }
    let config = try Self.config(
      ["run.matrix_products": "\"amx\"", "model.precision": "\"bf16\""])
    #expect(config.reformer.precision == .bf16InBlocks)
  }

  @Test(
    "each required key that is missing is named",
    arguments: lines.map(\.key).filter { !$0.hasPrefix("model.axial") })
  func missing(key: String) {
    let text = Self.message(Self.file([key: ""]))
    #expect(text.hasPrefix("a.toml: required key \(key) is missing"), "\(text)")
  }

  @Test(
    "an unknown key is named with the key that was probably meant",
    arguments: [
      ("model.layrs = 3", "unknown key model.layrs = 3; did you mean model.layers?"),
      ("modle.width = 3", "unknown key modle.width = 3; did you mean model.width?"),
      ("model.learning_rate = 1", "did you mean optimizer.learning_rate?"),
      ("width = 3", "did you mean model.width?"),
      ("attention.lsh.bukets = 4", "did you mean attention.lsh.buckets?"),
      ("optimizer.momentum_factor = 1", "legal keys of [optimizer]: kind, learning_rate"),
      ("gpu.count = 8", "legal sections: run, data, data.length_schedule, data.mix, model,"),
      ("[empty]", "unknown key empty"),
      ("\"model.dropout\" = 0.5", "unknown key \"model.dropout\" = 0.5"),
      ("attention.lsh = 4", "attention.lsh = 4; legal values: a section"),
      ("model.width.x = 4", "line "),
    ])
  func unknown(line: String, expected: String) {
    // Dotted keys may not follow a table header, hence the header last.
    let text = Self.message("\(Self.file())\n\(line)")
    #expect(text.hasPrefix("a.toml: "))
    #expect(text.contains(expected), "\(text)")
    #expect(!text.contains("\n"))
  }

  @Test(
    "values are read as TOML has them",
    arguments: [
      ("run.seed", "0x1F", "31"), ("run.seed", "1_000", "1000"), ("run.seed", "+7", "7"),
      ("run.name", "'a'", "\"a\""), ("run.name", "\"\\u0061b\" # why", "\"ab\""),
      ("optimizer.beta1", "9e-1", "0.9"), ("optimizer.beta1", "0.5_0", "0.5"),
      ("optimizer.weight_decay", "1E+2", "100.0"), ("run.keep_best", "false", "false"),
      ("model.axial_shape", "[ 64,\n # two\n 64, ]", "[64, 64]"),
      ("data.corpus", "\"\\t\\\\ \\\" \\U0001F600\"", "\"\\u0009\\\\ \\\" \u{1F600}\""),
    ])
  func values(key: String, value: String, expected: String) throws {
    let text = try Self.config([key: value]).toml
    let name = key.split(separator: ".").last ?? ""
    #expect(text.contains("\n\(name) = \(expected)\n"), "\(text)")
  }

  @Test(
    "what is no TOML, or more of it than configs need, is reported by its place",
    arguments: [
      ("[[[run]", "line 1, column 3: expected a name"),
      ("[[run]]", "the only lists of tables are [[data.length_schedule]], [[data.mix]]"),
      ("[data.mix]", "line 1, column 1: data.mix is a list of tables, each written [[data.mix]]"),
      ("[[data.mix]]\n[run]", "the table before has no keys"),
      ("[[data.mix]]\na = 1\na = 2", "line 3, column 1: the key has a value already"),
      ("[[data.mix]]\na = 1\nb = 1\n[[data.mix]]\na = 1", "table 2 of [[data.mix]] has no b"),
      ("[[data.mix]]\na = 1\n[[data.mix]]\nb = 1", "table 1 of [[data.mix]] has no b"),
      ("[data]\nmix.a = 1\n[[data.mix]]\na = 1", "line 4, column 1: the key has a value already"),
      ("[!]", "line 1, column 2: expected a name"),
      ("a = 2024-02-30 1", "line 1, column 16: expected the end"),
      ("a = 01", "column 5: expected a"),
      ("a = 1__0", "column 5: expected a value"), ("a = 1.", "column 5: expected a value"),
      ("a = .5", "column 5: expected a value"), ("a = 99999999999999999999", "column 5"),
      ("a = 0x", "column 5"), ("a = [1, 2", "expected ]"), ("a = [1 2]", "expected ]"),
      ("a = [[[[[[[[[1]]]]]]]]]", "too many lists"), ("a = {b = 1}", "inline tables"),
      ("a = \"b", "column 5: the text has no end"), ("a = \"\"\"b\"\"\"", "several lines"),
      ("a = \"\\x\"", "unknown escape"), ("a = \"\\uD800\"", "unknown escape"),
      ("a = \"\\u12", "unknown escape"), ("a = b", "expected a value"), ("a b = 1", "expected ="),
      ("a = 1 b = 2", "expected the end of the line"), ("[a] b = 1", "expected the end"),
      ("[a]\n[a]", "line 2, column 1: the section is there twice"), ("= 1", "expected a name"),
    ])
  func noTOML(text: String, expected: String) {
    let message = Self.message(text)
    #expect(message.hasPrefix("a.toml: line ") && message.contains(expected), "\(message)")
  }

  @Test("broken TOML is reported with line and column")
  func syntax() {
    #expect(Self.message("[run]\nname = \n").hasPrefix("a.toml: line 2, column "))
    #expect(Self.message("a = 1\na = 2").hasPrefix("a.toml: line 2, column "))
    #expect(!Self.message("[run]\nname = \n").contains("\n"))
  }

  @Test("a missing file, a folder and a file that is no text are one clear line")
  func files() throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    func message(_ path: String) -> String {
      do throws(ConfigError) {
        _ = try RunConfig.load(file: path)
        return "no error"
      } catch {
        return error.description
      }
    }
    let good = try folder.write("good.toml", text: Self.file())
    #expect(message(good) == "no error")
    for path in [folder.path("none.toml"), folder.path] {
      #expect(message(path) == "\(path): cannot be read; give the path of a TOML file")
    }
    for bytes in [[0xFF, 0xFE], Array(Self.file().utf8) + [0]] as [[UInt8]] {
      let path = try folder.write("bad.toml", bytes)
      #expect(message(path).hasPrefix("\(path): is not UTF-8 text"))
    }
  }

  @Test("options replace what the file says, later ones win")
  func overrides() throws {
    let config = try Self.config(set: [
      "model.width=32", "model.axial_widths=[16,16]", "optimizer.learning_rate=1e-3",
      "optimizer.schedule=rsqrt", "model.layers=[lsh, full]", "run.name=12",
      "data.corpus=/data/my books/a=b.txt", "run.steps=5", "run.steps = 7", "run.threads=auto",
      "attention.lsh.buckets=[4, 4]", "run.keep_activations=true", "model.activation=\"gelu\"",
    ])
    #expect(config.model.width == 32)
    #expect(config.model.axialWidths == [16, 16])
    #expect(config.optimizer.learningRate == 1e-3)
    #expect(config.optimizer.schedule == .rsqrt)
    #expect(config.model.layers == [.lsh, .full])
    #expect(config.run.name == "12")
    #expect(config.data.corpus == "/data/my books/a=b.txt")
    #expect(config.run.steps == 7)
    #expect(config.run.threads == 0)
    #expect(config.attention.lsh.buckets == [4, 4])
    #expect(config.run.keepActivations)
    #expect(config.model.activation == .gelu)
  }

  @Test("an option may give a required key that the file lacks")
  func overrideRequired() throws {
    #expect(try Self.config(["run.steps": ""], set: ["run.steps=3"]).run.steps == 3)
  }

  @Test(
    "a wrong option is named",
    arguments: [
      ("model.layrs=3", "--set model.layrs=3: unknown key model.layrs = 3; did you mean"),
      ("model.width=wide", "model.width = \"wide\"; legal values: a whole number"),
      ("run.steps=0", "--set run.steps=0: run.steps = 0; legal values: a whole number from 1"),
      ("model.width", "has no \"=\""),
      ("model.width=3\nmodel.heads = 2", "model.width = "),
      ("=3", "unknown key"),
      ("model.positions=rotary", "a.toml: model.axial_shape = [64, 64]; legal values: none with"),
      ("model.positions=infused", "a.toml: model.axial_shape = [64, 64]; legal values: none with"),
      ("model.width=48", "a.toml: model.axial_widths = [16, 48]; legal values:"),
    ])
  func wrongOverride(option: String, expected: String) {
    let text = Self.message(Self.file(), [option])
    #expect(text.contains(expected), "\(text)")
    #expect(!text.contains("\n"))
  }

  @Test("the resolved file lists every key and reads back to the same config")
  func resolved() throws {
    let config = try Self.config([
      "data.corpus": #""a \"quoted\" \\ path \u007f\t.txt""#, "optimizer.epsilon": "1e-9",
      "optimizer.learning_rate": "6e-4", "run.threads": "\"auto\"", "run.memory_budget_gb": "16",
    ])
    let text = config.toml
    #expect(try RunConfig(toml: text, file: "config.toml") == config)
    #expect(try RunConfig(toml: text, file: "config.toml").toml == text)
    for line in [
      "[model]", "[attention.lsh]", "heads_per_group = 4", "learning_rate = 0.0006",
      "threads = \"auto\"", "buckets = [128]", "layers = [\"local\", \"lsh\"]", "keep = 2",
    ] {
      #expect(text.split(separator: "\n").contains(Substring(line)), "\(line)")
    }
    // A list of tables has as many as there are entries: none here, two below.
    for section in ConfigSection.all where !section.isListOfTables {
      let lines = text.split(separator: "\n").drop { $0 != "[\(section.name)]" }.dropFirst()
      #expect(
        lines.prefix { $0.contains(" = ") }.map { $0.prefix { $0 != " " } }
          == section.keys.map(\.lastName))
    }
    #expect(!text.contains("[["))
    let mix =
      text.replacing(/corpus = .*/, with: "corpus = []") + """
        [[data.mix]]
        name = "a"
        path = ["x", "corpus:y"]
        weight = 2.0
        [[data.mix]]
        name = "b"
        path = "z"
        weight = 1
        """
    let mixed = try RunConfig(toml: mix, file: "config.toml")
    #expect(mixed.data.mix.path == [CorpusPaths(["x", "corpus:y"]), "z"])
    #expect(mixed.data.mix.weight == [2, 1] && mixed.data.mix.name == ["a", "b"])
    #expect(try RunConfig(toml: mixed.toml, file: "config.toml") == mixed)
  }

  @Test("the global batch is a multiple of the ranks")
  func ranks() throws {
    let config = try Self.config(["run.global_batch": "6"])
    for ranks in [1, 2, 3, 6] { try config.validate(ranks: ranks) }
    do throws(ConfigError) {
      try config.validate(ranks: 4)
      Issue.record("6 windows were shared among 4 ranks")
    } catch {
      #expect(
        error.description
          == "run.global_batch = 6; legal values: a multiple of the number of ranks, 4")
    }
  }
}
