// Attention the slow way: one query at a time, double precision, formulas as Hugging Face's
// Reformer has them (masks that replace logits, one softmax per hash round, rounds weighed by their
// log-sum-exp). The fast kinds are compared with it and share no code with it.
import Glibc

/// One head of causal attention over `length` positions, naively.
public struct ReferenceAttention: Sendable {
  /// A key in the sight of a query, and the number of the random draw that may drop it.
  struct Sight: Sendable {
    let key: Int
    let draw: Int
  }

  private let length: Int
  private let sharesQueryKey: Bool
  /// `[round][query]`: keys in sight, later ones and padding (`key >= length`) included.
  private let rounds: [[[Sight]]]
  /// Whether rounds are weighed by log-sum-exps in single precision, as Hugging Face does: coarse where a query sees
  /// only itself (-1e5), so that the weights do not quite add up to 1, and trained models know it that way.
  private let weighsCoarsely: Bool

  private init(
    length: Int, sharesQueryKey: Bool, rounds: [[[Sight]]], weighsCoarsely: Bool = true
  ) {
    self.length = length
    self.sharesQueryKey = sharesQueryKey
    self.rounds = rounds
    self.weighsCoarsely = weighsCoarsely
  }

  /// Every query sees every position.
  public static func full(length: Int, sharesQueryKey: Bool) -> ReferenceAttention {
    let sights = (0..<length).map { query in
      (0..<length).map { Sight(key: $0, draw: query * length + $0) }
    }
    return ReferenceAttention(length: length, sharesQueryKey: sharesQueryKey, rounds: [sights])
  }

  /// A query sees its own chunk and the `before` chunks ahead of it.
  public static func local(length: Int, chunk: Int, before: Int) -> ReferenceAttention {
    guard length > chunk else { return full(length: length, sharesQueryKey: false) }
    let window = (before + 1) * chunk
    let sights = (0..<length).map { query in
      let first = (query / chunk - before) * chunk
      return (max(first, 0)..<first + window).map {
        Sight(key: $0, draw: draw(place: query, seen: $0, round: 0, chunk, before))
      }
    }
    return ReferenceAttention(length: length, sharesQueryKey: false, rounds: [sights])
  }

  /// Number of the draw for the query at `place` of the list and the key at `seen`, in a round that starts
  /// at `round`: keys are drawn in a ring of `before + 1` chunks, each rounded up to 32.
  private static func draw(
    place: Int, seen: Int, round: Int, _ chunk: Int, _ before: Int
  ) -> Int {
    let slot = (chunk + 31) / 32 * 32
    // Counted from the first chunk that the round's first chunk sees, so that nothing is negative.
    let (index, row) = (seen - round + before * chunk).quotientAndRemainder(dividingBy: chunk)
    return (place * (before + 1) + index % (before + 1)) * slot + row
  }

  /// Rounds of sorted positions in one circular list of chunks.
  ///
  /// - `buckets`: `[round][position]`, see `hash`.
  public static func lsh(
    length: Int, chunk: Int, before: Int, buckets: [[Int]]
  ) -> ReferenceAttention {
    guard length > chunk else { return full(length: length, sharesQueryKey: true) }
    let padded = (length + chunk - 1) / chunk * chunk
    let list = buckets.flatMap { round in
      (0..<length).sorted { (round[$0], $0) < (round[$1], $1) } + Array(length..<padded)
    }
    let window = (before + 1) * chunk
    let rounds = buckets.indices.map { round in
      var sights = [[Sight]](repeating: [], count: length)
      for place in round * padded..<(round + 1) * padded where list[place] < length {
        let first = (place / chunk - before) * chunk
        sights[list[place]] = (0..<window).map { column in
          let seen = (first + column) % list.count
          return Sight(
            key: list[seen < 0 ? seen + list.count : seen],
            draw: draw(place: place, seen: first + column, round: round * padded, chunk, before))
        }
      }
      return sights
    }
    return ReferenceAttention(length: length, sharesQueryKey: true, rounds: rounds)
  }

  /// A query sees the last `reach` earlier positions of its own bucket in each round, and the last `window` of the
  /// sequence.
  ///
  /// - `buckets`: `[round][position]`, see `hash`.
  public static func strict(
    length: Int, reach: Int, window: Int, buckets: [[Int]]
  ) -> ReferenceAttention {
    let everywhere = [Int](repeating: 0, count: length)
    var lists = buckets.map { (buckets: $0, reach: reach) }
    if window > 0 { lists.append((everywhere, window)) }
    // Draws are numbered in fours, so that one block of random numbers serves four lists.
    let fours = (lists.count + 3) / 4
    let rounds = lists.enumerated().map { number, list in
      (0..<length).map { query in
        let seen = (0..<query).filter { list.buckets[$0] == list.buckets[query] }
        return (seen.suffix(list.reach) + [query]).map {
          Sight(
            key: $0,
            draw: 4 * ((query * length + $0) * fours + number / 4) + number % 4)
        }
      }
    }
    return ReferenceAttention(
      length: length, sharesQueryKey: true, rounds: rounds, weighsCoarsely: false)
  }

  /// Buckets of one head, `[round][position]`, and how clear the closest decision was.
  ///
  /// - `queries`: `[L, K]`; `rotations`: `[K, rounds, sum(factors) / 2]`, flat.
  public static func hash(
    queries: [Float], width: Int, rotations: [Float], rounds: Int, factors: [Int]
  ) -> (buckets: [[Int]], smallestMargin: Double) {
    let columns = factors.reduce(0, +) / 2
    var margin = Double.infinity
    let buckets = (0..<rounds).map { round in
      (0..<queries.count / width).map { position in
        var (bucket, weight, start) = (0, 1, round * columns)
        for factor in factors {
          let rotated = (start..<start + factor / 2).map { column in
            (0..<width).reduce(0.0) {
              $0 + Double(queries[position * width + $1])
                * Double(rotations[$1 * rounds * columns + column])
            }
          }
          let scores = rotated + rotated.map { -$0 }
          let ranked = scores.indices.sorted { (-scores[$0], $0) < (-scores[$1], $1) }
          margin = min(margin, scores[ranked[0]] - scores[ranked[1]])
          bucket += ranked[0] * weight
          weight *= factor
          start += factor / 2
        }
        return bucket
      }
    }
    return (buckets, margin)
  }

  /// Whether a position has itself in sight more than once in some round.
  ///
  /// A window may reach into the round before, or all the way round the list.
  public func seesItselfAgain(_ position: Int) -> Bool {
    rounds.contains { sights in sights[position].count { $0.key == position } > 1 }
  }

  /// The attention output `[L, K]`.
  ///
  /// - `queries`, `keys`, `values`: `[L, K]`; `keys` are the queries where they share a projection.
  /// - `keep`: factor of a probability, by the number of its draw: 1, or what dropout makes of it.
  public func output(
    queries: [Double], keys: [Double], values: [Double], width: Int,
    keep: (Int) -> Double = { _ in 1 }
  ) -> [Double] {
    var output = [Double](repeating: 0, count: length * width)
    let scales = (0..<length).map { key in keyScale(keys, key, width) }
    for query in 0..<length {
      var parts: [(logSumExp: Double, values: [Double])] = []
      for sights in rounds {
        let logits = sights[query].map { sight -> Double in
          if sharesQueryKey && sight.key == query { return -1e5 }
          if sight.key > query { return -1e9 }
          var dot = 0.0
          for feature in 0..<width {
            dot += queries[query * width + feature] * keys[sight.key * width + feature]
          }
          return dot * scales[sight.key]
        }
        let logSumExp = self.logSumExp(logits)
        var part = [Double](repeating: 0, count: width)
        for (sight, logit) in zip(sights[query], logits) where sight.key < length {
          let probability = exp(logit - logSumExp) * keep(sight.draw)
          for feature in 0..<width {
            part[feature] += probability * values[sight.key * width + feature]
          }
        }
        parts.append((logSumExp, part))
      }
      let total = logSumExp(parts.map(\.logSumExp))
      for part in parts {
        let weight = exp(part.logSumExp - total)
        for feature in 0..<width {
          output[query * width + feature] += weight * part.values[feature]
        }
      }
    }
    return output
  }

  private func keyScale(_ keys: [Double], _ key: Int, _ width: Int) -> Double {
    guard sharesQueryKey else { return 1 / Double(width).squareRoot() }
    let squares = (0..<width).reduce(0.0) { $0 + keys[key * width + $1] * keys[key * width + $1] }
    return 1 / (squares / Double(width) + 1e-6).squareRoot() / Double(width).squareRoot()
  }

  /// Natural logarithm of the sum of exponentials.
  private func logSumExp(_ logits: [Double]) -> Double {
    let largest = logits.max() ?? 0
    let sum = logits.reduce(0.0) { $0 + exp($1 - largest) }
    let result = largest + log(sum)
    return weighsCoarsely && largest <= -5e4 ? Double(Float(result)) : result
  }
}
