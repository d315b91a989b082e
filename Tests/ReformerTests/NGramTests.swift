import Attention
import Compute
import Glibc
import Reformer
import TestSupport
import Testing

@Suite("N-gram counts")
struct NGramTests {
  /// Far more rows than contexts, so that none is lost; windows of five tokens come back to their contexts.
  ///
  /// What training has learnt holds for the whole window, unless `pace` says otherwise.
  private static func config(
    orders: [Int] = [2, 4], rows: Int = 1 << 14, vocabulary: Int = 5,
    pace: NGramSizes.WindowPace = .init(escapes: 0, weights: 0)
  ) -> ReformerConfig {
    var ngrams = NGramSizes(orders: orders, rows: rows)
    ngrams.windowPace = pace
    return smallConfig(
      [.local, .full], vocabulary: vocabulary, residualFractionBits: 22, ngrams: ngrams)
  }

  /// A probe whose tables are empty and have then counted windows of these seeds.
  private static func probe(
    _ config: ReformerConfig, counted seeds: [UInt64], threads: Int = 1
  ) throws -> ModelProbe {
    let probe = try ModelProbe(config, threads: threads)
    for slot in probe.model.layout.tables { probe.parameters.view[slot.range].fill(0) }
    for seed in seeds {
      try #require(probe.model.ngrams).count(window(seed), in: probe.parameters.view)
    }
    return probe
  }

  private static func window(_ seed: UInt64, isRepeated: Bool = false) -> Window {
    let tokens = madeUpTokens(41, vocabulary: 5, seed: seed)
    return Window(inputs: tokens.dropLast(), targets: tokens.dropFirst(), isRepeated: isRepeated)
  }

  /// Sets the weights so that counts alone decide, or the network alone.
  private static func decide(_ probe: ModelProbe, byCounts: Bool) {
    let weights = probe.values("ngrams.weights")
    for bucket in 0..<weights.count / 2 {
      weights[2 * bucket] = ((byCounts ? 1 : 0) - 0.7) / 8
      weights[2 * bucket + 1] = ((byCounts ? 0 : 1) - 0.3) / 8
    }
  }

  private static func events(_ seeds: [UInt64]) -> [(tokens: [Int32], position: Int)] {
    seeds.flatMap { seed in
      let tokens = madeUpTokens(41, vocabulary: 5, seed: seed)
      return (0..<40).map { (tokens, $0) }
    }
  }

  @Test("predictions are those of counts by their definition")
  func definition() throws {
    let config = Self.config()
    let probe = try Self.probe(config, counted: [1, 2, 3])
    Self.decide(probe, byCounts: true)
    probe.values("ngrams.escapes").fill(0)
    // A passage of 20 tokens comes again, one of them changed.
    var tokens = madeUpTokens(41, vocabulary: 5, seed: 9)
    tokens[21...] = tokens[0..<20]
    tokens[36] = (tokens[36] + 1) % 5
    let passages = ReferencePassages.rules.map { $0.expectations(tokens) }
    #expect(passages.allSatisfy { $0.contains { $0 != nil } })
    probe.inputs = Array(tokens.dropLast())
    let logits = try probe.logits()
    let reference = ReferenceCounts(orders: [2, 4], vocabulary: 5, events: Self.events([1, 2, 3]))
    var worst = 0.0
    for position in 0..<40 {
      for (token, expected) in reference.predict(tokens, position).enumerated() {
        let error = DoubleFunctions.exp(Double(logits[position * 5 + token])) / expected - 1
        worst = max(worst, abs(error))
      }
    }
    #expect(worst <= 1e-5)
  }

  @Test(
    "a window that comes again is predicted as if the position in question had not been counted")
  func leaveOneOut() throws {
    let config = Self.config()
    // So often that every token has followed every other one several times: no count of order 0 is left out.
    let seeds = Array(UInt64(1)...12)
    let probe = try Self.probe(config, counted: seeds)
    Self.decide(probe, byCounts: true)
    probe.values("ngrams.escapes").fill(0)
    let again = Self.window(5, isRepeated: true)
    let logits = Buffer<Float>(40 * 5)
    _ = try probe.model.loss(
      parameters: probe.parameters.view, window: again, address: probe.address,
      logits: Matrix(logits.view, rows: 40, columns: 5))
    let tokens = madeUpTokens(41, vocabulary: 5, seed: 5)
    var worst = 0.0
    for position in 0..<40 {
      let others =
        Self.events(seeds.filter { $0 != 5 })
        + Self.events([5]).filter { $0.position != position }
      let expected = ReferenceCounts(orders: [2, 4], vocabulary: 5, events: others)
        .predict(tokens, position)
      for token in 0..<5 {
        let error = DoubleFunctions.exp(Double(logits.view[position * 5 + token])) / expected[token]
        worst = max(worst, abs(error - 1))
      }
    }
    #expect(worst <= 1e-5)
  }

  @Test("shares and weights follow the window's own tokens, by the definition of their steps")
  func learning() throws {
    let pace = NGramSizes.WindowPace(escapes: 3, weights: 0.4)
    let probe = try Self.probe(Self.config(pace: pace), counted: [1, 2, 3])
    for name in ["ngrams.escapes", "ngrams.weights"] { probe.values(name).fill(0) }
    var tokens = madeUpTokens(41, vocabulary: 5, seed: 9)
    tokens[21...] = tokens[0..<20]
    (probe.inputs, probe.targets) = (Array(tokens.dropLast()), Array(tokens.dropFirst()))
    let mixed = try probe.logits()
    let losses = Buffer<Float>(40)
    _ = try probe.model.loss(
      parameters: probe.parameters.view, window: probe.window, address: probe.address,
      losses: losses.view)
    // The network by itself.
    let still = try Self.probe(Self.config(), counted: [1, 2, 3])
    (still.inputs, still.targets) = (probe.inputs, probe.targets)
    Self.decide(still, byCounts: false)
    let network = try still.logits().map(Double.init)

    let reference = ReferenceCounts(orders: [2, 4], vocabulary: 5, events: Self.events([1, 2, 3]))
    var (lowered, weights): ([[Int]: Double], [[Int]: [Double]]) = ([:], [:])
    var squares: [[Int]: Double] = [:]
    func step(_ key: [Int], _ first: Double, _ pace: Float, _ gradient: Double) -> Double {
      squares[key, default: first] += gradient * gradient
      return Double(pace) * gradient / (squares[key] ?? first).squareRoot()
    }
    var (worst, farthest) = (0.0, 0.0)
    for position in 0..<40 {
      let (shortest, claims, place) = reference.evidence(tokens, position)
      let shares = claims.map { $0.share(lowered: lowered[$0.cell] ?? 1) }
      // What is said before each claim, and after the last.
      let said = zip(claims, shares).reduce(into: [shortest]) { said, claim in
        said.append(
          zip(said[said.count - 1], claim.0.parts).map {
            claim.1 * $0 + (1 - claim.1) * $1
          })
      }
      let (p, z) = (said[claims.count], Array(network[position * 5..<(position + 1) * 5]))
      let own = weights[place] ?? [Double(Float(0.7)), Double(Float(0.3))]
      let logits = zip(p, z).map { own[0] * log($0) + own[1] * $1 }
      let sum = logits.reduce(0) { $0 + exp($1) }
      let answer = Int(tokens[position + 1])
      worst = max(
        worst, abs(Double(losses.view[position]) - (log(sum) - logits[answer])),
        largestDifference(Array(mixed[position * 5..<(position + 1) * 5]), logits))
      // The last token is not among those that the window reads.
      guard position < 39 else { break }
      let slopes = (0..<5).map { exp(logits[$0]) / sum - ($0 == answer ? 1 : 0) }
      let features = [p.map { log($0) }, z]
      weights[place] = (0..<2).map { part in
        let gradient = zip(slopes, features[part]).reduce(0) { $0 + $1.0 * $1.1 }
        return own[part] - step([-1] + place + [part], 10, pace.weights, gradient)
      }
      for (index, claim) in claims.enumerated() {
        // How the likelihood of the answer changes with the logarithm of what lowers the odds.
        let behind = shares[(index + 1)...].reduce(1, *)
        let slope =
          (claim.parts[answer] - said[index][answer]) * shares[index] * (1 - shares[index])
          * behind / p[answer]
        let moved = step(claim.cell, 30, pace.escapes, slope)
        lowered[claim.cell, default: 1] *= exp(moved)
        farthest = max(farthest, abs(moved))
      }
    }
    #expect(worst <= 2e-5)
    #expect(farthest > 0.1)
  }

  @Test("a window that is scored in part learns from all of its tokens")
  func unscored() throws {
    let probe = try Self.probe(
      Self.config(pace: .init(escapes: 3, weights: 0.4)), counted: [1, 2, 3])
    let tokens = madeUpTokens(41, vocabulary: 5, seed: 9)
    (probe.inputs, probe.targets) = (Array(tokens.dropLast()), Array(tokens.dropFirst()))
    let whole = try probe.logits()
    for position in 0..<30 { probe.targets[position] = -1 }
    #expect(try probe.logits().bitPatterns == whole.bitPatterns)
  }

  @Test("gradients of escapes and weights are the finite differences of what each is learnt by")
  func gradients() throws {
    let probe = try Self.probe(Self.config(), counted: [1, 2, 3])
    for name in ["ngrams.escapes", "ngrams.weights"] {
      if name == "ngrams.escapes" { Self.decide(probe, byCounts: true) }
      let slot = probe.model.layout[name]
      try probe.step()
      let claimed = probe.gradients.view[slot.range].array
      #expect(claimed.contains { $0 != 0 })
      let error = try GradientCheck.worstError(
        of: claimed, at: probe.values(name), step: 1e-3, floor: 1e-3, seed: 3
      ) { try probe.step() }
      #expect(error <= 3e-3, "\(name)")
    }
  }

  @Test(
    "shares that are 0 or 1 to a float give numbers", arguments: [-20, -2.5, 2.5, 20] as [Float])
  func extremes(escape: Float) throws {
    let probe = try Self.probe(Self.config(), counted: [1, 2, 3])
    Self.decide(probe, byCounts: true)
    probe.values("ngrams.escapes").fill(escape)
    #expect(try probe.step().isFinite)
    let slot = probe.model.layout["ngrams.escapes"]
    #expect(probe.gradients.view[slot.range].array.allSatisfy { $0.isFinite })
  }

  @Test("the network learns as if there were no counts")
  func independence() throws {
    let probe = try Self.probe(Self.config(), counted: [1, 2, 3])
    let alone = try ModelProbe(Self.config(orders: []))
    for slot in alone.model.layout.slots {
      alone.values(slot.name).copy(from: probe.values(slot.name))
    }
    try probe.step()
    let loss = try alone.step()
    for slot in alone.model.layout.slots {
      #expect(
        probe.gradients.view[probe.model.layout[slot.name].range].array
          == alone.gradients.view[slot.range].array, "\(slot.name)")
    }
    Self.decide(probe, byCounts: false)
    #expect(abs(try probe.step() - loss) <= 1e-6)
  }

  @Test(
    "later tokens leave earlier predictions alone, and counts are whole numbers that floats hold")
  func causality() throws {
    // Few rows: contexts lose theirs to each other.
    let probe = try Self.probe(Self.config(rows: 7), counted: Array(1...30))
    let before = try probe.logits()
    probe.inputs[39] = (probe.inputs[39] + 1) % 5
    let after = try probe.logits()
    #expect(before[..<(39 * 5)] == after[..<(39 * 5)])
    for slot in probe.model.layout.tables {
      let values = probe.parameters.view[slot.range].array
      #expect(values.allSatisfy { $0 >= 0 && $0 < 0x1p24 && $0 == $0.rounded() })
      #expect(values.contains { $0 > 0 })
    }
  }

  @Test("counts beyond what a row keeps are halved, and the least follower makes room")
  func fullRows() throws {
    let config = Self.config(orders: [2], vocabulary: 23)
    let probe = try Self.probe(config, counted: [])
    let tables = try #require(probe.model.ngrams)
    func count(_ next: Int32) {
      let window = Window(inputs: [1, 2], targets: [-1, next])
      tables.count(window, in: probe.parameters.view)
    }
    for _ in 0..<100 { count(3) }
    for next in Int32(4)...22 { count(next) }
    let rows = probe.values("ngrams.2").array
    let entries = rows.indices.filter { $0 % 16 != 0 && rows[$0] != 0 }.map { Int(rows[$0]) }
    #expect(entries.count == 15)
    // 61 becomes 31, and again: 100 counts are 61 + 39, then 31 + 30 of them, then 31 + 9.
    #expect(entries.first == 3 << 12 + 40)
    #expect(entries.contains(22 << 12 + 1))
  }

  @Test(
    "sizes that cannot be are refused",
    arguments: [([1], 10, 23), ([33], 10, 23), ([2, 2], 10, 23), ([2], 0, 23), ([2], 10, 5000)])
  func wrong(orders: [Int], rows: Int, vocabulary: Int) {
    let config = Self.config(orders: orders, rows: rows, vocabulary: vocabulary)
    #expect(throws: ReformerError.self) { try config.check() }
  }
}
