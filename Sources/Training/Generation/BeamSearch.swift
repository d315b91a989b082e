// The likeliest targets of one source, found by beam search (Wu et al. 2016, "Google's neural machine translation system",
// section 7).
import Compute

/// How targets are looked for.
public struct TargetSearch: Sendable {
  /// Targets that are gone on with side by side; 1 takes the likeliest byte at each place.
  public var beam = 1
  /// How much longer targets are preferred: 0 compares their probabilities as they are, 1 about the mean of a byte.
  public var lengthPenalty = 1.0

  /// The likeliest byte at each place.
  public init() {}

  /// Throws where a number is not legal.
  public func check() throws(UserError) {
    guard (1...64).contains(beam) else {
      throw UserError("--beam \(beam); legal values: 1 to 64")
    }
    guard lengthPenalty.isFinite, lengthPenalty >= 0 else {
      throw UserError("--length-penalty \(lengthPenalty); legal values: 0 or more")
    }
  }

  /// What the logarithm of a probability of so many bytes, the end counted, is divided by.
  func penalty(_ count: Int) -> Double {
    DoubleFunctions.power((5 + Double(count)) / 6, lengthPenalty)
  }
}

/// Targets of a source on their way.
package struct BeamSearch {
  /// A target that goes on.
  private struct Open {
    let bytes: [UInt8]
    let logarithm: Double
  }

  private let search: TargetSearch
  /// Bytes of a target, its end counted, at most.
  private let limit: Int
  /// Likeliest first.
  private var open = [Open(bytes: [], logarithm: 0)]
  private var best: (bytes: [UInt8], score: Double)?
  private var ended = 0

  /// Nothing but the begin of a target of up to `limit` bytes.
  package init(_ search: TargetSearch, limit: Int) {
    self.search = search
    self.limit = limit
  }

  /// Targets that go on.
  package var openCount: Int { open.count }
  /// The best target that was found.
  package var target: [UInt8] { best?.bytes ?? [] }
  /// The last bytes of those that go on.
  package var lastBytes: [UInt8] { open.compactMap(\.bytes.last) }

  /// Goes on by a byte, given the logits of the next token for each that goes on; returns which of these the ones are that
  /// go on now, none where the search is over.
  ///
  /// - `offset`: token of byte 0; that before it is the end.
  package mutating func step(_ logits: [View<Float>], offset: Int) -> [Int] {
    var candidates: [(parent: Int, token: Int, logarithm: Double)] = []
    for (parent, logits) in logits.enumerated() {
      let values = logits.array.map(Double.init)
      let largest = values.reduce(-.infinity, max)
      // Bits that are the same on every machine.
      let sum = values.reduce(0) { $0 + DoubleFunctions.exp($1 - largest) }
      let common = open[parent].logarithm - largest - DoubleFunctions.log(sum)
      for token in [offset - 1] + Array(offset..<offset + 256)
      where token != offset + Int(UInt8(ascii: "\n")) {
        candidates.append((parent, token, common + values[token]))
      }
    }
    candidates.sort {
      ($0.logarithm, -$0.parent, -$0.token) > ($1.logarithm, -$1.parent, -$1.token)
    }
    let count = open[0].bytes.count + 1
    var (next, parents) = ([Open](), [Int]())
    for candidate in candidates where next.count < search.beam {
      let before = open[candidate.parent].bytes
      if candidate.token < offset {
        end(before, candidate.logarithm, count: count)
      } else if count < limit {
        next.append(
          Open(bytes: before + [UInt8(candidate.token - offset)], logarithm: candidate.logarithm))
        parents.append(candidate.parent)
      } else {
        // There is no room for anything but the end.
        break
      }
    }
    if count == limit, best == nil {
      end(open[0].bytes, open[0].logarithm, count: count)
    }
    // What goes on only becomes less likely: is the most that it can come to enough?
    let hope = next.first.map { $0.logarithm / search.penalty(limit) } ?? -.infinity
    guard ended < search.beam, hope > best?.score ?? -.infinity else {
      open = []
      return []
    }
    open = next
    return parents
  }

  /// A target is at its end.
  private mutating func end(_ bytes: [UInt8], _ logarithm: Double, count: Int) {
    ended += 1
    let score = logarithm / search.penalty(count)
    if score > best?.score ?? -.infinity { best = (bytes, score) }
  }
}
