// How a layer's oldest rows become fewer (Rae et al. 2020, "Compressive transformers for long-range sequence modelling",
// section 3.1): a convolution whose kernel and stride are the ratio makes one row of so many. It learns from a loss of its
// own, the paper's attention reconstruction: what the window's queries read from the compressed rows should be what they
// read from the rows themselves, positions aside. All but the convolution is constant in that loss.
import Attention
import Compute

/// Rows that leave the memory of a layer in a pass, and what becomes of them.
struct Compressed {
  /// `[n, ratio * D]`: the rows of each group end to end.
  let groups: Matrix
  /// `[n, D]`.
  let rows: Matrix
  /// `[n, D]`: the gradient of the rows, zero at first.
  let gradient: Matrix

  /// `[n * ratio, D]`: the rows that left.
  var states: Matrix {
    let width = rows.columns
    return Matrix(groups.dense, rows: groups.rows * groups.columns / width, columns: width)
  }
}

extension AttentionSublayer {
  /// Writes what the layer is to see of the window `source` and those before it.
  func keep(_ source: ResidualStream, pass: Pass) {
    guard attention.carried.count > 0, let stream = pass.stream else { return }
    let arena = pass.engine.scratch
    arena.frame {
      let groups = stream.leaving(
        layer: layer, length: pass.length, from: arena, read: reader(source, pass))
      let rows = groups.map { compress($0, from: arena, pass: pass) }
      stream.keep(
        layer: layer, length: pass.length, compressed: rows, read: reader(source, pass))
    }
  }

  /// What the norm reads of rows of the window: token shift included.
  private func reader(_ source: ResidualStream, _ pass: Pass) -> StreamMemory.Reader {
    { norm.read($0, of: source, into: $1, pass: pass) }
  }

  /// The rows that groups become, lent by `arena`.
  private func compress(_ groups: Matrix, from arena: ScratchArena, pass: Pass) -> Matrix {
    guard let compression else { preconditionFailure("groups without a compression") }
    let rows = arena.matrix(groups.rows, config.width)
    arena.frame {
      let weights = pass.pack(Matrix(pass.parameters, compression), transposed: true)
      let tiles = Tiling.ranges(groups.rows, by: Tiling.tileRows)
      pass.engine.pool.run(tiles.count) { tile, scratch in
        tileProduct(groups.rows(tiles[tile]).left, weights, into: rows.rows(tiles[tile]).result)
        scratch.lap(.projections)
      }
    }
    return rows
  }

  /// What leaves the memory in this pass, lent by `arena`; nil where nothing does.
  func compressed(_ source: ResidualStream, from arena: ScratchArena, pass: Pass) -> Compressed? {
    guard
      let groups = pass.stream?.leaving(
        layer: layer, length: pass.length, from: arena, read: reader(source, pass))
    else { return nil }
    let rows = compress(groups, from: arena, pass: pass)
    let gradient = arena.matrix(rows.rows, rows.columns)
    gradient.fill(0)
    return Compressed(groups: groups, rows: rows, gradient: gradient)
  }

  /// Adds to the gradient of compressed rows that of a group's loss.
  ///
  /// The loss is the mean over positions of the squared distance of what the heads read from both. The group's queries
  /// are turned back for good.
  func addRecollectionGradient(
    _ compressed: Compressed, _ group: HeadGroup, firstHead: Int, pass: Pass
  ) {
    let (engine, width) = (pass.engine, group.output.columns)
    let arena = engine.scratch
    pass.rotary?.turn([group.projected[0]], firstKey: 0, back: true, pool: engine.pool)
    let layer = EveryKeyAttention(keys: compressed.states.rows)
    arena.frame {
      let weights = projectionWeights(firstHead, pass: pass)
      func read(_ states: Matrix) -> (
        group: HeadGroup, saved: EveryKeyAttention.Saved, pass: AttentionPass
      ) {
        let own = HeadGroup(
          heads: group.heads,
          projected: [group.projected[0]] + (0..<2).map { _ in arena.matrix(states.rows, width) },
          output: arena.matrix(group.length, width))
        project(states, into: own.projected, weights, pass: pass)
        let saved = layer.save(length: group.length, heads: group.heads, from: arena)
        let ownPass = AttentionPass(
          address: pass.address, layer: self.layer, firstHead: firstHead, dropout: 0,
          givenRotations: nil, carried: states.rows, engine: engine)
        layer.forward(own, saved: saved, pass: ownPass)
        return (own, saved, ownPass)
      }
      let (whole, short) = (read(compressed.states).group, read(compressed.rows))
      let difference = whole.output
      let tiles = Tiling.ranges(group.length, by: Tiling.tileRows)
      engine.pool.run(tiles.count) { tile, scratch in
        for row in tiles[tile] {
          let (from, to) = (short.group.output.row(row), difference.row(row))
          for feature in 0..<width {
            to[feature] = (from[feature] - to[feature]) * 2 / Float(group.length)
          }
        }
        scratch.lap(.layout)
      }
      let gradients = short.group.projected.map { arena.matrix($0.rows, width) }
      layer.backward(
        short.group, saved: short.saved, outputGradient: difference, gradients: gradients,
        ownGradients: [], pass: short.pass)
      addStateGradients(compressed, Array(gradients.dropFirst()), firstHead: firstHead, pass: pass)
    }
  }

  /// Through projections and norm, whose own gradients are left out.
  private func addStateGradients(
    _ compressed: Compressed, _ projected: [Matrix], firstHead: Int, pass: Pass
  ) {
    let (engine, features) = (pass.engine, features(firstHead))
    engine.scratch.frame {
      let weights = projections.dropFirst().map {
        engine.pack(Matrix(pass.parameters, $0).rows(features), transposed: false, as: Element.self)
      }
      let tiles = Tiling.ranges(compressed.rows.rows, by: Tiling.tileRows)
      engine.pool.run(tiles.count) { tile, scratch in
        let rows = tiles[tile]
        let normed = norm.plain.forward(compressed.rows.rows(rows), pass: pass, scratch: scratch)
        let out = normed.normalized
        for (number, weight) in weights.enumerated() {
          tileProduct(
            Element.left(projected[number].rows(rows), from: scratch), weight, into: out.result,
            accumulate: number > 0)
        }
        let nobody = scratch.matrix(2, norm.width)
        nobody.fill(0)
        norm.plain.backward(
          out, of: normed, into: compressed.gradient.rows(rows), gain: nobody.row(0),
          bias: nobody.row(1), pass: pass)
        scratch.lap(.projections)
      }
    }
  }

  /// Adds the gradient of the convolution, from that of the rows it made.
  func addCompressionGradient(_ compressed: Compressed, gradients: View<Float>, pass: Pass) {
    guard let compression else { return }
    let arena = pass.engine.scratch
    pass.carried(compressed.rows.rows).eachBlock(of: [compression], gradients: gradients) { block in
      let incoming = arena.factor(block.rows.count, config.width, .both, of: Float.self)
      let groups = arena.factor(
        block.rows.count, compressed.groups.columns, .right, of: Float.self)
      block.eachTile { tile, scratch in
        let own = tile.rows.lowerBound - pass.length..<tile.rows.upperBound - pass.length
        incoming.rows(tile.place).copy(from: compressed.gradient.rows(own))
        groups.rows(tile.place).copy(from: compressed.groups.rows(own))
        scratch.lap(.layout)
      }
      block.add([
        WeightGradient(
          outputGradient: incoming, input: groups, sum: block.sums.matrix(compression))
      ])
    }
  }
}
