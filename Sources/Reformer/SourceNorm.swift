// What a sub-layer reads: the norm of its source stream and, with token shift, of the row before as well.
import Compute

/// LayerNorm of the stream that a sub-layer reads.
///
/// With token shift (RWKV, Peng et al. 2023) the first quarter of a row's features is that of the row before, zeros before
/// the first row. It is taken from the stream, before the norm, so that each number of the stream's gradient has one
/// writer, however rows are cut into tiles.
struct SourceNorm {
  /// The norm of rows as they are: what a stream carries over was read when it came.
  let plain: LayerNorm
  /// Features that come from the row before.
  private let late: Int

  /// Adds the norm's tensors to the last group of `layout`.
  init(_ name: String, _ config: ReformerConfig, layout: inout ParameterLayout) {
    plain = LayerNorm(
      name + "layer_norm", width: config.width, layout: &layout, epsilon: config.layerNormEpsilon)
    late = config.tokenShift ? config.width / 4 : 0
  }

  /// Features of a row, D.
  var width: Int { plain.width }
  var slots: [Slot] { plain.slots }

  /// The norm of `rows` of `source`, lent by `scratch`.
  func forward(
    _ rows: Range<Int>, of source: ResidualStream, pass: Pass, scratch: ScratchArena
  ) -> LayerNorm.Rows {
    let x = scratch.matrix(rows.count, width)
    read(rows, of: source, into: x, pass: pass)
    return plain.forward(x, pass: pass, scratch: scratch)
  }

  /// What the norm is of, `rows` of `source`, into `x` `[rows, D]`.
  func read(_ rows: Range<Int>, of source: ResidualStream, into x: Matrix, pass: Pass) {
    guard late > 0 else { return source.read(rows, into: x) }
    for (index, row) in rows.enumerated() {
      let to = x.row(index)
      source.read(source.values(row..<row + 1)[late..<width], into: to[late..<width])
      if let before = rowBefore(row, of: source, pass: pass) {
        source.read(before, into: to[0..<late])
      } else {
        to[0..<late].fill(0)
      }
    }
  }

  /// Adds to `sourceGradient` `[L, D]` the gradient by that of the norm, `dy`, and to the tile's sums those of gain
  /// and bias.
  func backward(
    _ dy: Matrix, of rows: LayerNorm.Rows, into sourceGradient: Matrix, tile: RowTile, pass: Pass,
    scratch: ScratchArena
  ) {
    guard late > 0 else {
      return plain.backward(
        dy, of: rows, into: sourceGradient.rows(tile.rows), tile: tile, pass: pass)
    }
    scratch.frame {
      let dx = scratch.matrix(tile.rows.count, width)
      dx.fill(0)
      plain.backward(dy, of: rows, into: dx, tile: tile, pass: pass)
      for (index, row) in tile.rows.enumerated() {
        let own = dx.row(index)
        Kernels.add(sourceGradient.row(row)[late..<width], own[late..<width])
        if row > 0 { Kernels.add(sourceGradient.row(row - 1)[0..<late], own[0..<late]) }
      }
    }
  }

  /// The late features of the row before; nil where there is none.
  private func rowBefore(_ row: Int, of source: ResidualStream, pass: Pass) -> View<Int32>? {
    if case .step(let sequences, _) = pass.continuation { return lastRow(of: sequences[row]) }
    return row > 0 ? source.values(row - 1..<row)[0..<late] : nil
  }

  private func lastRow(of sequence: SequencePast) -> View<Int32> {
    sequence.lastRow(plain.gain, features: late)
  }

  /// Keeps of `source` what the rows after those of this pass read, where the sequences go on.
  func keep(_ source: ResidualStream, pass: Pass) {
    guard late > 0 else { return }
    func keep(_ row: Int, for sequence: SequencePast) {
      lastRow(of: sequence).copy(from: source.values(row..<row + 1)[0..<late])
    }
    switch pass.continuation {
    case .start(let sequence): keep(pass.rows.upperBound - 1, for: sequence)
    case .step(let sequences, _):
      for (row, sequence) in sequences.enumerated() { keep(row, for: sequence) }
    case nil: break
    }
  }
}
