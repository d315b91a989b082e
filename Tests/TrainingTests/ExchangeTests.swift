// Models that leave for transformers and come from there. Against transformers itself: launch/compare-transformers.sh.
import Foundation
import TestSupport
import Testing
import Training

@Suite("Exchange with Hugging Face", .serialized)
struct ExchangeTests {
  let tiny: TinyRun
  /// What Hugging Face has, too.
  private static let plain = [
    "--set", "model.layers=[\"local\",\"lsh\"]", "--set", "model.ngrams.orders=[]", "--set",
    "run.steps=4", "--set", "run.evaluate_every=4", "--set", "run.evaluate_bytes=500",
  ]

  init() throws { tiny = try TinyRun() }

  private func program(_ arguments: [String]) throws -> ProgramRun {
    try ProgramRun("reformer-train", arguments: arguments)
  }

  /// A trained model as an exported folder.
  private func exported() throws -> String {
    let path = tiny.output("exported")
    let run = try tiny.train("run", Self.plain)
    try #require(run.status == 0, "\(run.output)")
    let export = try program(["export", tiny.output("run"), "--to", path])
    try #require(export.status == 0, "\(export.output)")
    return path
  }

  private func names(_ path: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: path).sorted()
  }

  private func evaluate(_ path: String) throws -> Double {
    let run = try program(
      [
        "evaluate", tiny.output(path), "--context", "90", "--json", "--set",
        "data.corpus=\(tiny.folder.path("corpus"))",
      ])
    let bits = try #require(
      run.output.firstMatch(of: /"bits_per_byte" : ([\d.]+)/), "\(run.output)")
    return try #require(Double(bits.1))
  }

  @Test("what is exported is imported to the same parameters, and scores the same")
  func roundTrip() throws {
    let folder = try exported()
    #expect(try names(folder) == ["README.md", "config.json", "model.safetensors"])
    let card = try String(contentsOfFile: folder + "/README.md", encoding: .utf8)
    for part in ["Byte offset: byte b is token id b + 0.", "12006 bytes (", "after step 4"] {
      #expect(card.contains(part), "\(part): \(card)")
    }
    #expect(card.contains(/Bits per byte: \d\.\d{4} on the validation split/), "\(card)")
    let imported = try program(["import", folder, "--to", tiny.output("imported")])
    #expect(imported.status == 0, "\(imported.output)")
    #expect(try tiny.digest("imported")[0] == tiny.digest("run")[0])
    // Heads go over the sequence together, which rounds otherwise.
    #expect(abs(try evaluate("imported") - evaluate("run")) < 1e-3)

    let alone = try program(["evaluate", tiny.output("imported")])
    #expect(alone.status == 2 && alone.output.contains("--set data.corpus=PATH"), "\(alone.output)")
    let resumed = try tiny.train("other", Self.plain + ["--resume", tiny.output("imported")])
    #expect(resumed.status == 2 && resumed.output.contains("with --from"), "\(resumed.output)")
  }

  @Test(
    "what Hugging Face cannot express is refused by name, with what could be exported",
    arguments: [
      (["model.ngrams.orders=[2]"], "(model.ngrams.orders)", "model.ngrams.orders = []"),
      (["model.layers=[\"lsh\",\"full\"]"], "\"full\" layers", "local and lsh layers"),
      (
        ["attention.lsh.sight=bucket", "attention.lsh.window=3"],
        "attention.lsh.sight = \"bucket\"", "--set attention.lsh.sight=chunks"
      ),
    ])
  func refusals(changes: [String], reason: String, remedy: String) throws {
    let run = try tiny.train(
      "run", Self.plain + ["--steps", "1"] + changes.flatMap { ["--set", $0] })
    try #require(run.status == 0, "\(run.output)")
    let arguments = ["export", tiny.output("run"), "--to", tiny.output("exported")]
    let refused = try program(arguments)
    #expect(refused.status == 2, "\(refused.output)")
    #expect(refused.output.contains(reason) && refused.output.contains(remedy), "\(refused.output)")
    #expect(!FileManager.default.fileExists(atPath: tiny.output("exported")))
    guard remedy.hasPrefix("--set") else { return }
    let other = try program(
      arguments + ["--set", "attention.lsh.sight=chunks", "--set", "attention.lsh.window=0"])
    #expect(other.status == 0, "\(other.output)")
  }

  @Test("nothing that exists is written over, and nothing half written has the name")
  func newFolders() throws {
    let folder = try exported()
    let before = try names(folder)
    for arguments in [
      ["export", tiny.output("run"), "--to", folder], ["import", folder, "--to", folder],
    ] {
      let run = try program(arguments)
      #expect(run.status == 2 && run.output.contains("\(folder): exists already"), "\(run.output)")
    }
    #expect(try names(folder) == before)
    try FileManager.default.createDirectory(
      atPath: tiny.output("new.partial"), withIntermediateDirectories: false)
    let blocked = try program(["export", tiny.output("run"), "--to", tiny.output("new")])
    #expect(blocked.status == 2 && blocked.output.contains("remove it"), "\(blocked.output)")
    #expect(!FileManager.default.fileExists(atPath: tiny.output("new")))
  }

  @Test("numbers of 16 bits are converted, and it is said", arguments: ["F16", "BF16"])
  func halves(type: String) throws {
    let path = try exported()
    var folder = try ModelFolder(path)
    let name = "lm_head.bias"
    var bias = try #require(folder.tensors[name])
    // 1, -2, the smallest number below 1 in steps of 2^-7, and zeros.
    let patterns: [UInt16] = type == "F16" ? [0x3C00, 0xC000, 0x3BF0] : [0x3F80, 0xC000, 0x3F7E]
    bias.type = type
    bias.data = Data(
      patterns.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }
        + [UInt8](repeating: 0, count: bias.data.count / 2 - 6))
    folder.tensors[name] = bias
    // As transformers itself saves it.
    folder.tensors["lm_head.decoder.bias"] = nil
    try folder.write(to: tiny.output("halves"))
    let run = try program(["import", tiny.output("halves"), "--to", tiny.output("imported")])
    #expect(run.status == 0, "\(run.output)")
    #expect(
      run.output.contains("1 tensors, \(name) first, are converted from \(type) to F32"),
      "\(run.output)")
    let written = try ModelFolder(tiny.output("imported")).tensors[name]
    #expect(written?.type == "F32")
    let numbers = (written?.data ?? Data()).withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
    #expect(numbers.prefix(4) == [1, -2, 0.9921875, 0])
  }

  /// What is done to a folder, and what is said.
  struct Breakage: Sendable, CustomTestStringConvertible {
    let message: String
    let change: @Sendable (inout ModelFolder) throws -> Void
    var testDescription: String { message }
    init(_ message: String, _ change: @escaping @Sendable (inout ModelFolder) throws -> Void) {
      self.message = message
      self.change = change
    }
    /// Another value of a key.
    init(_ key: String, _ value: some Sendable, _ message: String) {
      self.init(message) { $0.config[key] = value }
    }
  }

  static let breakages = [
    Breakage("has no tensor lm_head.bias") { $0.tensors["lm_head.bias"] = nil },
    Breakage("lm_head.decoder.bias differs from lm_head.bias") {
      $0.tensors["lm_head.decoder.bias"]?.data[0] ^= 1
    },
    Breakage("holds tensor lm_head.decoder.bias") {
      $0.tensors["lm_head.decoder.bias"]?.shape = [16, 16]
    },
    Breakage("holds tensor surplus") { $0.tensors["surplus"] = $0.tensors["lm_head.bias"] },
    Breakage("tensor lm_head.bias is F32 [16, 16]; the model's config needs F32") {
      $0.tensors["lm_head.bias"]?.shape = [16, 16]
    },
    Breakage("tensor lm_head.bias is I32 [256]") { $0.tensors["lm_head.bias"]?.type = "I32" },
    Breakage("feed_forward_size", 64, "the model's config needs F32"),
    Breakage("attn_layers", ["lsh", "local"], "which the model's config needs"),
    Breakage("num_hidden_layers", 3, "num_hidden_layers = 3 is not supported"),
    Breakage("hidden_size", -8, "hidden_size: width -8; legal"),
    Breakage("hidden_size", 1 << 40, "hidden_size: width"),
    Breakage("feed_forward_size", 1 << 20, "the model's config needs F32"),
    Breakage("axial_pos_embds", false, "axial_pos_embds = false"),
    Breakage("is_decoder", false, "is_decoder = false"),
    Breakage("hash_seed", 7, "hash_seed = 7 is not supported; legal: null"),
    Breakage("sinusoidal_pos_embds", true, "sinusoidal_pos_embds = true"),
    Breakage("tie_word_embeddings", true, "tie_word_embeddings = true"),
    Breakage("model_type", "bert", "model_type = bert"),
    Breakage("architectures", ["ReformerForMaskedLM"], "architectures = "),
    Breakage("attn_layers", ["local", "full"], "attn_layers = "),
    Breakage("hidden_act", "swish", "hidden_act = swish"),
    Breakage("lsh_num_chunks_after", 1, "num_chunks_after"),
    Breakage("rotary", true, "unknown key rotary"),
    Breakage("byte_offset", 999, "byte offset 999"),
    Breakage("no key vocab_size") { $0.config["vocab_size"] = nil },
    Breakage("vocab_size", 100, "vocab_size = 100"),
  ]

  @Test("a broken folder is one line and status 2, and makes no checkpoint", arguments: breakages)
  func broken(breakage: Breakage) throws {
    var folder = try ModelFolder(Self.whole.get())
    try breakage.change(&folder)
    try folder.write(to: tiny.output("broken"))
    try expectRefused(breakage.message)
  }

  private static let whole = Result {
    let tests = try ExchangeTests()
    kept.append(tests.tiny.folder)
    return try tests.exported()
  }
  nonisolated(unsafe) private static var kept: [TemporaryFolder] = []

  private func expectRefused(_ message: String, at place: SourceLocation = #_sourceLocation) throws
  {
    let run = try program(["import", tiny.output("broken"), "--to", tiny.output("imported")])
    #expect(run.status == 2, "\(run.output)", sourceLocation: place)
    #expect(run.output.contains(message), "\(run.output)", sourceLocation: place)
    #expect(run.output.hasPrefix("error: "), "\(run.output)", sourceLocation: place)
    #expect(run.output.split(separator: "\n").count == 1, "\(run.output)", sourceLocation: place)
    #expect(try names(tiny.folder.path).allSatisfy { !$0.hasPrefix("imported") })
  }

  @Test("other forms of a model, and headers that lie, are refused in a line")
  func otherForms() throws {
    let folder = try ModelFolder(Self.whole.get())
    let broken = tiny.output("broken")
    try expectRefused("no such folder")
    try folder.write(to: broken)
    let model = URL(fileURLWithPath: broken + "/model.safetensors")
    try folder.modelFile(end: 10_000_000_000).write(to: model)
    try expectRefused("model.safetensors: tensor ")
    try (Data([0, 228, 11, 84, 2, 0, 0, 0]) + Data(count: 100)).write(to: model)
    try expectRefused("header of 10000000000 bytes in a file of 108")
    try FileManager.default.removeItem(at: model)
    try expectRefused("no model.safetensors here")
    try tiny.folder.write("broken/pytorch_model.bin", text: "x")
    try expectRefused("save_pretrained(sys.argv[2]")
  }

  @Test("tokens that are no bytes need to be told apart from those that are")
  func byteOffset() throws {
    let path = try exported()
    var folder = try ModelFolder(path)
    folder.config["byte_offset"] = nil
    folder.config["vocab_size"] = 258
    for name in [
      "lm_head.bias", "lm_head.decoder.bias", "lm_head.decoder.weight",
      "reformer.embeddings.word_embeddings.weight",
    ] {
      var tensor = try #require(folder.tensors[name])
      let row = tensor.data.count / 256
      tensor.shape[0] = 258
      tensor.data += Data(count: 2 * row)
      folder.tensors[name] = tensor
    }
    try folder.write(to: tiny.output("broken"))
    try expectRefused("--byte-offset (google/reformer-enwik8: 2)")
    // Old configs say more than transformers reads.
    folder.config["sinusoidal_pos_embds"] = false
    folder.config["num_chunks_before"] = 1
    try folder.write(to: tiny.output("broken"))
    let run = try program(
      ["import", tiny.output("broken"), "--to", tiny.output("two"), "--byte-offset", "2"])
    #expect(run.status == 0, "\(run.output)")
    let config = try String(contentsOfFile: tiny.output("two/config.json"), encoding: .utf8)
    #expect(config.contains("\"byte_offset\" : 2"), "\(config)")
    #expect(run.output.contains("not kept, as without bearing"), "\(run.output)")
    #expect(run.output.contains("num_chunks_before"), "\(run.output)")
  }
}
