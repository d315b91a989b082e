// What parameters hold before the first step.
import Compute

extension ReformerConfig {
  /// Of a matrix that reads `inputs` features: normal, of variance 1 / inputs.
  func reading(inputs: Int, scale: Double = 1) -> FirstValues {
    .normal(deviation: 1 / Double(inputs).squareRoot() * scale)
  }

  /// Of a matrix that writes into a stream: smaller by the square root of the number of writers, so that the
  /// streams neither grow nor drown with depth (GPT-2, section 2.3).
  func writing(inputs: Int, layer: Int) -> FirstValues {
    let writers = layer < encoder.count ? 2 * encoder.count : sublayers * layers.count
    return .normal(deviation: 1 / Double(inputs).squareRoot() / Double(writers).squareRoot())
  }
}

extension ParameterLayout {
  /// Fills `parameters` with first values; a function of the seed alone.
  public func initialise(_ parameters: View<Float>, seed: UInt64) {
    parameters.fill(0)
    let address = RandomAddress(seed: seed, step: 0, sample: 0)
    for (index, slot) in slots.enumerated() {
      let values = parameters[slot.range]
      switch slot.specification.first {
      case .constant(let value): values.fill(value)
      case .normal(let deviation):
        address.stream(.initialisation, layer: index).normal(into: values)
        Kernels.scale(values, by: Float(deviation))
      case .averages(let parts): Self.setAverages(Matrix(parameters, slot), parts: parts)
      case .pooling(let parts):
        let matrix = Matrix(parameters, slot)
        for row in 0..<matrix.rows {
          for part in 0..<parts { matrix.row(row)[part * matrix.rows + row] = 1 / Float(parts) }
        }
      case .waves:
        Self.setWaves(values, features: slot.shape[slot.shape.count - 1])
      case .turned(let queries, let headWidth, let features, let rows):
        Self.turn(
          Matrix(parameters, slot), from: Matrix(parameters, self[queries]), headWidth: headWidth,
          features: features, rows: rows)
      }
    }
  }

  /// Equal weights for the columns of a row's part, which add up to 1.
  private static func setAverages(_ matrix: Matrix, parts: Int) {
    for index in 0..<matrix.rows {
      let part = index % parts
      let own = part * matrix.columns / parts..<(part + 1) * matrix.columns / parts
      matrix.row(index)[own].fill(1 / Float(own.count))
    }
  }

  /// Sines and cosines that make a whole number of turns over an axis (`[positions, features]`).
  ///
  /// Learned tables that start as noise take long to tell "one back" from "two back"; between waves that is a
  /// rotation, the same everywhere (Vaswani et al. 2017, section 3.5), also from the end of one row
  /// of the grid to the start of the next.
  private static func setWaves(_ table: View<Float>, features: Int) {
    let positions = table.count / features
    for position in 0..<positions {
      for feature in 0..<features {
        let angle =
          waveAngle(feature / 2, features: features, positions: positions)
          * Double(position)
        table[position * features + feature] =
          Float(
            2.0.squareRoot()
              * (feature % 2 == 0 ? DoubleFunctions.sine(angle) : DoubleFunctions.cosine(angle)))
      }
    }
  }

  /// What one position turns the wave of a pair of features by: from one turn over the axis to half a turn per
  /// position, in equal ratios.
  private static func waveAngle(_ pair: Int, features: Int, positions: Int) -> Double {
    let share = min(1, Double(pair) / Double(max(1, features / 2 - 1)))
    let turns = DoubleFunctions.power(max(1, Double(positions / 2)), share).rounded()
    return 2 * Double.pi * turns / Double(positions)
  }

  /// Queries turned: head h begins by attending h + 1 positions back.
  private static func turn(
    _ keys: Matrix, from queries: Matrix, headWidth: Int, features: Int, rows: Int
  ) {
    keys.copy(from: queries)
    let first = keys.columns - features
    for row in 0..<keys.rows {
      let (key, query) = (keys.row(row), queries.row(row))
      for pair in 0..<features / 2 {
        let angle =
          waveAngle(pair, features: features, positions: rows) * Double(row / headWidth + 1)
        let sine = Float(DoubleFunctions.sine(angle))
        let cosine = Float(DoubleFunctions.cosine(angle))
        let (a, b) = (query[first + 2 * pair], query[first + 2 * pair + 1])
        key[first + 2 * pair] = a * cosine - b * sine
        key[first + 2 * pair + 1] = a * sine + b * cosine
      }
    }
  }
}
