// What counts say of some positions: contexts from the shortest to the longest, those of the window behind those of tables,
// and the passages that the window repeats behind all of them. Each claims a share of the probability for what it has seen,
// and leaves the rest to those before. Positions are independent here; how large shares are is decided one after the other.
import Compute

extension NGramMixture {
  /// Contexts and passages that may have a say.
  var claims: Int { tables.tables.count + windowOrders.count + RepeatedPassages.rules.count }

  /// Room for what counts say of `rows` positions.
  func evidence(rows: Int, from arena: ScratchArena) -> NGramEvidence {
    NGramEvidence(rows: rows, claims: claims, vocabulary: tables.vocabulary, from: arena)
  }

  /// Sets rows of `evidence`, from `first` on, to what counts say of the tokens after each position of `rows`.
  func gather(_ rows: Range<Int>, into evidence: NGramEvidence, first: Int, common: Common) {
    for (index, position) in rows.enumerated() {
      gather(position, into: evidence, row: first + index, common: common)
    }
  }

  private func gather(_ position: Int, into evidence: NGramEvidence, row: Int, common: Common) {
    let contexts = tables.tables.count + windowOrders.count
    let window = common.window
    withUnsafeTemporaryAllocation(of: Followers.self, capacity: contexts) { followers in
      let isNew = tableFollowers(position, into: followers, common: common)
      for index in windowOrders.indices {
        followers.initializeElement(
          at: tables.tables.count + index,
          to: common.earlier.followers(index, position, of: window.inputs))
      }
      shortest(
        tables.followers(of: window.inputs[position], in: common.parameters),
        without: isNew ? Int(window.targets[position]) : -1, anywhere: common.shares.anywhere,
        into: evidence.shortest.row(row))
      var writer = NGramEvidence.Writer(evidence, row: row)
      let (longest, longestOfWindow, isSingle) = add(followers, to: &writer)
      let passage = addPassages(position, common: common, to: &writer)
      let place = 2 * (longest * (windowOrders.count + 1) + longestOfWindow) + isSingle
      writer.finish(place: 2 * (place * Self.passageLengths + passage))
    }
  }

  /// What followed the contexts of tables.
  ///
  /// Where the window comes again, its own count is taken out as it went in; returns whether it went on to the shortest.
  private func tableFollowers(
    _ position: Int, into followers: UnsafeMutableBufferPointer<Followers>, common: Common
  ) -> Bool {
    let window = common.window
    let target = Int(window.targets[position])
    return withUnsafeTemporaryAllocation(of: NGramRow.self, capacity: tables.tables.count) { rows in
      tables.rows(window.inputs, position, in: common.parameters) {
        rows.initializeElement(at: $0, to: $1)
      }
      var leavesOut = window.isRepeated && target >= 0
      for index in rows.indices.reversed() {
        let row = rows[index]
        let count = row.isKnown && leavesOut ? row.count(of: target) : 0
        if count > 0 { leavesOut = count == 1 }
        followers.initializeElement(
          at: index, to: row.isKnown ? row.followers(without: count > 0 ? target : -1) : Followers()
        )
      }
      return leavesOut
    }
  }

  /// Contexts, shortest first; returns the longest of tables and of the window, from 1, and whether one token alone has
  /// followed the last.
  private func add(
    _ contexts: UnsafeMutableBufferPointer<Followers>, to writer: inout NGramEvidence.Writer
  ) -> (longest: Int, longestOfWindow: Int, isSingle: Int) {
    let tableCount = tables.tables.count
    var (longest, longestOfWindow, isSingle) = (0, 0, 0)
    for (index, followers) in contexts.enumerated() where followers.kinds > 0 {
      let (total, kinds) = (followers.total, followers.kinds)
      var discounts: Float = 0
      for place in 0..<kinds { discounts += Self.discount(followers[place].count) }
      let base = discounts / Float(total)
      let unit = 1 / ((1 - base) * Float(total))
      writer.add(cell: cell(index, size: total, column: kinds - 1), base: base, kinds: kinds) {
        let (token, count) = followers[$0]
        return (token, (Float(count) - Self.discount(count)) * unit)
      }
      if index < tableCount {
        longest = index + 1
      } else {
        longestOfWindow = index - tableCount + 1
      }
      isSingle = kinds == 1 ? 1 : 0
    }
    return (longest, longestOfWindow, isSingle)
  }

  /// Passages that may be going on; returns the kind of the longest.
  private func addPassages(
    _ position: Int, common: Common, to writer: inout NGramEvidence.Writer
  ) -> Int {
    var kind = 0
    for rule in RepeatedPassages.rules.indices {
      guard
        let next = common.passages.expectation(rule, position, of: common.window.inputs)
      else { continue }
      let cell = cell(
        tables.tables.count + windowOrders.count + rule, size: next.hits + 1,
        column: min(next.misses, Followers.places - 1))
      // As if each passage had missed once and a half before: what contexts are for is said already.
      let base = Float(2 * next.misses + 3) / Float(min(next.hits, 64) + 2 * next.misses + 4)
      writer.add(cell: cell, base: base, kinds: 1) { _ in (next.token, 1) }
      kind = max(kind, next.hits < 8 ? 1 : next.hits < 32 ? 2 : 3)
    }
    return kind
  }

  private func cell(_ context: Int, size: Int, column: Int) -> Int {
    (context * Self.sizes + Self.size(size)) * Followers.places + column
  }

  /// What followed a token, interpolated with what stands anywhere; `without`: a token to count once less.
  private func shortest(
    _ counts: View<Float>, without: Int, anywhere: View<Float>, into p: View<Float>
  ) {
    var (total, discounts) = (0, Float(0))
    func count(_ token: Int) -> Int { Int(counts.base[token]) - (token == without ? 1 : 0) }
    for token in 0..<counts.count {
      let count = count(token)
      guard count > 0 else { continue }
      (total, discounts) = (total + count, discounts + Self.discount(count))
    }
    p.copy(from: anywhere)
    guard total > 0 else { return }
    Kernels.scale(p, by: discounts / Float(total))
    for token in 0..<counts.count {
      let count = count(token)
      if count > 0 { p.base[token] += (Float(count) - Self.discount(count)) / Float(total) }
    }
  }

  /// What a count gives to tokens that were not there; the formula's customary sizes.
  private static func discount(_ count: Int) -> Float {
    count == 1 ? 0.75 : count == 2 ? 0.9 : 1.2
  }

  /// Half powers of two in a count, at most 15.
  private static func size(_ count: Int) -> Int {
    let number = Float(count)
    return min(2 * Int(number.exponent) + (number.significand >= 1.414_213_5 ? 1 : 0), sizes - 1)
  }
}
