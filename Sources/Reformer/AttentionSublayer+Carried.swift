// Rows that are not the window's, in the attention half of a block: those that a stream carries over, which are constants, or
// the encoder's output. They are normed and projected with the present parameters, which gives these a gradient.
import Attention
import Compute

extension AttentionSublayer {
  /// The rows of earlier windows, or of the encoder's output, that the layer sees, `[n, D]`; nil where there are none.
  func carried(_ pass: Pass) -> Matrix? {
    guard attention.seesWindow else { return pass.source?.rows }
    return attention.carriedRows > 0 ? pass.stream?.before(layer: layer) : nil
  }

  /// Keys and values of other rows than those of the window, into the first ones of `projected` but its queries;
  /// `weights`: those of all projections.
  func project(
    _ states: Matrix, into projected: [Matrix], _ weights: [Packed<Element>], pass: Pass
  ) {
    pass.carried(states.rows).eachTile { rows, scratch in
      let own = rows.lowerBound - pass.length..<rows.upperBound - pass.length
      let normed = otherNorm.forward(states.rows(own), pass: pass, scratch: scratch)
      project(
        normed.normalized,
        zip(weights, projected).dropFirst().map { ColumnProduct($0, into: $1.rows(own).result) },
        pass: pass, scratch: scratch
      ) { own.lowerBound + $0 - states.rows }
    }
  }

  /// Their share in the gradients of norm and projections.
  func carriedBackward(
    _ projectedGradients: [Matrix], firstHead: Int, gradients: View<Float>, pass: Pass
  ) {
    guard let carried = carried(pass) else { return }
    func own(_ rows: Range<Int>) -> Range<Int> {
      rows.lowerBound - pass.length..<rows.upperBound - pass.length
    }
    projectionBackward(
      projections.dropFirst(), firstHead: firstHead, gradients: gradients,
      pass: pass.carried(carried.rows)
    ) { rows, scratch in
      otherNorm.forward(carried.rows(own(rows)), pass: pass, scratch: scratch)
    } incoming: { rows in
      projectedGradients.dropFirst().map { $0.rows(own(rows)) }
    } position: {
      $0 - pass.length - carried.rows
    } through: { out, normed, tile, scratch in
      // Rows of earlier windows are constants: nobody reads their gradient.
      let ofSource = attention.seesWindow ? nil : pass.source?.gradient.rows(own(tile.rows))
      let gradient = ofSource ?? scratch.matrix(tile.rows.count, norm.width)
      otherNorm.backward(out, of: normed, into: gradient, tile: tile, pass: pass)
    }
  }
}

extension Pass {
  /// A pass over `count` carried rows, which come after the window's, so that their sums are added to those of the window.
  func carried(_ count: Int) -> Pass {
    var pass = self
    pass.rows = length..<length + count
    pass.length = length + count
    return pass
  }
}
