// Where queries meet keys: scores, softmax and values of one tile, and their gradients. The kinds differ in what they put
// in a tile.
import Compute

/// Which keys of a window's W rows the queries of a tile see, and which random draw may drop each.
enum SeenKeys {
  /// All up to the query's position, as Hugging Face's masks say, and those up to position `through` whatever the query;
  /// the draws of a query are consecutive numbers.
  case before(through: Int = -1, masksSelf: Bool, firstDraw: Int, drawsPerQuery: Int)
  /// A run of the list: query i sees the columns `first[i] ..< end[i]`, whose positions are `keys`, and draws go by the
  /// positions of both; with `lastResort` it ends with the query itself, which counts only where there is no other.
  ///
  /// Runs are summed in the order of the list and by what they hold alone, so that no bit follows from where
  /// chunks begin.
  case runs(
    first: View<Int32>, end: View<Int32>, lastResort: Bool, keys: View<Int32>, length: Int,
    list: Int, lists: Int)
}

/// Queries that meet the keys of a window together.
struct ScoreTile<Element: ProductElement> {
  let head: AttentionHead
  let window: ChunkWindow<Element>
  /// Queries that meet rows of the window, and the columns of the scores that these are; what is in no part is not seen.
  let parts: [(queries: Range<Int>, rows: Range<Int>, columns: Range<Int>)]
  let queries: LeftOperand<Element>
  /// Positions of the queries.
  let positions: View<Int32>
  let seen: SeenKeys

  private func scores(
    _ left: LeftOperand<Element>, _ right: Packed<Element>, _ scratch: ScratchArena
  ) -> Matrix {
    let scores = scratch.matrix(positions.count, window.rows)
    for part in parts {
      tileProduct(
        left.rows(part.queries), right.columns(part.rows),
        into: scores.rows(part.queries).columns(part.columns).result)
    }
    return scores
  }

  /// Scores of the queries with the keys, less what the head's sight has faded.
  private func logits(_ scratch: ScratchArena) -> Matrix {
    let logits = scores(queries, window.keysAcross, scratch)
    eachRun(logits) { edge, run, query, key in edge.fade(run, query: query, firstKey: key) }
    return logits
  }

  /// Derivative of the loss by the span of a head whose sight fades out, from the gradients of the logits.
  func spanDerivative(_ gradients: Matrix) -> Double {
    var sum = 0.0
    eachRun(gradients) { edge, run, query, key in
      sum += edge.derivative(run, query: query, firstKey: key)
    }
    return sum
  }

  /// Runs `body` for what each query of a head whose sight fades out sees of `x`, from key to key, a position each.
  private func eachRun(
    _ x: Matrix, _ body: (SoftEdge, _ run: View<Float>, _ query: Int, _ firstKey: Int) -> Void
  ) {
    guard let edge = head.edge, case .runs(let first, let end, _, let keys, _, _, _) = seen
    else { return }
    for row in 0..<x.rows where first[row] < end[row] {
      let run = Int(first[row])..<Int(end[row])
      body(edge, x.row(row)[run], Int(positions[row]), Int(keys[run.lowerBound]))
    }
  }

  /// Merges what the queries see into the head's output.
  func merge(_ scratch: ScratchArena) {
    scratch.frame {
      let scores = logits(scratch)
      scratch.lap(.scores)
      let (maximum, sum) = (scratch.floats(positions.count), scratch.floats(positions.count))
      var isChain = false
      switch seen {
      case .before(let through, let masksSelf, _, _):
        Kernels.maskedSoftmax(
          scores, queryPositions: positions, keyPositions: window.positions, through: through,
          masksSelf: masksSelf, maximum: maximum, sum: sum)
      case .runs(let first, let end, let lastResort, _, _, _, _):
        isChain = true
        Kernels.runSoftmax(
          scores, first: first, end: end, lastResort: lastResort, maximum: maximum, sum: sum)
      }
      drop(scores)
      scratch.lap(.softmax)
      // One chain from zero for runs; a ring as it lies is one product.
      let partial = scratch.matrix(positions.count, head.values.columns)
      if isChain { partial.fill(0) }
      for part in parts {
        tileProduct(
          Element.left(scores.rows(part.queries).columns(part.columns), from: scratch),
          window.values.rows(part.rows).right, into: partial.rows(part.queries).result,
          continuing: isChain)
      }
      scratch.lap(.values)
      Kernels.mergeRows(
        partial, maximum: maximum, sum: sum, into: head.output, maximum: head.rows.maximum,
        sum: head.rows.sum, rows: positions)
      scratch.lap(.merge)
    }
  }

  /// Probabilities after dropout and gradients of logits, `[queries, W]` each, lent by `scratch`; `maximum`, `sum` and
  /// `dots` are those of the queries' rows.
  func backward(
    outputGradient: LeftOperand<Element>, maximum: View<Float>, sum: View<Float>,
    dots: View<Float>, _ scratch: ScratchArena
  ) -> (probabilities: Matrix, gradients: Matrix) {
    guard let valuesAcross = window.valuesAcross else { preconditionFailure("a window forward") }
    let scores = logits(scratch)
    scratch.lap(.scores)
    let gradients = self.scores(outputGradient, valuesAcross, scratch)
    scratch.lap(.values)
    drop(gradients)
    switch seen {
    case .before(let through, let masksSelf, _, _):
      Kernels.maskedSoftmaxBackward(
        scores, gradients, queryPositions: positions, keyPositions: window.positions,
        through: through, masksSelf: masksSelf, maximum: maximum, sum: sum, outputDots: dots)
    case .runs(let first, let end, let lastResort, _, _, _, _):
      Kernels.runSoftmaxBackward(
        scores, gradients, first: first, end: end, lastResort: lastResort, maximum: maximum,
        sum: sum, outputDots: dots)
    }
    drop(scores)
    scratch.lap(.softmax)
    return (scores, gradients)
  }

  /// Dropout on probabilities or their gradients.
  private func drop(_ x: Matrix) {
    head.drop { stream, rate in
      switch seen {
      case .before(_, _, let firstDraw, let drawsPerQuery):
        for row in 0..<x.rows {
          stream.dropout(x.row(row), rate: rate, first: firstDraw + row * drawsPerQuery)
        }
      case .runs(let first, let end, _, let keys, let length, let list, let lists):
        stream.dropoutRuns(
          x, first: first, end: end, queries: positions, keys: keys, length: length, list: list,
          of: lists, rate: rate)
      }
    }
  }
}
