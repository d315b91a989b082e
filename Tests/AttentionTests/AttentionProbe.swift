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
  /// LSH attention with sight `bucket`.
  case strict(reach: Int, window: Int, hashes: Int, buckets: [Int])

  var layer: any AttentionLayer {
    switch self {
    case .full(let shared): FullAttention(sharesQueryKey: shared)
    case .local(let chunk, let before):
      LocalAttention(chunk: chunk, chunksBefore: before)
    case .lsh(let chunk, let before, let hashes, let buckets):
      LSHAttention(chunk: chunk, chunksBefore: before, hashes: hashes, buckets: buckets)
    case .strict(let reach, let window, let hashes, let buckets):
      LSHAttention(
        chunk: reach, chunksBefore: 1, hashes: hashes, buckets: buckets, sight: .bucket,
        window: window)
    }
  }

  var description: String {
    switch self {
    case .full(let shared): "full\(shared ? ", shared" : "")"
    case .local(let chunk, let before): "local \(chunk) + \(before)"
    case .lsh(let chunk, let before, let hashes, let buckets):
      "lsh \(chunk) + \(before), \(hashes) rounds, buckets \(buckets)"
    case .strict(let reach, let window, let hashes, let buckets):
      "lsh strict \(reach), window \(window), \(hashes) rounds, buckets \(buckets)"
    }
  }
}

/// Inputs and results of one layer over one head group.
///
/// Not for use from several threads.
final class AttentionProbe {
  /// The kind where one of those with a naive twin was asked for.
  private var kind: Kind?
  let length: Int
  let heads: Int
  let width: Int
  /// Rows of earlier windows that keys and values have first.
  let carried: Int
  let layer: any AttentionLayer
  let engine: Engine
  /// `[L, g * K]` per projection, `[carried + L, g * K]` for all but queries.
  var projected: [[Float]]
  /// The kind's own parameters, and after `backward` their gradients.
  let own: [Buffer<Float>]
  private(set) var ownGradients: [[Float]] = []
  var pass: AttentionPass
  private var last: Forward?
  private var sights: [Int: Sight] = [:]
  /// Whether scratch is nonsense before each pass.
  private let poisons: Bool

  /// A forward pass that was run, and how to go on from it.
  private struct Forward {
    let backward: (Matrix, [Matrix], OwnParameters) -> Void
    let sight: (Int) -> Sight
    let saved: any Sendable
    // Memory of what was projected, saved and put out.
    let arena: ScratchArena
  }

  /// Heads `firstHead ..< firstHead + heads` of a layer, dropout off.
  init(
    _ layer: any AttentionLayer, length: Int, carried: Int = 0, heads: Int = 2, width: Int = 8,
    firstHead: Int = 0, threads: Int = 1, seed: UInt64 = 1, poisons: Bool = true
  ) {
    self.carried = carried
    self.poisons = poisons
    self.layer = layer
    self.length = length
    self.heads = heads
    self.width = width
    engine = Engine(threads: threads)
    projected = layer.projections.indices.map {
      madeUpNormals(
        (($0 > 0 ? carried : 0) + length) * heads * width, seed: seed * 10 + UInt64($0), scale: 1.5)
    }
    own = layer.parameters(heads: firstHead + heads, headWidth: width).enumerated().map {
      let buffer = Buffer<Float>($1.shape.reduce(1, *))
      buffer.view.copy(
        from: madeUpNormals(buffer.view.count, seed: seed * 10 + 7 + UInt64($0), scale: 0.4))
      return buffer
    }
    pass = AttentionPass(
      address: RandomAddress(seed: seed, step: 3, sample: 2), layer: 4, firstHead: firstHead,
      dropout: 0, givenRotations: nil, parameters: own.map(\.view), carried: carried,
      engine: engine)
  }

  /// Counts what the next passes hash.
  func count(_ tally: HashTally) {
    pass = AttentionPass(
      address: pass.address, layer: pass.layer, firstHead: pass.firstHead, dropout: pass.dropout,
      givenRotations: pass.givenRotations, parameters: pass.parameters, rotary: pass.rotary,
      carried: carried, hashTally: tally, engine: engine)
  }

  /// Changes how the pass pass.
  func draw(
    dropout: Double? = nil, step: UInt64? = nil, rotations: [Float]? = nil, isRotary: Bool? = nil,
    precision: Precision? = nil
  ) {
    var address = pass.address
    address.step = step ?? address.step
    pass = AttentionPass(
      address: address, layer: pass.layer, firstHead: pass.firstHead,
      dropout: dropout ?? pass.dropout, givenRotations: rotations ?? pass.givenRotations,
      parameters: pass.parameters,
      rotary: isRotary.map {
        $0 ? RotaryPositions(length: max(length, carried + 1), headWidth: width) : nil
      } ?? pass.rotary, carried: carried, precision: precision ?? pass.precision, engine: engine)
  }

  /// The output, `[L, g * K]`.
  ///
  /// Whatever the layer should write is nonsense before.
  @discardableResult
  func forward() -> [Float] { forward(layer) }

  private func forward<Layer: AttentionLayer>(_ layer: Layer) -> [Float] {
    if poisons { engine.poison(1 << 16) }
    let arena = ScratchArena()
    arena.frame { arena.floats(layer.savedFloats(length: length, heads: heads) + 4096).fill(.nan) }
    let saved = layer.save(length: length, heads: heads, from: arena)
    let group = HeadGroup(
      heads: heads,
      projected: projected.map { arena.matrix($0.count / (heads * width), heads * width) },
      output: arena.matrix(length, heads * width))
    for (matrix, values) in zip(group.projected, projected) { matrix.dense.copy(from: values) }
    group.output.fill(.nan)
    layer.forward(group, saved: saved, pass: pass)
    sights = [:]
    last = Forward(
      backward: { [pass] outputGradient, gradients, ownGradients in
        layer.backward(
          group, saved: saved, outputGradient: outputGradient, gradients: gradients,
          ownGradients: ownGradients, pass: pass)
      },
      sight: { [length] in layer.sight(length: length, head: $0, saved: saved) }, saved: saved,
      arena: arena)
    return group.output.dense.array
  }

  /// What the queries of a head saw in the last forward pass.
  func sight(head: Int) -> Sight {
    guard let last else { preconditionFailure("no forward pass yet") }
    if let known = sights[head] { return known }
    let sight = last.sight(head)
    sights[head] = sight
    return sight
  }

  /// Positions in sorted order of the last forward pass, where the layer sorts.
  var order: [Int32] { (last?.saved as? LSHAttention.Saved)?.order.array ?? [] }

  /// Gradients of the projections, after a forward pass.
  func backward(_ outputGradient: [Float]) -> [[Float]] {
    if poisons { engine.poison(1 << 16) }
    let incoming = Buffer<Float>(length * heads * width)
    incoming.view.copy(from: outputGradient)
    let buffers = projected.map { Buffer<Float>($0.count) }
    for buffer in buffers { buffer.view.fill(.nan) }
    // These are added to.
    let own = own.map { Buffer<Float>($0.view.count) }
    for buffer in own { buffer.view.fill(0) }
    last?.backward(
      Matrix(incoming.view, rows: length, columns: heads * width),
      buffers.map {
        Matrix($0.view, rows: $0.count / (heads * width), columns: heads * width)
      }, own.map(\.view))
    ownGradients = own.map(\.view.array)
    return buffers.map { $0.view.array }
  }

  // MARK: The reference

  /// The probe of a kind with a naive twin.
  convenience init(
    _ kind: Kind, length: Int, heads: Int = 2, width: Int = 8, firstHead: Int = 0, threads: Int = 1,
    seed: UInt64 = 1
  ) {
    self.init(
      kind.layer, length: length, heads: heads, width: width, firstHead: firstHead,
      threads: threads, seed: seed)
    self.kind = kind
  }

  /// Features of one head out of `[n, g * K]`.
  func head<Number>(_ head: Int, of values: [Number]) -> [Number] {
    var result: [Number] = []
    for row in 0..<values.count / (heads * width) {
      result += values[place(row: row, head: head)]
    }
    return result
  }

  /// The rotations of one head as the layer draws them, `[K, R, columns]`.
  func drawnRotations(head: Int, hashes: Int, buckets: [Int]) -> [Float] {
    let buffer = Buffer<Float>(width * hashes * buckets.reduce(0, +) / 2)
    pass.address.stream(.hashRotation, layer: pass.layer, head: pass.firstHead + head)
      .normal(into: buffer.view)
    return buffer.view.array
  }

  /// The naive twin of one head, hashed at the present queries, and how clear its closest hash was.
  func reference(head: Int) -> (attention: ReferenceAttention, smallestMargin: Double) {
    guard let kind else { preconditionFailure("no naive twin") }
    switch kind {
    case .full(let shared):
      return (.full(length: length, sharesQueryKey: shared), .infinity)
    case .local(let chunk, let before):
      return (.local(length: length, chunk: chunk, before: before), .infinity)
    case .lsh(let chunk, let before, let hashes, let buckets):
      let hashed = hashed(head: head, hashes: hashes, buckets: buckets)
      return (
        .lsh(length: length, chunk: chunk, before: before, buckets: hashed.buckets),
        length > chunk ? hashed.smallestMargin : .infinity
      )
    case .strict(let reach, let window, let hashes, let buckets):
      let hashed = hashed(head: head, hashes: hashes, buckets: buckets)
      return (
        .strict(length: length, reach: reach, window: window, buckets: hashed.buckets),
        hashed.smallestMargin
      )
    }
  }

  /// Buckets of one head, `[round][position]`, naively, and how clear the closest decision was.
  func hashed(
    head: Int, hashes: Int, buckets: [Int]
  ) -> (buckets: [[Int]], smallestMargin: Double) {
    var rotations = drawnRotations(head: head, hashes: hashes, buckets: buckets)
    if let given = pass.givenRotations {
      let start = (pass.firstHead + head) * rotations.count
      rotations = Array(given[start..<start + rotations.count])
    }
    return ReferenceAttention.hash(
      queries: self.head(head, of: projected[0]), width: width, rotations: rotations,
      rounds: hashes, factors: buckets)
  }

  /// What dropout does to draw `number` of one head.
  func keep(head: Int) -> (Int) -> Double {
    let rate = pass.dropout
    guard rate > 0 else { return { _ in 1 } }
    let stream = pass.address.stream(
      .attentionDropout, layer: pass.layer, head: pass.firstHead + head)
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
    !layer.isStrictlyCausal && sight(head: head).keys[row].allSatisfy(\.isLastResort)
      && reference.seesItselfAgain(row)
  }

  /// Places of one head's features of a row in `[L, g * K]`.
  func place(row: Int, head: Int) -> Range<Int> {
    (row * heads + head) * width..<(row * heads + head + 1) * width
  }
}
