// What an optimizer does to which places of a layout, and what it keeps for them: known from the config alone, so
// that `plan` knows the memory.
import Compute

/// Part of a rank's parameters whose update depends on nothing outside it.
struct OptimizerPiece: Sendable {
  enum Rule: Sendable {
    /// Number by number.
    case adam
    case muon(rows: Int, columns: Int)
    /// Adafactor with means of squares by row and by column.
    case factored(rows: Int, columns: Int)
    /// Adafactor with a mean of squares for each number.
    case unfactored
  }
  let rule: Rule
  /// Places in the flat layout.
  let range: Range<Int>
  /// Whether weights decay; of a piece by Adam, where they begin to or cease to is for `cut` to find.
  let decays: Bool
  /// Its places among the rank's first moments, second moments and averages; empty where it has none.
  let first: Range<Int>
  let second: Range<Int>
  let average: Range<Int>
}

/// The pieces in which an optimizer updates what a rank owns of a layout.
public struct OptimizerPieces: Sendable {
  /// Whole tensors, and by Adam all that lies between them.
  private var pieces: [OptimizerPiece] = []
  /// Places that have a first moment, in the order in which these are stored.
  private(set) var first: [Range<Int>] = []
  /// Places that have a second moment; a factored one is kept for the first places of its matrix: rows, then columns.
  private(set) var second: [Range<Int>] = []
  private var firstCount = 0
  private var secondCount = 0

  /// Numbers kept for all pieces, averages of parameters left out.
  public var momentCount: Int { firstCount + secondCount }

  /// Most floats of scratch that a piece takes.
  public var scratchCount: Int {
    pieces.reduce(0) { most, piece in
      switch piece.rule {
      case .adam: most
      case .muon(let rows, let columns): max(most, Muon.scratchCount(rows, columns))
      case .factored(_, let columns): max(most, piece.range.count + 3 * columns)
      case .unfactored: max(most, piece.range.count)
      }
    }
  }

  /// Cuts `ranges`, what a rank owns; traps where they hold part of a tensor that is updated as a whole.
  public init(kind: OptimizerKind, layout: ParameterLayout, ranges: [Range<Int>]) {
    var average = 0
    for range in ranges {
      var start = range.lowerBound
      func addGap(to end: Int) {
        // Adafactor leaves nothing between its tensors but padding.
        guard kind != .adafactor, start < end else { return }
        add(.adam, start..<end, average: average + start - range.lowerBound)
      }
      for group in layout.groups where group.range.overlaps(range) {
        for slot in group.slots
        where slot.range.overlaps(range) && Self.isWhole(slot.specification, kind) {
          precondition(
            range.contains(slot.offset) && slot.range.upperBound <= range.upperBound,
            "part of \(slot.name)")
          addGap(to: slot.offset)
          add(
            Self.rule(of: slot, kind), slot.range,
            average: average + slot.offset - range.lowerBound,
            decays: slot.specification.decays)
          start = min((slot.range.upperBound + 15) / 16 * 16, range.upperBound)
        }
      }
      addGap(to: range.upperBound)
      average += range.count
    }
  }

  private static func isWhole(_ tensor: ParameterSpecification, _ kind: OptimizerKind) -> Bool {
    switch kind {
    case .adam: false
    case .muon: tensor.kind == .matrix
    case .adafactor: true
    }
  }

  private static func rule(of slot: Slot, _ kind: OptimizerKind) -> OptimizerPiece.Rule {
    let columns = slot.shape.last ?? 1
    let rows = slot.count / columns
    if kind == .muon { return .muon(rows: rows, columns: columns) }
    let isFactored = slot.specification.kind != .vector && rows > 1 && columns > 1
    return isFactored ? .factored(rows: rows, columns: columns) : .unfactored
  }

  private mutating func add(
    _ rule: OptimizerPiece.Rule, _ range: Range<Int>, average: Int, decays: Bool = false
  ) {
    let none = range.lowerBound..<range.lowerBound
    let (firstPlaces, secondPlaces) =
      switch rule {
      case .adam: (range, range)
      case .muon: (range, none)
      case .factored(let rows, let columns):
        (none, range.lowerBound..<range.lowerBound + rows + columns)
      case .unfactored: (none, range)
      }
    pieces.append(
      OptimizerPiece(
        rule: rule, range: range, decays: decays,
        first: firstCount..<firstCount + firstPlaces.count,
        second: secondCount..<secondCount + secondPlaces.count,
        average: average..<average + range.count))
    if !firstPlaces.isEmpty { first.append(firstPlaces) }
    if !secondPlaces.isEmpty { second.append(secondPlaces) }
    firstCount += firstPlaces.count
    secondCount += secondPlaces.count
  }

  // MARK: Tasks

  // Elements of a piece of Adam at most: four streams of it fit in a core's cache.
  private static let adamLength = 1 << 16

  /// The pieces, those of Adam cut for several threads and where weight decay begins or ends.
  func cut(_ layout: ParameterLayout) -> [OptimizerPiece] {
    let decaying = Self.decaying(layout)
    let cut = pieces.flatMap { piece -> [OptimizerPiece] in
      guard case .adam = piece.rule else { return [piece] }
      var parts: [OptimizerPiece] = []
      var start = piece.range.lowerBound
      while start < piece.range.upperBound {
        let here = decaying.first { $0.upperBound > start }
        let decays = here?.contains(start) ?? false
        let change =
          here.map { decays ? $0.upperBound : $0.lowerBound } ?? piece.range.upperBound
        let end = min(
          piece.range.upperBound, change, (start / Self.adamLength + 1) * Self.adamLength)
        func part(_ whole: Range<Int>) -> Range<Int> {
          let offset = whole.lowerBound - piece.range.lowerBound
          return offset + start..<offset + end
        }
        parts.append(
          OptimizerPiece(
            rule: .adam, range: start..<end, decays: decays, first: part(piece.first),
            second: part(piece.second), average: part(piece.average)))
        start = end
      }
      return parts
    }
    // The longest first, so that no thread begins one when the others are done.
    return cut.sorted { $0.range.count > $1.range.count }
  }

  /// Where weight decay applies, ascending.
  ///
  /// Ends are rounded up over the zero padding to multiples of 16, so that pieces start on cache lines.
  private static func decaying(_ layout: ParameterLayout) -> [Range<Int>] {
    var merged: [Range<Int>] = []
    for slot in layout.slots where slot.specification.decays {
      let range = slot.offset..<((slot.range.upperBound + 15) / 16 * 16)
      if let last = merged.last, last.upperBound == range.lowerBound {
        merged[merged.count - 1] = last.lowerBound..<range.upperBound
      } else {
        merged.append(range)
      }
    }
    return merged
  }
}
