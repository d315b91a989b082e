// Where a corpus is cut into training, validation and test bytes.

/// The share of the bytes that each split gets.
public struct SplitFractions: Sendable, Equatable {
  /// 90 / 5 / 5 percent, the customary cut of enwik8.
  public static let standard = SplitFractions(trainEnd: 900_000, validationEnd: 950_000)

  // Cuts are kept in millionths: integers, so that 0.9 of 100,000,000 is 90,000,000 exactly.
  private static let whole = 1_000_000
  private let trainEnd: Int
  private let validationEnd: Int
  /// Bytes that stay together.
  private let unit: Int

  private init(trainEnd: Int, validationEnd: Int) {
    self.trainEnd = trainEnd
    self.validationEnd = validationEnd
    unit = 1
  }

  /// Takes the shares of train, validation and test; each cut is rounded to a millionth, and then to whole units of so
  /// many bytes.
  ///
  /// Throws `CorpusError.illegalFractions` unless they are three numbers from 0 to 1 summing to 1
  /// (within a millionth).
  public init(_ fractions: [Double], unit: Int = 1) throws(CorpusError) {
    precondition(unit > 0, "units of \(unit) bytes")
    guard fractions.count == 3, fractions.allSatisfy({ (0...1).contains($0) }),
      abs(fractions[0] + fractions[1] + fractions[2] - 1) < 1e-6
    else { throw .illegalFractions(fractions) }
    self.unit = unit
    let whole = Double(Self.whole)
    trainEnd = Int((fractions[0] * whole).rounded())
    validationEnd = min(Self.whole, Int(((fractions[0] + fractions[1]) * whole).rounded()))
  }

  /// The bytes of `split` in a corpus of `count` bytes; each cut is rounded down, of units of several bytes to the
  /// nearest.
  public func range(of split: CorpusSplit, count: Int) -> Range<Int> {
    switch split {
    case .train: 0..<part(trainEnd, of: count)
    case .validation: part(trainEnd, of: count)..<part(validationEnd, of: count)
    case .test: part(validationEnd, of: count)..<count
    }
  }

  // floor(count * millionths / 1,000,000) of all units, without a product that could overflow. A cut that was said as a share
  // of the units is rounded to the nearest, as a millionth is not a whole one.
  private func part(_ millionths: Int, of count: Int) -> Int {
    let (units, whole) = (count / unit, Self.whole)
    let half = unit == 1 ? 0 : whole / 2
    return unit * (units / whole * millionths + (units % whole * millionths + half) / whole)
  }
}
