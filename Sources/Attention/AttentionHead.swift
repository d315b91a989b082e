// One head of a group: what it reads, where its output and its gradients go, and the numbers of its rows that the
// softmax leaves.
import Compute

/// What a softmax over a multiset of keys leaves for its gradient, with the keys' scales: of one head.
public struct SoftmaxRows: Sendable {
  /// `[L, 1]`: largest logit each position saw.
  let maximum: Matrix
  /// `[L, 1]`: sum of exp(logit - maximum).
  let sum: Matrix
  /// `[L, 1]`: factor from stored to used keys; one for all where keys have a projection of their own.
  let keyScale: Matrix

  init(length: Int, sharesQueryKey: Bool, from arena: ScratchArena) {
    maximum = arena.matrix(length, 1)
    sum = arena.matrix(length, 1)
    keyScale =
      sharesQueryKey
      ? arena.matrix(length, 1) : Matrix(repeating: arena.floats(1), rows: length)
  }

  private init(maximum: Matrix, sum: Matrix, keyScale: Matrix) {
    (self.maximum, self.sum, self.keyScale) = (maximum, sum, keyScale)
  }

  /// The same for `count` keys of the same scale.
  func meeting(keys count: Int) -> SoftmaxRows {
    SoftmaxRows(
      maximum: maximum, sum: sum, keyScale: Matrix(repeating: keyScale.row(0), rows: count))
  }
}

extension AttentionLayer {
  func softmaxFloats(length: Int, heads: Int) -> Int {
    heads * (2 * length + (sharesQueryKey ? length : 1))
  }

  func softmaxRows(length: Int, heads: Int, from arena: ScratchArena) -> [SoftmaxRows] {
    (0..<heads).map { _ in
      SoftmaxRows(length: length, sharesQueryKey: sharesQueryKey, from: arena)
    }
  }
}

extension AttentionLayer where Saved == [SoftmaxRows] {
  /// Maximum, sum and key scale of each row.
  public func savedFloats(length: Int, heads: Int) -> Int {
    softmaxFloats(length: length, heads: heads)
  }

  /// Lends them.
  public func save(length: Int, heads: Int, from arena: ScratchArena) -> [SoftmaxRows] {
    softmaxRows(length: length, heads: heads, from: arena)
  }
}

/// One head's part of a pass, K features.
struct AttentionHead {
  /// `[L, K]`, and so are keys, values and the output; but keys and values have carried rows first.
  let queries: Matrix
  let keys: Matrix
  let values: Matrix
  let output: Matrix
  let rows: SoftmaxRows
  /// Where its sight fades out, if it does.
  var edge: SoftEdge? = nil
  private let dropoutStream: CounterRandom
  private let dropout: Double

  /// The heads of `group`.
  static func all(
    _ group: HeadGroup, _ rows: [SoftmaxRows], _ pass: AttentionPass
  ) -> [AttentionHead] {
    let projected = group.projected
    let keys = projected[projected.count - 2]
    return rows.enumerated().map { index, rows in
      AttentionHead(
        queries: group.head(index, of: projected[0]), keys: group.head(index, of: keys),
        values: group.head(index, of: projected[projected.count - 1]),
        output: group.head(index, of: group.output),
        rows: keys.rows == group.length ? rows : rows.meeting(keys: keys.rows),
        dropoutStream: pass.address.stream(
          .attentionDropout, layer: pass.layer, head: pass.firstHead + index),
        dropout: pass.dropout)
    }
  }

  /// The same queries, and other keys `[n, K]` of the same scale, with their values.
  func meeting(keys: Matrix, values: Matrix) -> AttentionHead {
    AttentionHead(
      queries: queries, keys: keys, values: values, output: output,
      rows: rows.meeting(keys: keys.rows), dropoutStream: dropoutStream, dropout: dropout)
  }

  /// Nothing seen yet.
  func clear(_ range: Range<Int>) {
    output.rows(range).fill(0)
    rows.maximum.rows(range).fill(-.infinity)
    rows.sum.rows(range).fill(0)
  }

  /// Keys that are queries have unit length over sqrt(K).
  func setScale(_ range: Range<Int>) {
    Kernels.keyScale(queries.rows(range), into: rows.keyScale.rows(range))
  }

  /// Keys with a projection of their own all have the scale 1/sqrt(K).
  func setConstantScale() { rows.keyScale.row(0)[0] = 1 / Float(queries.columns).squareRoot() }

  /// Calls `body` where there is dropout.
  func drop(_ body: (_ stream: CounterRandom, _ rate: Double) -> Void) {
    if dropout > 0 { body(dropoutStream, dropout) }
  }
}

/// Gradients of one head: `output` flows in, the others are added to.
struct HeadGradient {
  let output: Matrix
  /// `[L, 1]`: output times its gradient, which the gradient of a softmax subtracts.
  let dots: Matrix
  let queries: Matrix
  /// Of the scaled keys, where they have a projection of their own; otherwise keys are scaled queries.
  let keys: Matrix?
  let values: Matrix
  /// Sums of the derivative by the head's span, by tile of queries; where there is one.
  var spans: View<Float>? = nil

  /// Those of the heads of `group`, zero, but for `dots`, which is lent by the engine until the enclosing frame ends.
  static func all(
    _ group: HeadGroup, _ heads: [AttentionHead], outputGradient: Matrix, gradients: [Matrix],
    _ engine: Engine
  ) -> [HeadGradient] {
    let all = heads.indices.map { index in
      HeadGradient(
        output: group.head(index, of: outputGradient), dots: engine.scratch.matrix(group.length, 1),
        queries: group.head(index, of: gradients[0]),
        keys: gradients.count == 2 ? nil : group.head(index, of: gradients[1]),
        values: group.head(index, of: gradients[gradients.count - 1]))
    }
    // Keys and values may have other numbers of rows: those carried over, too.
    let most = gradients.reduce(0) { max($0, $1.rows) }
    engine.pool.each(heads.count, Tiling.ranges(most, by: Tiling.blockRows)) {
      head, rows, scratch in
      let gradient = all[head]
      for matrix in [gradient.queries, gradient.values] + (gradient.keys.map { [$0] } ?? []) {
        let own = rows.clamped(to: 0..<matrix.rows)
        if !own.isEmpty { matrix.rows(own).fill(0) }
      }
      scratch.lap(.scatter)
      let own = rows.clamped(to: 0..<group.length)
      guard !own.isEmpty else { return }
      Kernels.rowDots(
        heads[head].output.rows(own), gradient.output.rows(own),
        into: gradient.dots.rows(own).dense)
      scratch.lap(.softmax)
    }
    return all
  }

  /// Adds gradients of scaled keys and of values at `positions`, each of which is there once.
  func add(
    keys rows: Matrix, values valueRows: Matrix, of head: AttentionHead, at positions: View<Int32>
  ) {
    if let keys {
      Kernels.scatterAdd(rows, to: keys, rows: positions)
    } else {
      Kernels.keyScaleBackward(
        rows, x: head.queries, scale: head.rows.keyScale, into: queries, rows: positions)
    }
    Kernels.scatterAdd(valueRows, to: values, rows: positions)
  }
}

extension WorkerPool {
  /// Runs `body` for every head and each of `ranges`.
  func each(
    _ heads: Int, _ ranges: [Range<Int>],
    _ body: (_ head: Int, _ range: Range<Int>, _ scratch: ScratchArena) -> Void
  ) {
    run(heads * ranges.count) { task, scratch in
      let (head, range) = task.quotientAndRemainder(dividingBy: ranges.count)
      body(head, ranges[range], scratch)
    }
  }
}
