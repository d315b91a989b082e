// Positions added to what queries and keys are made of, and to nothing else (Press et al. 2021, "Shortformer: better
// language modeling using shorter inputs", section 5, position-infused attention): the streams and the values do not know
// where they stand, and no table ends at the length that was trained.
import Attention
import Compute

/// Sinusoids of every position, D features each, an even number.
///
/// As in Vaswani et al. 2017, "Attention is all you need", section 3.5: feature i is the cosine and feature D / 2 + i the
/// sine of position * 10000^(-2 i / D), which is what rotations of D features make of ones and zeros.
struct InfusedPositions: Sendable {
  private let rotations: RotaryPositions
  private let width: Int

  /// For windows of up to `length` positions of `width` features.
  init(length: Int, width: Int) {
    rotations = RotaryPositions(length: length, headWidth: width)
    self.width = width
  }

  /// Numbers of 32 bits that they take.
  static func floats(length: Int, width: Int) -> Int {
    RotaryPositions.floats(length: length, headWidth: width)
  }

  /// Adds them to rows `x` `[n, D]`; `position`: of a row by its number, below 0 for rows of earlier windows.
  func add(to x: Matrix, scratch: ScratchArena, position: (Int) -> Int) {
    scratch.frame {
      let sinusoids = scratch.floats(width)
      for index in 0..<x.rows {
        sinusoids[0..<width / 2].fill(1)
        sinusoids[width / 2..<width].fill(0)
        rotations.turn(sinusoids, of: position(index))
        Kernels.add(x.row(index), sinusoids)
      }
    }
    scratch.lap(.layout)
  }
}
