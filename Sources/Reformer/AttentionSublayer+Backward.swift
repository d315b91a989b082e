// The attention half of a block on the way back: a group of heads is computed once more, taken out of the stream, and its
// gradients go through attention, projections and norm to the source stream.
import Attention
import Compute

extension AttentionSublayer {
  func backward(
    source: ResidualStream, target: ResidualStream, sourceGradient: Matrix,
    targetGradient: Matrix, gradients: View<Float>, pass: Pass
  ) throws(ReformerError) {
    pass.begin(projecting + [outWeight], gradients: gradients)
    // The kind adds to all of its own, matrices included, which `begin` leaves to the first block of the window's rows; and
    // so do rows that are not the window's, where keys are theirs alone.
    let ofOthers = attention.seesWindow ? [] : projections.dropFirst()
    for slot in own + (compression.map { [$0] } ?? []) + ofOthers { gradients[slot.range].fill(0) }
    try pass.engine.scratch.frame { () throws(ReformerError) in
      let compressed = compressed(source, from: pass.engine.scratch, pass: pass)
      try groupsBackward(
        source: source, target: target, sourceGradient: sourceGradient,
        targetGradient: targetGradient, gradients: gradients, compressed: compressed, pass: pass)
      if let compressed {
        addCompressionGradient(compressed, gradients: gradients, pass: pass)
      }
    }
  }

  private func groupsBackward(
    source: ResidualStream, target: ResidualStream, sourceGradient: Matrix,
    targetGradient: Matrix, gradients: View<Float>, compressed: Compressed?, pass: Pass
  ) throws(ReformerError) {
    for (index, firstHead) in groups.enumerated() {
      let memory = pass.memory(group: group, part: index)
      try memory.frame { () throws(ReformerError) in
        let activations = activations(pass, from: memory)
        if pass.kept == nil {
          try run(
            activations, firstHead: firstHead, source: source, target: target, .backward,
            pass: pass)
        }
        let arena = pass.engine.scratch
        arena.frame {
          let width = activations.group.output.columns
          let projectedGradients = activations.group.projected.map {
            arena.matrix($0.rows, width)
          }
          arena.frame {
            let outputGradient = arena.matrix(pass.length, width)
            outputBackward(
              activations.group, firstHead: firstHead, targetGradient: targetGradient,
              outputGradient: outputGradient, gradients: gradients, pass: pass)
            attention.backward(
              activations.group, saved: activations.saved, outputGradient: outputGradient,
              gradients: projectedGradients, ownGradients: own.map { gradients[$0.range] },
              pass: attentionPass(firstHead, pass))
          }
          let ofWindow = ofWindow(projectedGradients, activations.group)
          projectionBackward(
            projections.prefix(ofWindow.count), firstHead: firstHead, gradients: gradients,
            pass: pass
          ) { rows, scratch in
            norm.forward(rows, of: source, pass: pass, scratch: scratch)
          } incoming: { rows in
            ofWindow.map { $0.rows(rows) }
          } position: {
            $0
          } through: { out, normed, tile, scratch in
            norm.backward(
              out, of: normed, into: sourceGradient, tile: tile, pass: pass, scratch: scratch)
          }
          carriedBackward(
            projectedGradients, firstHead: firstHead, gradients: gradients, pass: pass)
          if let compressed {
            addRecollectionGradient(
              compressed, activations.group, firstHead: firstHead, pass: pass)
          }
        }
      }
    }
  }

  /// Gradients of the output matrix and of the group's output.
  private func outputBackward(
    _ group: HeadGroup, firstHead: Int, targetGradient: Matrix,
    outputGradient: Matrix, gradients: View<Float>, pass: Pass
  ) {
    let features = features(firstHead)
    let engine = pass.engine
    engine.scratch.frame {
      // dO = dF W_o.
      let weight = engine.pack(
        Matrix(pass.parameters, outWeight).columns(features), transposed: false, as: Element.self)
      pass.eachBlock(of: [outWeight], gradients: gradients) { block in
        let incoming = engine.scratch.factor(
          block.rows.count, norm.width, .both, of: Element.self)
        let output = engine.scratch.factor(
          block.rows.count, features.count, .right, of: Element.self)
        block.eachTile { tile, scratch in
          let rows = tile.rows
          incoming.rows(tile.place).fill(scratch) { incoming in
            incoming.copy(from: targetGradient.rows(rows))
            pass.dropRows(
              incoming, rows, rate: config.dropout, .attentionOutputDropout, layer: layer)
          }
          output.rows(tile.place).copy(from: group.output.rows(rows))
          scratch.lap(.layout)
          tileProduct(
            incoming.rows(tile.place).left, weight, into: outputGradient.rows(rows).result)
          scratch.lap(.projections)
        }
        block.add([
          WeightGradient(
            outputGradient: incoming, input: output,
            sum: block.sums.matrix(outWeight).columns(features))
        ])
      }
    }
  }

  /// Gradients of `projections` and, through the norm, of the rows that were projected.
  ///
  /// By the rows of a tile: `states`, the rows normed; `incoming`, the gradients of each projection; `position`, that of a
  /// row, where positions are infused; `through`, which
  /// takes the gradient of the rows normed to whatever they came from.
  func projectionBackward(
    _ projections: ArraySlice<Slot>, firstHead: Int, gradients: View<Float>, pass: Pass,
    states: (Range<Int>, ScratchArena) -> LayerNorm.Rows,
    incoming gradientsOf: (Range<Int>) -> [Matrix], position: (Int) -> Int,
    through normBackward: (Matrix, LayerNorm.Rows, RowTile, ScratchArena) -> Void
  ) {
    let features = features(firstHead)
    let engine = pass.engine
    engine.scratch.frame {
      // dLN = dP W.
      let weights = projections.map {
        engine.pack(
          Matrix(pass.parameters, $0).rows(features), transposed: false, as: Element.self)
      }
      pass.eachBlock(of: projecting, gradients: gradients) { block in
        let normalized = engine.scratch.factor(
          block.rows.count, norm.width, .right, of: Element.self)
        let infused =
          pass.infused == nil
          ? normalized
          : engine.scratch.factor(block.rows.count, norm.width, .right, of: Element.self)
        let incoming = projections.map { _ in
          engine.scratch.factor(block.rows.count, features.count, .both, of: Element.self)
        }
        block.eachTile { tile, scratch in
          let rows = tile.rows
          let (normed, projected) = (states(rows, scratch), gradientsOf(rows))
          let out = normed.normalized
          normalized.rows(tile.place).copy(from: out)
          if let positions = pass.infused {
            positions.add(to: out, scratch: scratch) { position(rows.lowerBound + $0) }
            infused.rows(tile.place).copy(from: out)
          }
          // `out` has served; the gradient of the norm's output takes its place.
          for (number, weight) in weights.enumerated() {
            let gradient = incoming[number].rows(tile.place)
            gradient.copy(from: projected[number])
            scratch.lap(.layout)
            tileProduct(gradient.left, weight, into: out.result, accumulate: number > 0)
            scratch.lap(.projections)
          }
          normBackward(out, normed, tile, scratch)
          scratch.lap(.norm)
        }
        block.add(
          zip(projections, incoming).enumerated().map { number, part in
            WeightGradient(
              outputGradient: part.1, input: number < projections.count - 1 ? infused : normalized,
              sum: block.sums.matrix(part.0).rows(features))
          })
      }
    }
  }
}
