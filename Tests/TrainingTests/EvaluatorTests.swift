// Evaluation over ranks: which bytes a window sees, one figure at any number of ranks, and whose fault it is when it
// fails.
import Communication
import Compute
import Corpus
import Foundation
import Reformer
import TestSupport
import Testing
import Training

@Suite("Evaluator")
struct EvaluatorTests: Sendable {
  let tiny: TinyRun
  let config: RunConfig

  init() throws {
    tiny = try TinyRun()
    // Without hashing, a loss depends on the window alone.
    config = try RunConfig.load(file: tiny.config, overrides: ["model.layers=[\"local\"]"])
  }

  private func evaluator(
    _ model: ReformerModel, of path: String, _ communicator: any Communicator = SoloCommunicator()
  ) throws -> Evaluator {
    Evaluator(
      config: config, model: model,
      corpora: [MixPart(name: "c", weight: 1, corpus: try ByteCorpus(path: path))],
      communicator: communicator)
  }

  private func model() throws -> (ReformerModel, Buffer<Float>) {
    let model = try ReformerModel(config: config.reformer, engine: Engine(threads: 1))
    let parameters = Buffer<Float>(model.layout.parameterBufferCount)
    model.layout.initialise(parameters.view, seed: 5)
    return (model, parameters)
  }

  @Test(
    "windows side by side carry nothing over, the short last one neither; others what they say",
    arguments: [(90, 90, 0), (64, 64, 0), (90, 60, 30), (64, 63, 1)])
  func carried(context: Int, stride: Int, carried: Int) throws {
    let (model, parameters) = try model()
    let path = tiny.folder.path("corpus")
    let corpus = try ByteCorpus(path: path)
    let start = corpus.range(of: .validation).lowerBound
    // Two whole windows and five bytes of a third.
    let limit = 2 * stride + 5
    var nats = 0.0
    for place in Swift.stride(from: 0, to: limit, by: stride) {
      let before = min(place, carried)
      let end = min(place + stride, limit)
      let bytes = try corpus.bytes(in: start + place - before..<start + end + 1)
      nats += try model.loss(
        parameters: parameters.view,
        window: Window(bytes: bytes, byteOffset: 0) { $0 > before },
        address: RandomAddress(seed: 0, step: 0, sample: 0))
    }
    let score = try evaluator(model, of: path).run(
      parameters: parameters.view, split: .validation, context: context, stride: stride,
      limit: limit)
    #expect(score?.bitsPerByte == nats / Double(limit) / log(2))
    #expect(score?.bytes == limit)
  }

  @Test("the reason of any rank is told on all, and the figure that is not finite by its bytes")
  func failures() throws {
    let text = TinyRun.text(bytes: 4000)
    for name in ["0", "1", "2"] { try tiny.folder.write(name, text: text) }
    func errors(_ spoil: @escaping @Sendable (Int, View<Float>) throws -> Void) throws -> [String] {
      try ThreadedCommunicator.run(ranks: 3) { [self] communicator in
        let (model, parameters) = try model()
        let path = tiny.folder.path("\(communicator.rank)")
        let evaluator = try evaluator(model, of: path, communicator)
        try spoil(communicator.rank, parameters.view)
        do {
          _ = try evaluator.run(
            parameters: parameters.view, split: .validation, context: 40, stride: 40, limit: 0)
          return "none"
        } catch {
          return "\(runExitCode(error)) \(isOfAllRanks(error)) \(error)"
        }
      }
    }
    let unreadable = try errors { rank, _ in
      if rank == 2 { try FileManager.default.removeItem(atPath: tiny.folder.path("2")) }
    }
    #expect(Set(unreadable).count == 1, "\(unreadable)")
    #expect(unreadable[0].hasPrefix("2 true rank 2: evaluation: "), "\(unreadable)")
    #expect(unreadable[0].contains(tiny.folder.path("2")), "\(unreadable)")
    try tiny.folder.write("2", text: text)
    let notANumber = try errors { rank, parameters in
      if rank == 1 { parameters.fill(.nan) }
    }
    #expect(Set(notANumber).count == 1, "\(notANumber)")
    // The second window is rank 1's.
    #expect(notANumber[0].hasPrefix("1 true "), "\(notANumber)")
    #expect(
      notANumber[0].contains("rank 1: evaluation: ")
        || notANumber[0].contains("the loss of bytes 3641 to 3680 of "), "\(notANumber)")
  }
}

@Suite("Evaluation under mpirun", .serialized, .needs(.mpirun))
struct SharedEvaluationTests {
  let tiny: TinyRun

  init() throws {
    tiny = try TinyRun()
    try #require(try tiny.train("run", ["--steps", "3"]).status == 0)
  }

  private func evaluate(
    ranks: Int? = nil, _ more: [String] = [], after context: [String] = []
  ) throws -> ProgramRun {
    let own = ["evaluate", tiny.output("run")] + more
    return try ProgramRun("reformer-train", ranks: ranks, arguments: own + context)
  }

  @Test(
    "any number of ranks gives one report, the same to the last bit",
    arguments: [[], ["--split", "validation", "--stride", "7"], ["--context", "50"]])
  func figures(options: [String]) throws {
    let alone = try evaluate(options + ["--json"])
    #expect(alone.status == 0, "\(alone.output)")
    // Of the whole, and by position.
    let figure = /"bits_per_[a-z]+" : [^,]+,/
    let report = alone.output.matches(of: figure).map(\.output)
    #expect(report.count > 2, "\(alone.output)")
    for ranks in 1...3 {
      let shared = try evaluate(ranks: ranks, options + ["--json"])
      #expect(shared.status == 0, "\(shared.output)")
      #expect(
        shared.output.matches(of: figure).map(\.output) == report,
        "\(ranks) ranks: \(shared.output)")
    }
  }

  private func bitsPerByte(_ options: [String]) throws -> String {
    let run = try evaluate(options + ["--json"])
    return try #require(
      run.output.firstMatch(of: /"bits_per_byte" : ([^,]+),/)?.1, "\(run.output)"
    ).description
  }

  @Test("what is left out changes the figure: a kind, a layer, several")
  func without() throws {
    // The layers are local, lsh and full.
    let whole = try bitsPerByte([])
    let lsh = try bitsPerByte(["--without", "lsh"])
    let full = try bitsPerByte(["--without", "layer:2"])
    let both = try bitsPerByte(["--without", "layer:1", "--without", "full"])
    #expect(Set([whole, lsh, full, both]).count == 4)
    #expect(try bitsPerByte(["--without", "layer:1"]) == lsh)
    #expect(try bitsPerByte(["--without", "lsh,full"]) == both)
    let text = try evaluate(["--without", "lsh,full"]).output
    #expect(text.contains("test  without lsh, full  "), "\(text)")
  }

  @Test("what the model does not have is not left out", arguments: ["layer:3", "ngram", "lsh "])
  func withoutNothing(name: String) throws {
    let run = try evaluate(["--without", name])
    #expect(run.status == 2, "\(run.output)")
    #expect(
      run.output.contains(
        "--without \(name); this model has full, local, lsh, layer:0 to layer:2"), "\(run.output)")
  }

  @Test("ranks that are told different things, or wrong ones, end with one line and status 2")
  func wrong() throws {
    let run = try evaluate(ranks: 2, ["--context", "91"])
    #expect(run.status == 2, "\(run.output)")
    let errors = run.output.split(separator: "\n").filter { $0.hasPrefix("error: ") }
    #expect(errors.count == 1 && errors[0].contains("--context 91"), "\(run.output)")
    let other = try evaluate(
      ranks: 1,
      after: [
        ":", "-np", "1", ProgramRun.path("reformer-train"), "evaluate", tiny.output("run"),
        "--bytes", "10",
      ])
    #expect(other.status == 2, "\(other.output)")
    #expect(other.output.contains("error: rank 1 has options"), "\(other.output)")
  }
}
