// Directions of linear attention, and the features of queries and keys.
import Compute

extension LinearAttention {
  /// Draws the directions `[M, K]` of head `head`, over the fourth root of K: orthogonal within each K of them, each
  /// as long as a normal vector.
  ///
  /// They follow from seed, layer, head and the step, where those are drawn anew; not from the sample.
  func fillDirections(
    _ directions: Matrix, head: Int, pass: AttentionPass, scratch: ScratchArena
  ) {
    var address = pass.address
    (address.step, address.sample) = (redraw == 0 ? 0 : address.step / UInt64(redraw), 0)
    address.stream(.featureDirections, layer: pass.layer, head: pass.firstHead + head)
      .normal(into: directions.dense)
    let width = directions.columns
    let places = scratch.integers(width)
    for place in 0..<width { places[place] = Int32(place) }
    let (products, lengths) = (scratch.floats(width), scratch.doubles(width))
    for set in Tiling.ranges(features, by: width) {
      let rows = directions.rows(set)
      for (index, row) in (0..<set.count).map(rows.row).enumerated() {
        lengths[index] = Kernels.sumOfSquares(row).squareRoot()
        // Gram-Schmidt; what rounding leaves of others the second time takes out.
        for _ in 0..<2 where index > 0 {
          let own = products[0..<index]
          Kernels.rowDots(rows.rows(0..<index), Matrix(repeating: row, rows: index), into: own)
          Kernels.scale(own, by: -1)
          Kernels.add(rows, rows: places[0..<index], by: own, to: row)
        }
        Kernels.scale(row, by: Float(1 / Kernels.sumOfSquares(row).squareRoot()))
      }
      let scale = 1 / Double(width).squareRoot().squareRoot()
      for index in 0..<set.count {
        Kernels.scale(rows.row(index), by: Float(lengths[index] * scale))
      }
    }
  }
}

/// One head's directions.
struct FeatureDirections {
  /// `[M, K]`.
  let rows: Packed<Float>

  /// exp(w.q - m) as columns `[M, n]` of the queries `[n, K]`, where m is the largest w.q of each: what it is
  /// leaves a query's output alone.
  func queryFeatures(_ queries: Matrix, into features: Packed<Float>, _ scratch: ScratchArena) {
    multiply(queries, into: features, scratch)
    let most = scratch.floats(queries.rows)
    for (columns, strip) in features.strips {
      Kernels.columnMaximum(strip, into: most[columns])
      Kernels.columnExponentials(
        strip, minus: most[columns], upTo: LinearAttention.top, plus: 0)
    }
  }

  /// exp(w.k - |k|^2 / (2 sqrt(K))) and the floor as columns `[M, n]` of the keys `[n, K]`.
  func keyFeatures(_ keys: Matrix, into features: Packed<Float>, _ scratch: ScratchArena) {
    multiply(keys, into: features, scratch)
    let halves = scratch.floats(keys.rows)
    Kernels.rowDots(keys, keys, into: halves)
    Kernels.scale(halves, by: 0.5 / Float(keys.columns).squareRoot())
    for (columns, strip) in features.strips {
      Kernels.columnExponentials(
        strip, minus: halves[columns], upTo: LinearAttention.top, plus: LinearAttention.floor)
    }
  }

  private func multiply(_ x: Matrix, into products: Packed<Float>, _ scratch: ScratchArena) {
    scratch.frame {
      let across = scratch.strips(x.columns, x.rows)
      across.copy(transposing: x)
      tileProduct(rows.left, across, into: products.result)
    }
  }

  /// The gradient of queries from that of their features, which becomes that of w.q.
  func queriesBackward(
    _ gradient: Packed<Float>, features: Packed<Float>, into queries: Matrix,
    _ scratch: ScratchArena
  ) {
    let sums = scratch.floats(queries.rows)
    exponentialsBackward(gradient, features: features, floor: 0, sums: sums)
    tileProduct(gradient.left.transposed, rows, into: queries.result)
  }

  /// The gradient of `keys` into `out`, from that of their features, which becomes that of w.k.
  func keysBackward(
    _ gradient: Packed<Float>, features: Packed<Float>, of keys: Matrix, into out: Matrix,
    _ scratch: ScratchArena
  ) {
    let sums = scratch.floats(keys.rows)
    exponentialsBackward(gradient, features: features, floor: LinearAttention.floor, sums: sums)
    tileProduct(gradient.left.transposed, rows, into: out.result)
    let root = Float(keys.columns).squareRoot()
    for row in 0..<keys.rows {
      Kernels.weightedSum(
        out.row(row), by: 1, keys.row(row), by: -sums[row] / root, into: out.row(row))
    }
  }

  private func exponentialsBackward(
    _ gradient: Packed<Float>, features: Packed<Float>, floor: Float, sums: View<Float>
  ) {
    for (own, other) in zip(gradient.strips, features.strips) {
      Kernels.columnExponentialsBackward(
        own.matrix, x: other.matrix, upTo: LinearAttention.top, plus: floor, sums: sums[own.columns]
      )
    }
  }
}
