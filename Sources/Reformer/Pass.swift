// One pass over one window: what all sub-layers share while it lasts.
import Compute

/// Parameters, randomness and machinery of a pass.
///
/// L positions.
struct Pass {
  let parameters: View<Float>
  let length: Int
  let address: RandomAddress
  /// Dropout is on.
  let isTraining: Bool
  /// Rotations to use instead of drawn ones, by layer.
  let givenRotations: [Int: [Float]]
  let engine: Engine

  func drops(_ rate: Double) -> Bool { isTraining && rate > 0 }

  /// Dropout on rows of the sequence; an element's number is its place in `[L, columns]`, so any
  /// cut into tiles drops the same elements.
  func dropRows(
    _ x: Matrix, _ rows: Range<Int>, rate: Double, _ purpose: RandomPurpose, layer: Int = 0
  ) {
    guard drops(rate) else { return }
    address.stream(purpose, layer: layer)
      .dropout(x.dense, rate: rate, first: rows.lowerBound * x.columns)
  }

  /// The same on strips: the same elements are dropped.
  func dropRows(
    _ x: StripMatrix, _ rows: Range<Int>, rate: Double, _ purpose: RandomPurpose, layer: Int = 0
  ) {
    guard drops(rate) else { return }
    let stream = address.stream(purpose, layer: layer)
    for (columns, strip) in x.strips {
      for (index, row) in rows.enumerated() {
        stream.dropout(
          strip.row(index), rate: rate, first: row * x.columns + columns.lowerBound)
      }
    }
  }
}
