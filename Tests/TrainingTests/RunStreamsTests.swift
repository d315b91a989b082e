// What becomes of the streams' memory with each outcome of a step, and whose it is.
import Compute
import Corpus
import Reformer
import TestSupport
import Testing
import Training

@Suite("Memory of streams, step by step")
struct RunStreamsTests {
  let config: RunConfig
  let model: ReformerModel
  let parameters: Buffer<Float>

  init() throws {
    let tiny = try TinyRun()
    config = try RunConfig.load(
      file: tiny.config,
      overrides: [
        "data.order=streams", "model.layers=[memory, memory]", "model.positions=rotary",
        "model.axial_shape=[]", "model.axial_widths=[]", "attention.memory.rows=60",
        "attention.memory.compressed=20", "attention.memory.ratio=3",
      ])
    withExtendedLifetime(tiny) {}
    model = try ReformerModel(config: config.reformer, engine: Engine(threads: 1))
    parameters = Buffer(model.layout.parameterBufferCount)
    model.layout.initialise(parameters.view, seed: 3)
  }

  /// The losses of a step's windows, each with what its stream carries over; the step then ends like this.
  private func step(
    _ number: Int, _ outcome: StepOutcome, _ streams: RunStreams, rank: Int = 0, ranks: Int = 1,
    isContinued: Bool = true
  ) throws -> [Double] {
    let losses = try config.stepPlan.samples(step: number, rank: rank, ranks: ranks).map {
      let bytes = madeUpTokens(91, vocabulary: 256, seed: UInt64($0.index)).map(UInt8.init)
      return try model.loss(
        parameters: parameters.view,
        window: Window(bytes: bytes, byteOffset: 0, isContinued: isContinued && number > 1),
        address: RandomAddress(seed: 1, step: 1, sample: 1), memory: streams.memory(of: $0))
    }
    streams.settle(outcome)
    return losses
  }

  @Test("an abandoned step leaves all as it was; after a skipped one streams begin anew")
  func outcomes() throws {
    let undisturbed = RunStreams(config, rank: 0, ranks: 1)
    let streams = RunStreams(config, rank: 0, ranks: 1)
    for number in 1...2 {
      #expect(
        try step(number, .applied, undisturbed) == step(number, .applied, streams))
    }
    for number in [3, 7] { _ = try step(number, .abandoned, streams) }
    let third = try step(3, .applied, undisturbed)
    #expect(try step(3, .applied, streams) == third)
    _ = try step(4, .skipped(""), streams)
    let fifth = try step(5, .applied, streams)
    let fresh = RunStreams(config, rank: 0, ranks: 1)
    #expect(try step(5, .applied, fresh, isContinued: false) == fifth)
    #expect(try step(5, .applied, undisturbed) != fifth)
    // And go on from there.
    #expect(try step(6, .applied, fresh) == step(6, .applied, streams))
  }

  @Test("a stream is a place in the step, whichever rank has it")
  func ranks() throws {
    let whole = RunStreams(config, rank: 0, ranks: 1)
    let parts = (0..<2).map { RunStreams(config, rank: $0, ranks: 2) }
    for number in 1...3 {
      let shares = try (0..<2).map {
        try step(number, .applied, parts[$0], rank: $0, ranks: 2)
      }
      #expect(try step(number, .applied, whole) == shares.flatMap { $0 })
    }
  }
}
