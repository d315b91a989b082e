// Positions as rotations of queries and keys (Su et al. 2021, "RoFormer: enhanced transformer with rotary position
// embedding", section 3.2): their products then depend on how far apart two positions are and on nothing else, so no
// table ends at the length that was trained.
import Compute

/// Angles of every position of a window.
///
/// K features per head. Feature i and feature K / 2 + i are a pair, turned by position * 10000^(-2 i / K).
public final class RotaryPositions: Sendable {
  // Angles of 0 to 1023, and of multiples of 1024: a turn adds one of each.
  private static let near = 1024
  /// `[positions, K]`: cosines, then sines.
  private let nearby, far: Buffer<Float>
  private let headWidth: Int

  /// For positions up to `length` from the start of a window, on either side, and heads of `headWidth` features, an even number.
  public init(length: Int, headWidth: Int) {
    self.headWidth = headWidth
    func angles(_ count: Int, step: Int) -> Buffer<Float> {
      let table = Buffer<Float>(count * headWidth)
      let pairs = headWidth / 2
      for pair in 0..<pairs {
        let frequency = DoubleFunctions.power(10_000, -Double(pair) / Double(pairs))
        for index in 0..<count {
          let angle = Double(index * step) * frequency
          table.view[index * headWidth + pair] = Float(DoubleFunctions.cosine(angle))
          table.view[index * headWidth + pairs + pair] = Float(DoubleFunctions.sine(angle))
        }
      }
      return table
    }
    nearby = angles(min(length, Self.near), step: 1)
    far = angles((length + Self.near - 1) / Self.near, step: Self.near)
  }

  /// Numbers of 32 bits that these angles take.
  public static func floats(length: Int, headWidth: Int) -> Int {
    (min(length, near) + (length + near - 1) / near) * headWidth
  }

  /// Turns a head's features `[K]` of one position, or turns gradients of them back; positions of earlier windows are
  /// below 0.
  public func turn(_ features: View<Float>, of position: Int, back: Bool = false) {
    let distance = abs(position)
    func row(_ table: Buffer<Float>, _ index: Int) -> View<Float> {
      table.view[index * headWidth..<(index + 1) * headWidth]
    }
    Kernels.turn(
      features, by: row(nearby, distance % Self.near), and: row(far, distance / Self.near),
      back: back != (position < 0))
  }

  /// Turns all heads of queries and keys `[n, g * K]`, or turns their gradients back; `firstKey`: position of the first
  /// key.
  public func turn(
    _ matrices: some Sequence<Matrix>, firstKey: Int, back: Bool = false, pool: WorkerPool
  ) {
    for (number, matrix) in matrices.enumerated() {
      let first = number == 0 ? 0 : firstKey
      let tiles = Tiling.ranges(matrix.rows, by: Tiling.tileRows)
      pool.run(tiles.count) { tile, scratch in
        for index in tiles[tile] {
          let row = matrix.row(index)
          for start in stride(from: 0, to: matrix.columns, by: headWidth) {
            turn(row[start..<start + headWidth], of: first + index, back: back)
          }
        }
        scratch.lap(.layout)
      }
    }
  }
}

extension AttentionPass {
  /// Turns the queries and keys of `group`, where positions are rotary: before they meet, and for good.
  func turn(_ group: HeadGroup) {
    rotary?.turn(group.projected.dropLast(), firstKey: firstKey, pool: engine.pool)
  }

  /// Turns the gradients of turned queries and keys back, the values' last.
  func turnBack(_ gradients: [Matrix]) {
    rotary?.turn(gradients.dropLast(), firstKey: firstKey, back: true, pool: engine.pool)
  }
}
