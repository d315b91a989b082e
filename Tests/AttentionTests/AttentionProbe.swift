// A head group with made-up projections around one attention layer, and the naive reference for
// the same numbers.
import Attention
import Compute
import TestSupport

/// An attention kind with its sizes.
enum Kind: Sendable, CustomStringConvertible {
  case full(shared: Bool)
  case local(chunk: Int, before: Int)
  case lsh(chunk: Int, before: Int, hashes: Int, buckets: [Int])

  var layer: any AttentionLayer {
    switch self {
    case .full(let shared): FullAttention(sharesQueryKey: shared)
    case .local(let chunk, let before):
      LocalAttention(LocalAttentionSizes(chunk: chunk, chunksBefore: before))
    case .lsh(let chunk, let before, let hashes, let buckets):
      LSHAttention(
        LSHAttentionSizes(chunk: chunk, chunksBefore: before, hashes: hashes, buckets: buckets))
    }
  }

  var description: String {
    switch self {
    case .full(let shared): "full\(shared ? ", shared" : "")"
    case .local(let chunk, let before): "local \(chunk) + \(before)"
    case .lsh(let chunk, let before, let hashes, let buckets):
      "lsh \(chunk) + \(before), \(hashes) rounds, buckets \(buckets)"
    }
  }
}

/// Inputs and results of one layer over one head group.
///
/// Not for use from several threads.
final class AttentionProbe {
  let kind: Kind
  let length: Int
  let heads: Int
  let width: Int
  let layer: any AttentionLayer
  let engine: Engine
  let group: HeadGroupActivations
  /// `[L, g * K]` per projection.
  var projected: [[Float]]
  var draws: AttentionDraws
  private let arena = ScratchArena(capacity: 1 << 30)

  /// Heads `firstHead ..< firstHead + heads` of a layer, dropout off.
  init(
    _ kind: Kind, length: Int, heads: Int = 2, width: Int = 8, firstHead: Int = 0, threads: Int = 1,
    seed: UInt64 = 1
  ) {
    self.kind = kind
    self.length = length
    self.heads = heads
    self.width = width
    layer = kind.layer
    engine = Engine(threads: threads)
    group = layer.activations(length: length, heads: heads, headWidth: width, from: arena)
    projected = layer.projections.indices.map {
      madeUpNormals(length * heads * width, seed: seed * 10 + UInt64($0), scale: 1.5)
    }
    draws = AttentionDraws(
      address: RandomAddress(seed: seed, step: 3, sample: 2), layer: 4, firstHead: firstHead,
      dropout: 0, givenRotations: nil)
  }

  /// Changes how the pass draws.
  func draw(dropout: Double? = nil, step: UInt64? = nil, rotations: [Float]? = nil) {
    var address = draws.address
    address.step = step ?? address.step
    draws = AttentionDraws(
      address: address, layer: draws.layer, firstHead: draws.firstHead,
      dropout: dropout ?? draws.dropout, givenRotations: rotations ?? draws.givenRotations)
  }

  /// The output, `[L, g * K]`.
  ///
  /// Whatever the layer should write is NaN or nonsense before.
  @discardableResult
  func forward() -> [Float] {
    engine.poison(1 << 16)
    for (matrix, values) in zip(group.projected, projected) { matrix.dense.copy(from: values) }
    for matrix in [group.output, group.maximum, group.sum, group.keyScale] { matrix.fill(.nan) }
    group.order.fill(-7)
    layer.forward(group, draws: draws, engine: engine)
    return group.output.dense.array
  }

  /// Gradients of the projections, after a forward pass.
  func backward(_ outputGradient: [Float]) -> [[Float]] {
    engine.poison(1 << 16)
    let size = length * heads * width
    let incoming = Buffer<Float>(size)
    incoming.view.copy(from: outputGradient)
    let buffers = projected.map { _ in Buffer<Float>(size) }
    for buffer in buffers { buffer.view.fill(.nan) }
    layer.backward(
      group, outputGradient: Matrix(incoming.view, rows: length, columns: heads * width),
      gradients: buffers.map { Matrix($0.view, rows: length, columns: heads * width) },
      draws: draws, engine: engine)
    return buffers.map { $0.view.array }
  }

  // MARK: The reference

  /// Features of one head out of `[L, g * K]`.
  func head<Number>(_ head: Int, of values: [Number]) -> [Number] {
    var result: [Number] = []
    for row in 0..<length { result += values[place(row: row, head: head)] }
    return result
  }

  /// The rotations of one head as the layer draws them, `[K, R, columns]`.
  func drawnRotations(head: Int) -> [Float] {
    guard case .lsh(_, _, let hashes, let buckets) = kind else { return [] }
    let buffer = Buffer<Float>(width * hashes * buckets.reduce(0, +) / 2)
    draws.address.stream(.hashRotation, layer: draws.layer, head: draws.firstHead + head)
      .normal(into: buffer.view)
    return buffer.view.array
  }

  /// The naive twin of one head, hashed at the present queries, and how clear its closest hash was.
  func reference(head: Int) -> (attention: ReferenceAttention, smallestMargin: Double) {
    switch kind {
    case .full(let shared):
      return (.full(length: length, sharesQueryKey: shared), .infinity)
    case .local(let chunk, let before):
      return (.local(length: length, chunk: chunk, before: before), .infinity)
    case .lsh(let chunk, let before, let hashes, let buckets):
      var rotations = drawnRotations(head: head)
      if let given = draws.givenRotations {
        let start = (draws.firstHead + head) * rotations.count
        rotations = Array(given[start..<start + rotations.count])
      }
      let hashed = ReferenceAttention.hash(
        queries: self.head(head, of: projected[0]), width: width, rotations: rotations,
        rounds: hashes, factors: buckets)
      return (
        .lsh(length: length, chunk: chunk, before: before, buckets: hashed.buckets),
        length > chunk ? hashed.smallestMargin : .infinity
      )
    }
  }

  /// What dropout does to draw `number` of one head.
  func keep(head: Int) -> (Int) -> Double {
    let rate = draws.dropout
    guard rate > 0 else { return { _ in 1 } }
    let stream = draws.address.stream(
      .attentionDropout, layer: draws.layer, head: draws.firstHead + head)
    return { Double(stream.bits($0)) < rate * 0x1p32 ? 0 : 1 / (1 - rate) }
  }

  /// The reference's output for one head, `moved` in place of projection `index` where given.
  func output(
    _ attention: ReferenceAttention, head: Int, replacing index: Int? = nil, by moved: [Double] = []
  ) -> [Double] {
    var inputs = projected.map { self.head(head, of: $0).map(Double.init) }
    if let index { inputs[index] = moved }
    return attention.output(
      queries: inputs[0], keys: inputs[inputs.count - 2], values: inputs[inputs.count - 1],
      width: width, keep: keep(head: head))
  }

  /// Whether a row sees nothing but itself, several times in one round.
  ///
  /// Its logits are -1e5, where log-sum-exps are rounded to 1/128, once per round in the
  /// reference and once in all in the layer.
  func isCoarse(row: Int, head: Int, _ reference: ReferenceAttention) -> Bool {
    group.maximum.row(row)[head] <= -5e4 && reference.seesItselfAgain(row)
  }

  /// Places of one head's features of a row in `[L, g * K]`.
  func place(row: Int, head: Int) -> Range<Int> {
    (row * heads + head) * width..<(row * heads + head + 1) * width
  }
}
