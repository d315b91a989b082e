// Memory of a rank, from the config alone. `plan` prints it, `train` refuses what does not fit.
import Attention
import Communication
import Compute
import Optimizers
import Reformer

/// Predicted memory of one rank, in bytes.
public struct MemoryPlan: Codable, Sendable {
  /// Parameters.
  public let parametersBytes: Int
  /// Gradient, with the partial sums of the rank's samples.
  public let gradientsBytes: Int
  /// The optimizer's moments, and the average of the parameters where one is kept, this rank's share.
  public let momentsBytes: Int
  /// Buffers that receive other ranks' gradients, and for this rank's own where they are rounded.
  public let reductionBytes: Int
  /// The two residual streams and their gradients.
  public let streamsBytes: Int
  /// Scratch of the largest sub-layer.
  public let scratchBytes: Int
  /// Activations stored by `keep_activations`, and with plain residuals.
  public let keptBytes: Int
  /// What layers carry over of this rank's streams, before and after a step.
  public let streamMemoryBytes: Int
  /// Copies that `background_checkpoints` writes from.
  public let snapshotBytes: Int
  /// For the samples of `run.sample_bytes`, which are written by an engine of their own.
  public let samplingBytes: Int
  /// Program, libraries and MPI.
  public let programBytes: Int
  /// Peak resident memory: the sum of all.
  public var peakRssBytes: Int {
    parametersBytes + gradientsBytes + momentsBytes + reductionBytes + streamsBytes
      + scratchBytes + keptBytes + streamMemoryBytes + snapshotBytes + samplingBytes + programBytes
  }

  /// Program text, Swift and BLAS libraries and their buffers; measured, see docs/design.md.
  static let soloProgramBytes = 30 << 20
  /// What MPI adds to a rank.
  static let mpiBytes = 14 << 20

  /// Passes over a sample by one thread; strict models also keep their weights laid out, and keys and values.
  private static func samplingBytes(_ config: RunConfig) -> Int {
    var config = config.data.task == .pairs ? config : TextSample.shortened(config)
    config.run.sampleBytes = 0
    let passes = MemoryPlan(config, ranks: 1, threads: 1)
    let model = config.reformer
    let isStrict = model.layers.allSatisfy(\.isStrictlyCausal)
    let kept =
      model.parameterLayout.count + 2 * model.layers.count * model.positions * model.heads
      * model.headWidth
    return passes.streamsBytes + passes.scratchBytes
      + (isStrict ? kept * MemoryLayout<Float>.size : 0)
  }

  /// Plans the rank of `ranks` that needs most, with `threads` threads.
  public init(_ config: RunConfig, ranks: Int, threads: Int) {
    let model = config.reformer
    let layout = model.parameterLayout
    let float = MemoryLayout<Float>.size
    let samples = config.stages.reduce(1) { max($0, ($1.windows + ranks - 1) / ranks) }
    parametersBytes = layout.parameterBufferCount * float
    gradientsBytes = Self.bytes(
      Double(layout.count) * Double(GradientAccumulator.bufferCount(samples: samples)))
    let shares = config.groupShares
    let averages = config.optimizer.average > 0
    // Rank 0 owns most parameters; where groups are owned whole, another may have more moments.
    let owned = (0..<(shares == .cut ? 1 : min(ranks, layout.groups.count))).map { rank in
      let ranges = GradientReduction.ownedRanges(
        layout: layout, rank: rank, ranks: ranks, shares: shares)
      let pieces = OptimizerPieces(kind: config.optimizer.kind, layout: layout, ranges: ranges)
      return (
        numbers: pieces.momentCount + (averages ? LayoutShard.count(ranges) : 0),
        scratch: pieces.scratchCount
      )
    }
    momentsBytes = (owned.map(\.numbers).max() ?? 0) * float
    reductionBytes =
      ranks == 1
      ? 0
      : GradientReduction.bufferBytes(
        layout: layout, ranks: ranks, shares: shares, wire: config.run.wire)
    let (length, width) = (model.length, model.width)
    let positions = model.positions
    // The encoder's output and its gradient beside both.
    streamsBytes = 16 * positions * width + 20 * positions + 8 * model.sourceLength * width

    let heads = model.headsPerGroup
    let features = heads * model.headWidth
    let hidden = model.feedForwardWidth * (model.activation == .relu ? 1 : 2)
    let longest = max(length, model.sourceLength)
    let block = min(longest, Tiling.blockRows)
    // In floats: weights laid out in bf16 take half of one, and a thread has both forms of a tile at hand.
    let isBF16 = model.precision == .bf16
    func laidOut(_ weights: Int) -> Int { isBF16 ? weights / 2 : weights }
    var attention = 0
    let widest = max(model.feedForwardWidth, model.vocabulary)
    var perThread =
      Tiling.tileRows
      * ((model.tokenShift ? 5 : 4) * width + 2 * widest + (isBF16 ? widest / 2 : 0))
    perThread = max(perThread, owned.map(\.scratch).max() ?? 0)
    var activations = 0.0
    // In strips.
    let activated =
      Packed<Float>.count(longest, width) + hidden / model.feedForwardWidth
      * Packed<Float>.count(longest, model.feedForwardWidth)
    for (layer, length) in model.attentions {
      let projections = layer.projections.count
      let own = layer.seesWindow ? projections : 1
      let carried = 2 * layer.carriedRows * features
      let group =
        length * (own + 1) * features + carried
        + layer.savedFloats(length: length, heads: heads)
      let scratch = layer.scratch(length: length, heads: heads, headWidth: model.headWidth)
      let gradients = own * length * features + carried
      // Gradients of the group's output flow in, those of its projections out.
      let backward = gradients + length * features + scratch.shared
      let packed = laidOut(projections * features * width)
      let inputs = model.infusesPositions ? 2 * width : width
      let projecting = gradients + packed + block * (inputs + projections * features)
      attention = max(
        attention,
        group + max(scratch.shared, packed, backward, projecting)
          + Self.compressing(layer.carried, model))
      perThread = max(perThread, scratch.perThread)
      activations += Double(model.heads / heads * group + length * width)
      if layer.seesWindow { activations += Double(longest * width + activated) }
    }
    let feedForward =
      laidOut(4 * width * model.feedForwardWidth)
      + block * (2 * width + hidden + model.feedForwardWidth)
    let head =
      4 * width * model.vocabulary + block * (2 * width + model.vocabulary)
      + model.ngrams.scratch(length: length, vocabulary: model.vocabulary)
    let embedding = 2 * min(positions, Tiling.blockRows) * width
    let largest = max(attention, feedForward, head, embedding) + model.positionFloats
    scratchBytes = Self.bytes(Double(largest) + Double(threads) * Double(perThread))
    let keeps = config.run.keepActivations || model.residual == .plain
    keptBytes = keeps ? Self.bytes(activations) : 0
    let streamBytes = samples * model.streamMemoryBytes
    // Beside them, that of the stream which an evaluation reads.
    streamMemoryBytes = 2 * (streamBytes + model.streamMemoryBytes)
    snapshotBytes =
      config.run.backgroundCheckpoints ? parametersBytes + momentsBytes + streamBytes : 0
    samplingBytes = config.run.sampleBytes > 0 ? Self.samplingBytes(config) : 0
    programBytes = Self.soloProgramBytes + (ranks > 1 ? Self.mpiBytes : 0)
  }

  /// Floats of what leaves a layer's memory, and of reading it and what it becomes.
  private static func compressing(_ carried: CarriedRows, _ model: ReformerConfig) -> Int {
    guard carried.compressed > 0 else { return 0 }
    let (heads, features) = (model.headsPerGroup, model.headsPerGroup * model.headWidth)
    let rows = min(carried.compressed, model.length / carried.ratio)
    let states = rows * carried.ratio
    let layer = EveryKeyAttention(keys: states)
    let scratch = layer.scratch(length: model.length, heads: heads, headWidth: model.headWidth)
    let saved = layer.savedFloats(length: model.length, heads: heads)
    return (states + 2 * rows) * model.width + 2 * (saved + states * features)
      + (3 * model.length + 4 * rows) * features + scratch.shared
  }

  /// Bytes of so many floats; the largest sizes that a config may have would overflow 64 bits.
  private static func bytes(_ floats: Double) -> Int {
    Int(min(floats * Double(MemoryLayout<Float>.size), 0x1p58))
  }
}
