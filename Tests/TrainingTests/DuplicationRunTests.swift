// Whole runs of data.task = "duplication": what is scored, against a slow reference; the same bits however a run is cut;
// and what the task does not go with.
import Communication
import Compute
import Corpus
import Foundation
import Reformer
import TestSupport
import Testing
import Training

@Suite("Runs of the duplication task", .serialized)
struct DuplicationRunTests {
  let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private static let keys = [
    "data.task=duplication", "data.corpus=[]", "model.ngrams.orders=[]", "run.evaluate_bytes=900",
  ]
  private static let task = keys.flatMap { ["--set", $0] }

  private func train(_ name: String, ranks: Int? = nil, _ more: [String] = []) throws -> ProgramRun
  {
    let run = try tiny.train(name, ranks: ranks, Self.task + more)
    try #require(run.status == 0, "\(run.output)")
    return run
  }

  private func command(_ arguments: [String], ranks: Int? = nil) throws -> ProgramRun {
    try ProgramRun("reformer-train", ranks: ranks, arguments: arguments)
  }

  private struct Line: Decodable, Equatable {
    let step: Int
    let loss_nats, prequential_bits_per_byte: Double?
    let validation_bits_per_byte, validation_accuracy: Double?
    let validation_bytes: Int?
  }

  private func lines(_ name: String) throws -> [Line] {
    try String(contentsOfFile: tiny.output(name) + "/metrics.jsonl", encoding: .utf8)
      .split(separator: "\n").map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
  }

  /// Sum of the loss of the second word in nats, and how many of its symbols have the largest logit, by all logits of a
  /// window, in double precision.
  private func reference(
    _ model: ReformerModel, _ parameters: View<Float>, _ bytes: [UInt8], _ address: RandomAddress
  ) throws -> (nats: Double, hits: Int) {
    let (length, offset) = (bytes.count - 1, model.config.byteOffset)
    let buffer = Buffer<Float>(length * model.config.vocabulary)
    let logits = Matrix(buffer.view, rows: length, columns: model.config.vocabulary)
    _ = try model.loss(
      parameters: parameters, window: Window(bytes: bytes, byteOffset: offset), address: address,
      logits: logits)
    var (nats, hits) = (0.0, 0)
    // Position p predicts byte p + 1, and the second word begins after the second 0.
    for position in length / 2..<length - 1 {
      let row = logits.row(position).array.map(Double.init)
      let target = Int(bytes[position + 1]) + offset
      let largest = row.max() ?? 0
      nats += largest + log(row.reduce(0) { $0 + exp($1 - largest) }) - row[target]
      hits += row.firstIndex(of: largest) == target ? 1 : 0
    }
    return (nats, hits)
  }

  @Test("loss and accuracy are those of the second word, by all logits", arguments: [0, 2])
  func scores(byteOffset: Int) throws {
    let config = try RunConfig.load(
      file: tiny.config,
      overrides: Self.keys + ["model.byte_offset=\(byteOffset)", "model.vocabulary=260"])
    let model = try ReformerModel(config: config.reformer, engine: Engine(threads: 2))
    let parameters = Buffer<Float>(model.layout.parameterBufferCount)
    model.layout.initialise(parameters.view, seed: 5)
    // Large enough that some symbols are found, and probabilities differ.
    for slot in model.layout.slots where slot.name.hasPrefix("lm_head") {
      Kernels.scale(parameters.view[slot.range], by: 40)
    }
    let corpus = ByteCorpus(DuplicatedSequences(length: 90, seed: 7))
    let evaluator = Evaluator(
      config: config, model: model,
      corpora: [MixPart(name: "made up", weight: 1, corpus: corpus)],
      communicator: SoloCommunicator())
    let score = try #require(
      try evaluator.run(
        parameters: parameters.view, split: .test, context: 90, stride: 90, limit: 100 * 90))
    var (nats, hits) = (0.0, 0)
    let start = corpus.range(of: .test).lowerBound
    for number in 0..<100 {
      let bytes = try corpus.bytes(in: start + number * 90..<start + number * 90 + 91)
      let own = try reference(
        model, parameters.view, bytes,
        RandomAddress(seed: UInt64(config.run.seed), step: .max, sample: UInt64(number)))
      (nats, hits) = (nats + own.nats, hits + own.hits)
    }
    #expect(score.bytes == 4400 && hits > 0)
    #expect(abs(score.bitsPerByte - nats / log(2) / 4400) < 1e-5 * score.bitsPerByte)
    #expect(score.accuracy == Double(hits) / 4400)
    #expect(score.positions.reduce(0) { $0 + $1.bytes } == 4400)
    #expect(score.positions.first?.seenFrom == 32, "the second word begins at 46")
  }

  @Test("a step's loss is the mean over the second words of its windows")
  func trainingLoss() throws {
    let plain = [
      "model.dropout=0", "model.attention_dropout=0", "run.global_batch=2", "run.threads=1",
    ]
    _ = try train("run", ["--steps", "1"] + plain.flatMap { ["--set", $0] })
    let config = try RunConfig.load(file: tiny.config, overrides: Self.keys + plain)
    let model = try ReformerModel(config: config.reformer, engine: Engine(threads: 1))
    let parameters = Buffer<Float>(model.layout.parameterBufferCount)
    model.layout.initialise(parameters.view, seed: UInt64(config.run.seed))
    let corpus = ByteCorpus(DuplicatedSequences(length: 90, seed: UInt64(config.run.seed)))
    let plan = try BatchPlan(corpus: corpus, length: 90, seed: UInt64(config.run.seed))
    let nats = try (0..<2).reduce(0.0) { sum, sample in
      try sum
        + reference(
          model, parameters.view, corpus.bytes(in: plan.window(sample: sample)),
          RandomAddress(seed: UInt64(config.run.seed), step: 1, sample: UInt64(sample))
        ).nats
    }
    let loss = try #require(try lines("run").first?.loss_nats)
    #expect(abs(loss - nats / 88) < 1e-5 * loss)
    let score = try #require(try lines("run").first?.prequential_bits_per_byte)
    #expect(abs(score - loss / log(2)) < 1e-9 * score)
  }

  @Test(
    "ranks, threads and interruptions do not enter the bits, and lines say the accuracy",
    .needs(.mpirun))
  func sameBits() throws {
    let whole = try train("whole")
    #expect(whole.output.contains("sequences 0w0w of 90 bytes, windows of 90 bytes"))
    #expect(whole.output.contains(/step 20 .*bits\/byte over 440.0 B .*, accuracy \d/))
    func figures(_ name: String) throws -> [Line] {
      try lines(name).filter {
        $0.loss_nats != nil || ($0.step == 20 && $0.validation_bytes != nil)
      }
    }
    let expected = try figures("whole")
    #expect(expected.count == 21 && expected.last?.validation_bytes == 440)
    #expect(expected.last?.validation_accuracy != nil)
    for (ranks, threads, cut) in [(2, 2, 7), (4, 1, 13)] {
      let name = "ranks\(ranks)"
      let more = ["--set", "run.threads=\(threads)", "--resume", "auto"]
      _ = try train(name, ranks: ranks, more + ["--steps", "\(cut)"])
      _ = try train(name, more)
      #expect(try tiny.digest(name) == tiny.digest("whole"))
      #expect(try figures(name) == expected)
    }
    let other = try tiny.train(
      "whole", Self.task + ["--resume", "auto", "--set", "run.seed=2"])
    #expect(other.status == 2 && other.output.contains("run.seed"), "\(other.output)")
  }

  @Test("evaluate says accuracy, of the trained kind of attention and of others, at any ranks")
  func evaluate() throws {
    _ = try train("run", ["--set", "model.layers=[lsh]", "--steps", "3"])
    let run = tiny.output("run")
    let text = try command(["evaluate", run, "--hashes", "1,2", "--bytes", "1800"])
    #expect(
      text.output.matches(of: /bits\/byte, accuracy \d+\.\d\d % over 880 bytes/).count == 2,
      "\(text.output)")
    let figure = /"(accuracy|bits_per_byte)" : [^,]+,/
    let one = try command(["evaluate", run, "--bytes", "1800", "--json"])
    let figures = one.output.matches(of: figure).map(\.output.0)
    #expect(figures.count > 2 && one.output.contains("\"accuracy_by_seed\""), "\(one.output)")
    if ProgramRun.mpirun != nil {
      let three = try command(["evaluate", run, "--bytes", "1800", "--json"], ranks: 3)
      #expect(three.output.matches(of: figure).map(\.output.0) == figures, "\(three.output)")
    }
    // One chunk that holds everything is full attention, with the same parameters.
    func bits(_ changes: [String]) throws -> Substring {
      let run = try command(
        ["evaluate", run, "--bytes", "1800"] + changes.flatMap { ["--set", $0] })
      return try #require(run.output.firstMatch(of: /\d\.\d+ bits\/byte/)?.output, "\(run.output)")
    }
    let whole = try bits(["attention.lsh.chunk=90"])
    let full = try bits(["model.layers=[full]", "attention.full.shared_query_key=true"])
    #expect(try whole == full && whole != bits([]))
    // A text is scored as any model would.
    let other = try command(["evaluate", run, "--corpus", tiny.folder.path("corpus")])
    #expect(other.status == 0 && !other.output.contains("accuracy"), "\(other.output)")
    #expect(other.output.contains("over \(TinyRun.text().utf8.count - 1) bytes"), "\(other.output)")
  }

  @Test("audit, generate, plan and reports go on working; compressors have nothing to do")
  func otherCommands() throws {
    _ = try train("run", ["--steps", "3"])
    let run = tiny.output("run")
    let page = try String(contentsOfFile: run + "/report.html", encoding: .utf8)
    #expect(page.contains("Accuracy"))
    for arguments in [
      ["audit", run, "--windows", "1"], ["generate", run, "--prompt", "ab", "--bytes", "3"],
      ["plan", "--config", tiny.config] + Self.task, ["inspect", run], ["report", run],
    ] {
      let done = try command(arguments)
      #expect(done.status == 0, "\(arguments): \(done.output)")
    }
    let compressed = try command(["report", run, "--compressors"])
    #expect(compressed.status == 2, "\(compressed.output)")
    #expect(compressed.output.contains("leave --compressors out"), "\(compressed.output)")
    let cut = try command(["evaluate", run, "--stride", "10"])
    #expect(cut.status == 2 && cut.output.contains("legal values: data.length, 90"))
    let seed = try command(["evaluate", run, "--set", "run.seed=9"])
    #expect(seed.status == 2 && seed.output.contains("data.task = \"duplication\" is"))
  }

  @Test(
    "what does not go with it is refused in a line",
    arguments: [
      (["data.corpus=x"], "data.task = \"duplication\"; legal values: bytes with data.corpus"),
      (["data.length=91"], "data.length = 91; legal values: even numbers from 4"),
      (["data.block=180"], "data.block = 180"), (["data.order=streams"], "data.order"),
      (["data.split=[0.8,0.1,0.1]"], "data.split"),
      (["model.ngrams.orders=[2]"], "model.ngrams.orders"),
      (["run.sample_bytes=5"], "run.sample_bytes"),
      (
        [
          "data.length_schedule.share=[0.5]", "data.length_schedule.length=[30]",
          "data.length_schedule.windows=[1]",
        ], "data.length_schedule.length"
      ),
      (["data.task=bytes"], "data.corpus"), (["data.task=copy"], "records\" or \"duplication"),
    ])
  func refused(changes: [String], says: String) throws {
    let run = try tiny.train("run", Self.task + changes.flatMap { ["--set", $0] })
    #expect(run.status == 2 && run.output.contains(says), "\(run.output)")
    #expect(run.output.split(separator: "\n").count == 1, "\(run.output)")
    #expect(!FileManager.default.fileExists(atPath: tiny.output("run")))
  }
}
