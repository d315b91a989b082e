// What a step costs, from the config alone: useful floating-point operations and memory. `plan` prints it,
// `benchmark` compares it with what was measured.
import Attention
import Communication
import Compute
import Reformer

/// Useful operations of a training step on one window: multiply and add count as two.
///
/// Counted are matrix products: forward, the one recomputation of the reversible layers, and the two products
/// of each gradient. Norms, softmax, sorting and gathers are not, nor are products that flash attention
/// does once more.
public struct FlopCount: Sendable {
  /// Forward pass of one window through embedding, blocks and head.
  public let forward: Double
  /// A training step's operations in each phase that has any.
  public let phases: [Phase: Double]
  /// A whole training step of one window.
  public var step: Double { phases.values.reduce(0, +) }

  /// Counts for windows of `config.length`.
  public init(_ config: ReformerConfig) {
    let length = Double(config.length)
    let (width, features) = (Double(config.width), Double(config.heads * config.headWidth))
    let head = 2 * length * 2 * width * Double(config.vocabulary)
    let feedForward = 4 * length * width * Double(config.feedForwardWidth)
    var forward = head
    // Of what is computed forward, recomputed and differentiated by its input; a product's gradient by its
    // weight is one more.
    var phases: [Phase: Double] = [.loss: 2 * head, .weightGradients: head]
    for kind in config.layers {
      let count = kind == .lsh || (kind == .full && config.fullSharedQueryKey) ? 3.0 : 4.0
      let projections = 2 * length * width * features * count
      // Queries times keys; probabilities times values are as many.
      var scores = 0.0
      var hash = 0.0
      switch kind {
      case .full:
        scores = length * length * features
      case .local:
        let window = Double(config.local.chunk * (config.local.chunksBefore + 1))
        scores = 2 * length * min(window, length) * features
      case .lsh:
        let window = Double(config.lsh.chunk * (config.lsh.chunksBefore + 1))
        scores = 2 * length * Double(config.lsh.hashes) * min(window, length) * features
        if config.length > config.lsh.chunk {
          hash = 2 * length * features * Double(config.lsh.hashes * config.lsh.rotationWidth)
        }
      }
      forward += projections + feedForward + 2 * scores + hash
      // Hashing has no gradient but is recomputed; attention has two inputs to each product.
      for (phase, operations) in [
        (Phase.projections, 3 * projections), (.feedForward, 3 * feedForward),
        (.weightGradients, projections + feedForward), (.scores, 4 * scores),
        (.values, 4 * scores), (.hash, 2 * hash),
      ] {
        phases[phase, default: 0] += operations
      }
    }
    self.forward = forward
    self.phases = phases
  }
}

/// Predicted memory of one rank, in bytes (DESIGN section 4).
public struct MemoryPlan: Codable, Sendable {
  /// Parameters.
  public let parametersBytes: Int
  /// Gradient, with the partial sums of the rank's samples.
  public let gradientsBytes: Int
  /// Adam's two moments, this rank's share.
  public let momentsBytes: Int
  /// Buffers that receive other ranks' gradients.
  public let reductionBytes: Int
  /// The two residual streams and their gradients.
  public let streamsBytes: Int
  /// Scratch of the largest sub-layer.
  public let scratchBytes: Int
  /// Activations stored by `keep_activations`.
  public let keptBytes: Int
  /// Copies that `background_checkpoints` writes from.
  public let snapshotBytes: Int
  /// Program, libraries and MPI.
  public let programBytes: Int
  /// Peak resident memory: the sum of all.
  public var peakRssBytes: Int {
    parametersBytes + gradientsBytes + momentsBytes + reductionBytes + streamsBytes + scratchBytes
      + keptBytes + snapshotBytes + programBytes
  }

  /// Program text, Swift and BLAS libraries and their buffers; measured, see docs/design.md.
  static let soloProgramBytes = 37 << 20
  /// What MPI adds to a rank.
  static let mpiBytes = 14 << 20

  /// Plans rank 0 of `ranks`, which needs most, with `threads` threads.
  public init(_ config: RunConfig, ranks: Int, threads: Int) {
    let model = config.reformer
    let layout = model.parameterLayout
    let float = MemoryLayout<Float>.size
    let samples = config.run.globalBatch / ranks
    parametersBytes = layout.count * float
    gradientsBytes = layout.count * float * GradientAccumulator.bufferCount(samples: samples)
    momentsBytes =
      2 * float
      * GradientReduction.ownedRanges(layout: layout, rank: 0, ranks: ranks)
      .reduce(0) { $0 + $1.count }
    reductionBytes = ranks == 1 ? 0 : GradientReduction.bufferBytes(layout: layout, ranks: ranks)
    let (length, width) = (model.length, model.width)
    streamsBytes = 16 * length * width + 20 * length

    let heads = model.headsPerGroup
    let features = heads * model.headWidth
    let hidden = model.feedForwardWidth * (model.activation == .relu ? 1 : 2)
    let block = min(length, Tiling.blockRows)
    var attention = 0
    var perThread =
      Tiling.tileRows * (4 * width + 2 * max(model.feedForwardWidth, model.vocabulary))
    var kept = 0
    for layer in model.attentionLayers {
      let projections = layer.projections.count
      let group = layer.activationFloats(length: length, heads: heads, headWidth: model.headWidth)
      let scratch = layer.scratchFloats(length: length, heads: heads, headWidth: model.headWidth)
      let gradients = projections * length * features
      // Gradients of the group's output flow in, those of its projections out.
      let backward = gradients + length * features + scratch.shared
      let packed = projections * features * width
      let projecting = gradients + packed + block * (width + projections * features)
      attention = max(attention, group + max(scratch.shared, packed, backward, projecting))
      perThread = max(perThread, scratch.perThread)
      kept += model.heads / heads * group + 2 * length * width
      kept += length * (width + hidden)
    }
    let feedForward =
      4 * width * model.feedForwardWidth
      + block * (2 * width + hidden + model.feedForwardWidth)
    let head = 4 * width * model.vocabulary + block * (2 * width + model.vocabulary)
    let embedding = 2 * block * width
    scratchBytes = float * (max(attention, feedForward, head, embedding) + threads * perThread)
    kept *= float
    keptBytes = config.run.keepActivations ? kept : 0
    snapshotBytes = config.run.backgroundCheckpoints ? parametersBytes + momentsBytes : 0
    programBytes = Self.soloProgramBytes + (ranks > 1 ? Self.mpiBytes : 0)
  }
}
