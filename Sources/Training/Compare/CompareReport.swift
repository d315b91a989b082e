// What a comparison came to: a table for each budget, as JSON and as text.
import Foundation

/// The figures of a run that is done.
package struct FinishedRun {
  let run: CompareSpec.Run
  /// In bits per byte; nil where the run has no such score.
  var prequential, validation: Double?
  var test: Double
  var positions: [PositionScore]
  var trainedBytes: Double
  /// Over all steps, evaluations and checkpoints left out.
  var bytesPerSecond: Double
  var peakRssBytes: Double
}

extension FinishedRun {
  /// The figures of the run in `folder`.
  init(_ run: CompareSpec.Run, folder: String) throws {
    let path = folder + "/" + Comparison.scoreName
    let metrics = try MetricsFile(path: folder + "/metrics.jsonl")
    guard let data = FileManager.default.contents(atPath: path),
      let score = try? JSONDecoder().decode(TestScore.self, from: data)
    else { throw UserError("\(path): cannot be read; remove it to score the run again") }
    let steps = metrics.steps.filter { $0.stepSeconds != nil }
    let seconds = steps.reduce(0) { $0 + ($1.stepSeconds ?? 0) }
    let bytes = steps.reduce(0) { $0 + ($1.bytesPerSecond ?? 0) * ($1.stepSeconds ?? 0) }
    self.init(
      run: run, prequential: metrics.last("prequential_bits_per_byte"),
      validation: metrics.last("validation_bits_per_byte"), test: score.bitsPerByte,
      positions: score.positions, trainedBytes: metrics.last("trained_bytes") ?? 0,
      bytesPerSecond: seconds > 0 ? bytes / seconds : 0,
      peakRssBytes: metrics.last("peak_rss_bytes") ?? 0)
  }
}

/// A comparison's tables.
public struct CompareReport: Codable, Sendable {
  /// A figure over the seeds.
  public struct Figure: Codable, Sendable, Equatable {
    /// Its mean.
    public let mean: Double
    /// The least.
    public let least: Double
    /// The most.
    public let most: Double

    /// Of at least one value.
    init(_ values: [Double]) {
      mean = values.reduce(0, +) / Double(values.count)
      (least, most) = (values.min() ?? mean, values.max() ?? mean)
    }

    /// Of values that may be missing: nil where one is.
    static func whole(_ values: [Double?]) -> Figure? {
      let present = values.compactMap(\.self)
      return present.count == values.count ? Figure(present) : nil
    }
  }

  /// What bytes cost that are predicted from so many of their window.
  public struct Sight: Codable, Sendable, Equatable {
    /// The fewest bytes seen.
    public let seenFrom: Int
    /// The most.
    public let seenTo: Int
    /// Mean over the seeds, test split.
    public let bitsPerByte: Double
  }

  /// A variant with one budget.
  public struct Row: Codable, Sendable {
    /// Its name.
    public let variant: String
    /// Runs, one of each seed.
    public let runs: Int
    /// Bits per byte while each byte was seen for the first time; nil where the run has no such score.
    public let prequential: Figure?
    /// Bits per byte of the validation split.
    public let validation: Figure?
    /// Bits per byte of the test split.
    public let test: Figure
    /// Test bits beyond those of the first variant with the same seed; nil for that one.
    public let difference: Figure?
    /// Whether the differences of the seeds lie on both sides of 0; nil with one seed, which says nothing about it.
    public let isTie: Bool?
    /// Bytes trained on.
    public let trainedBytes: Figure
    /// Speed of training, over all ranks.
    public let bytesPerSecond: Figure
    /// Peak resident memory of rank 0.
    public let peakRssBytes: Figure
    /// Fewest bytes seen first.
    public let positions: [Sight]
  }

  /// All variants with one budget.
  public struct Table: Codable, Sendable {
    /// Bytes that each run is trained on; nil for a budget of seconds.
    public let bytes: Int?
    /// Seconds that each run takes; nil for a budget of bytes.
    public let seconds: Int?
    /// In the order of the file.
    public let rows: [Row]
  }

  /// Bytes first.
  public let budgets: [Table]

  init(budgets: [Table]) { self.budgets = budgets }

  /// The tables of the runs `done`, all those of `spec`.
  package init(_ spec: CompareSpec, _ done: [FinishedRun]) {
    budgets = spec.budgets.map { budget in
      let own = done.filter { $0.run.budget == budget }
      let first = own.filter { $0.run.variant == spec.variants[0] }
      let rows = spec.variants.map { variant in
        Row(
          variant.name, own.filter { $0.run.variant == variant },
          comparedWith: variant == spec.variants[0] ? nil : first)
      }
      switch budget {
      case .bytes(let bytes): return Table(bytes: bytes, seconds: nil, rows: rows)
      case .seconds(let seconds): return Table(bytes: nil, seconds: seconds, rows: rows)
      }
    }
  }
}

extension CompareReport.Row {
  /// `runs` and `first`: of the same seeds in the same order.
  init(_ variant: String, _ runs: [FinishedRun], comparedWith first: [FinishedRun]?) {
    typealias Figure = CompareReport.Figure
    self.variant = variant
    self.runs = runs.count
    prequential = .whole(runs.map(\.prequential))
    validation = .whole(runs.map(\.validation))
    test = Figure(runs.map(\.test))
    difference = first.map { Figure(zip(runs, $0).map { $0.test - $1.test }) }
    isTie = runs.count > 1 ? difference.map { $0.least <= 0 && $0.most >= 0 } : nil
    trainedBytes = Figure(runs.map(\.trainedBytes))
    bytesPerSecond = Figure(runs.map(\.bytesPerSecond))
    peakRssBytes = Figure(runs.map(\.peakRssBytes))
    positions = Self.sights(runs)
  }

  /// Ranges of bytes seen that grow by four, and the means in them.
  private static func sights(_ runs: [FinishedRun]) -> [CompareReport.Sight] {
    let scores = runs.flatMap(\.positions)
    func range(_ seen: Int) -> Int {
      // 1 to 63 together, then 64 to 255, 256 to 1,023, ...
      max(2, (Int.bitWidth - 1 - seen.leadingZeroBitCount) / 2)
    }
    // The last byte of a window alone sees all of it.
    let last = range(max(1, (scores.map(\.seenTo).max() ?? 1) - 1))
    let ranges = Dictionary(grouping: scores) { min(last, range($0.seenFrom)) }
    return ranges.sorted { $0.key < $1.key }.map { _, parts in
      let bytes = parts.reduce(0) { $0 + $1.bytes }
      let bits = parts.reduce(0) { $0 + $1.bitsPerByte * Double($1.bytes) }
      return CompareReport.Sight(
        seenFrom: parts.map(\.seenFrom).min() ?? 0, seenTo: parts.map(\.seenTo).max() ?? 0,
        bitsPerByte: bits / Double(bytes))
    }
  }
}

// MARK: Text

extension CompareReport {
  /// The tables in Markdown.
  public var text: String {
    budgets.map { table in
      ([Self.title(table), ""] + Self.lines(table).map { "| " + $0.joined(separator: " | ") + " |" })
        .joined(separator: "\n")
    }.joined(separator: "\n\n")
  }

  /// The tables for a page.
  var html: String {
    budgets.map { table in
      let lines = Self.lines(table)
      return RunTables.table(Self.title(table), head: lines[0], Array(lines.dropFirst(2)))
    }.joined(separator: "\n")
  }

  private static func title(_ table: Table) -> String {
    let budget =
      table.bytes.map { "\($0) bytes" } ?? table.seconds.map { "\($0) seconds" } ?? ""
    return "Bits per byte after \(budget) of training (least to most over the seeds)"
  }

  /// Head, rule and rows.
  private static func lines(_ table: Table) -> [[String]] {
    let sights = table.rows.first?.positions.map { "\($0.seenFrom) to \($0.seenTo)" } ?? []
    let head =
      ["variant", "runs", "prequential", "validation", "test", "beyond the first"]
      + ["bytes", "bytes/s", "peak MB"] + sights.map { "from \($0) bytes" }
    return [head, head.map { _ in "---" }]
      + table.rows.map { row in
        let tie = row.isTie == true ? ", a tie" : ""
        return [
          row.variant, "\(row.runs)", bits(row.prequential), bits(row.validation), bits(row.test),
          row.difference.map { bits($0, sign: "+") + tie } ?? "",
          whole(row.trainedBytes, 1), whole(row.bytesPerSecond, 1), whole(row.peakRssBytes, 1e-6),
        ] + row.positions.map { String(format: "%.3f", $0.bitsPerByte) }
      }
  }

  private static func bits(_ figure: Figure?, sign: String = "") -> String {
    guard let figure else { return "" }
    return spread(figure) { String(format: "%\(sign).4f", $0) }
  }

  private static func whole(_ figure: Figure, _ factor: Double) -> String {
    spread(figure) { String(format: "%.0f", $0 * factor) }
  }

  private static func spread(_ figure: Figure, _ text: (Double) -> String) -> String {
    let (mean, least, most) = (text(figure.mean), text(figure.least), text(figure.most))
    return least == most ? mean : "\(mean) (\(least) to \(most))"
  }
}
