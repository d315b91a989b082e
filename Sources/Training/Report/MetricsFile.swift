// The figures of a run as its `metrics.jsonl` holds them.
import Checkpointing
import Foundation

/// What was read of a `metrics.jsonl`.
struct MetricsFile {
  /// Records of optimizer steps, in order.
  private(set) var steps: [MetricsRecord] = []
  /// Records of evaluations, in order.
  private(set) var evaluations: [MetricsRecord] = []
  /// Lines that are no records, such as one that a killed run has begun.
  private(set) var brokenLines = 0
  /// One line in so many was read; 1 for all.
  let stride: Int

  /// Lines that are read in any case: enough for curves, and some seconds of reading.
  private static let mostLines = 50_000

  /// Reads the file at `path`.
  ///
  /// Of a longer file than `mostLines` only every n-th line of a step is read, and its last ones; evaluations always are.
  /// Throws `UserError` where it cannot be read.
  init(path: String) throws(UserError) {
    let data: Data
    do { data = try Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe) } catch {
      throw UserError("\(path): cannot be read; name the folder of a run that has begun")
    }
    let lines = data.split(separator: UInt8(ascii: "\n"))
    stride = max(1, (lines.count + Self.mostLines - 1) / Self.mostLines)
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let evaluation = Data(#""validation_bits_per_byte""#.utf8)
    for (index, line) in lines.enumerated() {
      // The last step's line is followed by those of its evaluation and checkpoint.
      let isWanted = index % stride == 0 || index + 8 >= lines.count
      guard isWanted || line.range(of: evaluation) != nil else { continue }
      guard let record = try? decoder.decode(MetricsRecord.self, from: line) else {
        brokenLines += 1
        continue
      }
      if record.validationBitsPerByte != nil { evaluations.append(record) }
      if record.stepSeconds != nil { steps.append(record) }
    }
  }

  /// What the model wrote, by step.
  var samples: [(step: Int, bitsPerByte: Double?, text: String)] {
    evaluations.compactMap { record in
      record.sample.map { (record.step, record.validationBitsPerByte, $0) }
    }
  }

  /// The last evaluation's bits per byte over the bytes seen in the window, each range of them at its middle.
  var positions: [CurvePoint] {
    (evaluations.last?.validationPositions ?? []).map { part in
      CurvePoint(
        x: (log2(Double(part.seenFrom)) + log2(Double(part.seenTo))) / 2, y: part.bitsPerByte)
    }
  }

  /// The last value of the key called `name`.
  func last(_ name: String) -> Double? {
    let key = MetricKey.named(name)
    return (key.event == .evaluation ? evaluations : steps).lazy.reversed().compactMap(key.number)
      .first
  }

  /// The values of the key called `name`, over the bytes trained on.
  func curve(_ name: String) -> [CurvePoint] {
    let key = MetricKey.named(name)
    if key.event != .evaluation {
      return steps.compactMap { record in
        guard let bytes = record.trainedBytes, let value = key.number(record) else { return nil }
        return CurvePoint(x: Double(bytes), y: value)
      }
    }
    // An evaluation stands where its step does.
    var (points, place) = ([CurvePoint](), 0)
    for record in evaluations {
      while place + 1 < steps.count, steps[place + 1].step <= record.step { place += 1 }
      guard place < steps.count, steps[place].step <= record.step,
        let bytes = steps[place].trainedBytes, let value = key.number(record)
      else { continue }
      points.append(CurvePoint(x: Double(bytes), y: value))
    }
    return points
  }
}
