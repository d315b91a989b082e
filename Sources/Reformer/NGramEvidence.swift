// What counts say, as lists of tokens: the form in which it waits to be weighed.
import Compute

/// What counts say of the tokens after some positions.
///
/// V vocabulary. Each row has claims, shortest context first: a context or passage, and the tokens it has seen.
struct NGramEvidence {
  /// A context or passage that has a say.
  struct Claim {
    /// Its place in `NGramMixture.escapes`.
    let cell: Int
    /// The share that the formula leaves to the claims before it.
    let base: Float
    /// Where its tokens are.
    let tokens: Range<Int>
  }

  /// `[rows, V]`: what the shortest context says.
  let shortest: Matrix
  /// `[rows]`: where the two weights for the position are in `NGramMixture.weights`.
  let places: View<Int32>
  /// `[rows]`.
  private let counts: View<Int32>
  /// `[rows, claims]` each: cells, shares, and how many tokens.
  private let cells: View<Int32>
  private let bases: View<Float>
  private let kinds: View<Int32>
  /// `[rows, claims * places]`: the tokens of a row's claims one after the other, and their parts of the claim's share.
  private let tokens: View<Int32>
  private let parts: View<Float>
  /// Most claims of a row.
  private let most: Int

  /// Numbers of 32 bits for a row.
  static func size(claims: Int, vocabulary: Int) -> Int {
    vocabulary + 2 + claims * (3 + 2 * Followers.places)
  }

  /// Room for `rows` rows of up to `claims` claims.
  init(rows: Int, claims: Int, vocabulary: Int, from arena: ScratchArena) {
    most = claims
    shortest = arena.matrix(rows, vocabulary)
    (places, counts) = (arena.integers(rows), arena.integers(rows))
    (cells, kinds) = (arena.integers(rows * most), arena.integers(rows * most))
    bases = arena.floats(rows * most)
    tokens = arena.integers(rows * most * Followers.places)
    parts = arena.floats(rows * most * Followers.places)
  }

  private func start(_ row: Int) -> Int { row * most * Followers.places }

  /// How many claims a row has.
  func count(_ row: Int) -> Int { Int(counts[row]) }

  /// Calls `body` with each claim of a row and its number.
  @inline(__always)
  func each(_ row: Int, _ body: (_ index: Int, _ claim: Claim) -> Void) {
    var first = start(row)
    for index in 0..<count(row) {
      let place = row * most + index
      let end = first + Int(kinds.base[place])
      body(
        index, Claim(cell: Int(cells.base[place]), base: bases.base[place], tokens: first..<end))
      first = end
    }
  }

  /// A token of a claim, and its part of the claim's share.
  @inline(__always)
  func token(_ place: Int) -> (token: Int, part: Float) {
    (Int(tokens.base[place]), parts.base[place])
  }

  /// Writes a row.
  struct Writer {
    private let evidence: NGramEvidence
    private let row: Int
    private var count = 0
    private var end: Int

    /// No claim yet.
    init(_ evidence: NGramEvidence, row: Int) {
      self.evidence = evidence
      self.row = row
      end = evidence.start(row)
    }

    /// Adds a claim with `kinds` tokens, whose parts add up to 1.
    mutating func add(
      cell: Int, base: Float, kinds: Int, _ token: (Int) -> (token: Int, part: Float)
    ) {
      let place = row * evidence.most + count
      evidence.cells[place] = Int32(cell)
      evidence.bases[place] = base
      evidence.kinds[place] = Int32(kinds)
      for kind in 0..<kinds {
        let (token, part) = token(kind)
        evidence.tokens[end] = Int32(token)
        evidence.parts[end] = part
        end += 1
      }
      count += 1
    }

    /// The row is whole; its weights are at `place`.
    func finish(place: Int) {
      evidence.counts[row] = Int32(count)
      evidence.places[row] = Int32(place)
    }
  }
}
