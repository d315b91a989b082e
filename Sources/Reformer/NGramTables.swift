// How often each token followed the last n: counts that a run takes as it goes, by the rule of interpolated Kneser-Ney
// smoothing (Chen and Goodman 1999, "An empirical study of smoothing techniques for language modeling"): where a context
// has seen a token before, shorter contexts do not count it again. Counts are a function of the windows of a run in their
// order and of nothing else. They stand in the buffer of parameters as whole numbers, so a checkpoint has them.
import Compute

/// Counts of what followed contexts of one token and of several.
///
/// V vocabulary.
public struct NGramTables: Sendable {
  /// Contexts of one length: rows, of which a context's is found by a hash.
  struct Table: Sendable {
    /// Tokens of a context.
    let order: Int
    /// `[rows, 16]`, or half as wide and twice as many for contexts that few tokens have followed: the check of the
    /// context a row belongs to, 0 for none; then followers, see `NGramRow`.
    let counts: Slot
  }

  /// Shortest contexts first.
  let tables: [Table]
  /// `[V + 1, V]`: what followed each token, and all of them.
  let frequencies: Slot
  let vocabulary: Int

  /// The tables behind everything else in `layout`; nil where `config` has none.
  init?(_ config: ReformerConfig, layout: inout ParameterLayout) {
    guard !config.ngrams.orders.isEmpty else { return nil }
    vocabulary = config.vocabulary
    frequencies = layout.add(
      table: ParameterSpecification(
        "ngrams.frequencies", [vocabulary + 1, vocabulary], .counts, .constant(0)))
    tables = config.ngrams.orders.sorted().map { order in
      let parts = order < 4 ? 1 : 2
      return Table(
        order: order,
        counts: layout.add(
          table: ParameterSpecification(
            "ngrams.\(order)", [config.ngrams.rows * parts, NGramRow.width / parts], .counts,
            .constant(0))))
    }
  }

  /// What followed `token`, or all tokens for nil, `[V]`.
  func followers(of token: Int32?, in parameters: View<Float>) -> View<Float> {
    let start = frequencies.offset + (token.map { Int($0) } ?? vocabulary) * vocabulary
    return parameters[start..<start + vocabulary]
  }

  /// The rows where the contexts of `position` would be, shortest first.
  ///
  /// Places before the window count as a token of their own.
  func rows(
    _ tokens: View<Int32>, _ position: Int, in parameters: View<Float>,
    _ body: (_ table: Int, _ row: NGramRow) -> Void
  ) {
    var (state, length) = (UInt64(0x9E37_79B9_7F4A_7C15), 0)
    for (index, table) in tables.enumerated() {
      while length < table.order {
        let place = position - length
        let token = place >= 0 ? UInt64(tokens[place] + 1) : 0
        state = (state ^ token) &* 0xD6E8_FEB8_6659_FD93
        state ^= state >> 32
        length += 1
      }
      // High bits choose the row, low ones are its check.
      let key = state &* 0x9FB2_1C65_1E98_DF25
      let row = Int(key.multipliedFullWidth(by: UInt64(table.counts.shape[0])).high)
      let width = table.counts.shape[1]
      let start = table.counts.offset + row * width
      body(
        index,
        NGramRow(values: parameters[start..<start + width], check: Float(key % (1 << 23) + 1)))
    }
  }

  /// Asks for the rows of the contexts of `position`, which lie anywhere in memory, some time before they are read.
  func fetch(_ tokens: View<Int32>, _ position: Int, in parameters: View<Float>) {
    rows(tokens, position, in: parameters) { $1.values.fetch() }
  }

  /// Counts what follows each position of `window`, in order.
  ///
  /// A token goes to its longest context, and on to the next shorter one while it is new to them.
  public func count(_ window: Window, in parameters: View<Float>) {
    let (inputs, targets) = (window.inputs, window.targets)
    for position in 0..<window.length where targets[position] >= 0 {
      let next = Int(targets[position])
      var isNew = true
      withUnsafeTemporaryAllocation(of: NGramRow.self, capacity: tables.count) { contexts in
        rows(inputs, position, in: parameters) { contexts.initializeElement(at: $0, to: $1) }
        for index in tables.indices.reversed() where isNew { isNew = contexts[index].count(next) }
      }
      for followers in [
        followers(of: inputs[position], in: parameters), followers(of: nil, in: parameters),
      ] where isNew {
        isNew = followers[next] == 0
        followers[next] += 1
      }
    }
  }
}

/// One row: what followed one context.
///
/// Followers stand one after the other in the order in which they came, each as `token * 4096 + count`, which a `Float`
/// holds exactly; 0 ends them.
struct NGramRow {
  /// Most numbers of a row: a cache line.
  static let width = 16
  /// Followers that then have a place.
  static let places = width - 1
  /// Most tokens a vocabulary may have.
  static let mostTokens = 1 << 12
  // Counts are halved beyond: what came lately says more.
  private static let mostCount = 60

  let values: View<Float>
  /// That of the context in question.
  let check: Float

  /// Whether the row is that context's.
  var isKnown: Bool { values.base[0] == check }

  /// Calls `body` with each follower and its count.
  func each(_ body: (_ token: Int, _ count: Int) -> Void) {
    for place in 1..<values.count {
      let entry = Int(values.base[place])
      if entry == 0 { return }
      body(entry >> 12, entry & 4095)
    }
  }

  /// All of them, `without` one count of a token.
  func followers(without: Int) -> Followers {
    var followers = Followers()
    each { token, count in
      let count = token == without ? count - 1 : count
      if count > 0 { followers.add(Int32(token), count: count) }
    }
    return followers
  }

  /// How often `token` followed.
  func count(of token: Int) -> Int {
    var result = 0
    each { if $0 == token { result = $1 } }
    return result
  }

  /// Counts `token` once more; returns whether it is new to this context.
  ///
  /// A row of another context that came three times or more is kept, and its counts are halved; else it is given up.
  fileprivate func count(_ token: Int) -> Bool {
    if !isKnown {
      var total = 0
      each { total += $1 }
      if total > 2 {
        halve { $0 / 2 }
        return true
      }
      values.fill(0)
      values[0] = check
    }
    var (place, free, least) = (1, values.count, 1)
    while place < values.count {
      let entry = Int(values[place])
      if entry == 0 {
        free = place
        break
      }
      if entry >> 12 == token {
        values[place] += 1
        if entry & 4095 >= Self.mostCount { halve { ($0 + 1) / 2 } }
        return false
      }
      if entry & 4095 < Int(values[least]) & 4095 { least = place }
      place += 1
    }
    values[free < values.count ? free : least] = Float(token << 12 + 1)
    return true
  }

  private func halve(_ half: (Int) -> Int) {
    var kept = 1
    for place in 1..<values.count {
      let entry = Int(values[place])
      values[place] = 0
      let count = half(entry & 4095)
      guard count > 0 else { continue }
      values[kept] = Float(entry - entry & 4095 + count)
      kept += 1
    }
  }
}
