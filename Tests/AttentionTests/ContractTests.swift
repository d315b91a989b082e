// What every attention kind promises, checked on the examples that it gives: a new kind is tested by being in the list.
import Attention
import Compute
import Glibc
import TestSupport
import Testing

/// One example of one kind.
struct Example: Sendable, CustomStringConvertible {
  let layer: any AttentionLayer
  let description: String

  /// All examples of all kinds.
  static let all: [Example] = {
    let sizes = AttentionSizes(
      local: LocalAttention(chunk: 4, chunksBefore: 1),
      lsh: LSHAttention(chunk: 4, chunksBefore: 1, hashes: 1, buckets: [2]))
    func examples<Layer: AttentionLayer>(_ layer: Layer) -> [Example] {
      Layer.examples.enumerated().map {
        Example(layer: $0.element, description: "\(Layer.name) \($0.offset)")
      }
    }
    return AttentionKind.allCases.flatMap { examples(sizes.layer($0)) }
  }()

  /// What some of them are without the causal mask.
  static let unmasked: [Example] = {
    let lsh = LSHAttention.examples.filter { $0.sight == .chunks }.compactMap(\.unmasked)
    return (SurroundingAttention.examples + lsh).enumerated().map {
      Example(
        layer: $0.element, description: "unmasked \(type(of: $0.element).name) \($0.offset)")
    }
  }()
}

@Suite("Contract of every attention kind")
struct ContractTests {
  static let lengths = [1, 5, 33, 100]

  /// The definition, evaluated densely in double precision: weights over the multiset of keys in sight, over
  /// their sum.
  private func output(
    _ probe: AttentionProbe, head: Int, _ sight: Sight, replacing index: Int? = nil,
    by moved: [Double] = [], parameters: [[Double]]? = nil
  ) -> [Double] {
    let width = probe.width
    let logit = probe.layer.logits(head: head, headWidth: width, pass: probe.pass)
    var inputs = probe.projected.map { probe.head(head, of: $0).map(Double.init) }
    if let index { inputs[index] = moved }
    let queries = turned(inputs[0], probe, first: 0)
    var (keys, values) = (
      turned(inputs[inputs.count - 2], probe, first: -probe.carried), inputs[inputs.count - 1]
    )
    let parameters = parameters ?? probe.own.map { $0.view.array.map(Double.init) }
    let mixtures = probe.layer.mixtures(
      keys: keys, values: values, head: probe.pass.firstHead + head, headWidth: width,
      parameters: parameters)
    keys += mixtures.keys
    values += mixtures.values
    func place(_ key: Sight.Key) -> Int {
      probe.carried + (key.mixture.map { probe.length + $0 } ?? key.position)
    }
    let keep = probe.keep(head: head)
    func row(_ values: [Double], _ index: Int) -> ArraySlice<Double> {
      values[index * width..<(index + 1) * width]
    }
    return sight.keys.enumerated().flatMap { query, seen in
      let logits = seen.map { key in
        key.isLastResort ? -1e5 : logit(row(queries, query), row(keys, place(key)))
      }
      let largest = logits.max() ?? 0
      let weights = zip(seen, logits).map { key, logit in
        exp(logit - largest)
          * probe.layer.weight(
            distance: query - key.position, head: probe.pass.firstHead + head,
            parameters: parameters)
      }
      let sum = weights.reduce(0, +)
      var result = [Double](repeating: 0, count: width)
      for (key, weight) in zip(seen, weights) {
        for (feature, value) in row(values, place(key)).enumerated() {
          result[feature] += weight / sum * keep(key.draw) * value
        }
      }
      return result
    }
  }

  /// Features of every position from `first` on by the definition of rotary positions, where the pass has them.
  private func turned(
    _ features: [Double], _ probe: AttentionProbe, first position: Int
  ) -> [Double] {
    guard probe.pass.rotary != nil else { return features }
    let pairs = probe.width / 2
    var result = features
    for row in 0..<features.count / probe.width {
      for pair in 0..<pairs {
        let angle = Double(position + row) * pow(10_000, -Double(pair) / Double(pairs))
        let (first, second) = (row * probe.width + pair, row * probe.width + pairs + pair)
        result[first] = features[first] * cos(angle) - features[second] * sin(angle)
        result[second] = features[second] * cos(angle) + features[first] * sin(angle)
      }
    }
    return result
  }

  @Test("sizes are found sound, and names are those of the config")
  func list() throws {
    for example in Example.all { #expect(example.layer.problem == nil, "\(example)") }
    let names = Set(Example.all.map { type(of: $0.layer).name })
    #expect(names == Set(AttentionKind.allCases.map(\.rawValue)))
  }

  @Test(
    "output and gradients are those of the definition", arguments: Example.all + Example.unmasked,
    lengths)
  func definition(example: Example, length: Int) {
    for (rate, isRotary) in [(0, false), (0.3, false), (0.3, true)] {
      let probe = AttentionProbe(
        example.layer, length: length, carried: example.layer.carriedRows, threads: 2, seed: 3)
      probe.draw(dropout: rate, isRotary: isRotary)
      let output = probe.forward()
      let sights = (0..<probe.heads).map { probe.sight(head: $0) }
      var incoming = madeUpNormals(output.count, seed: 77)
      for (head, sight) in sights.enumerated() {
        let expected = self.output(probe, head: head, sight)
        let seen = probe.head(head, of: output)
        for (row, keys) in sight.keys.enumerated() {
          let features = row * probe.width..<(row + 1) * probe.width
          var limit = 3e-5  // logits of size 10 are 1e-6 off, probabilities by that factor
          if !example.layer.isStrictlyCausal && keys.allSatisfy(\.isLastResort) {
            // Weights of rounds in which a query sees only itself are rounded to 1/128 of a logarithm.
            limit += 1.0 / 128 * (expected[features].map(abs).max() ?? 0)
            for place in probe.place(row: row, head: head) { incoming[place] = 0 }
          }
          #expect(
            largestDifference(seen[features], expected[features]) <= limit,
            "row \(row), head \(head), dropout \(rate)")
        }
      }
      let gradients = probe.backward(incoming)
      for (head, sight) in sights.enumerated() {
        let weights = probe.head(head, of: incoming)
        for (index, values) in probe.projected.enumerated() {
          let error = GradientCheck.worstError(
            of: probe.head(head, of: gradients[index]), at: probe.head(head, of: values),
            floor: 0.1, seed: 5
          ) { moved in
            zip(self.output(probe, head: head, sight, replacing: index, by: moved), weights)
              .reduce(0) { $0 + $1.0 * Double($1.1) }
          }
          // Single precision over sums of some hundred terms.
          #expect(error <= 1e-4, "projection \(index) of head \(head), dropout \(rate)")
        }
      }
      for (index, values) in probe.own.enumerated() {
        let error = GradientCheck.worstError(
          of: probe.ownGradients[index], at: values.view.array, floor: 0.1, seed: 6
        ) { moved in
          var parameters = probe.own.map { $0.view.array.map(Double.init) }
          parameters[index] = moved
          return sights.enumerated().reduce(0) { sum, own in
            let output = self.output(
              probe, head: own.offset, own.element, parameters: parameters)
            return sum
              + zip(output, probe.head(own.offset, of: incoming)).reduce(0) {
                $0 + $1.0 * Double($1.1)
              }
          }
        }
        #expect(error <= 1e-4, "parameter \(index), dropout \(rate)")
      }
    }
  }

  @Test("no query sees a later key", arguments: Example.all, lengths)
  func causality(example: Example, length: Int) {
    let probe = AttentionProbe(example.layer, length: length, carried: example.layer.carriedRows)
    probe.forward()
    for (query, keys) in probe.sight(head: 1).keys.enumerated() {
      #expect(!keys.isEmpty && keys.allSatisfy { $0.position <= query })
    }
  }

  @Test("without the mask the keys on either side of a query are seen", arguments: lengths)
  func surrounding(length: Int) throws {
    let sizes = [
      FullAttention(sharesQueryKey: false).unmasked,
      LocalAttention(chunk: 4, chunksBefore: 2).unmasked,
      LSHAttention(chunk: 100, chunksBefore: 1, hashes: 2, buckets: [4]).unmasked,
    ]
    for (layer, reach) in zip(sizes, [length, 2, length]) {
      let probe = AttentionProbe(try #require(layer), length: length)
      probe.forward()
      for (query, keys) in probe.sight(head: 1).keys.enumerated() {
        let seen = (0..<length).filter { reach == length || abs($0 / 4 - query / 4) <= reach }
        #expect(keys.map(\.position) == seen)
      }
    }
    #expect(FullAttention(sharesQueryKey: true).unmasked == nil)
    #expect(SlidingAttention().unmasked == nil)
  }

  @Test(
    "where a kind says so, later positions leave every bit of earlier outputs alone",
    arguments: Example.all.filter(\.layer.isStrictlyCausal), [1, 5, 33, 100, 197, 331])
  func strictness(example: Example, length: Int) {
    for (rate, isRotary) in [(0, false), (0.3, true)] {
      let probe = AttentionProbe(
        example.layer, length: length, carried: example.layer.carriedRows, threads: 2, seed: 9)
      probe.draw(dropout: rate, isRotary: isRotary)
      let before = probe.forward()
      let projected = probe.projected
      for changed in [1, (length + 2) / 3, (length + 1) / 2, length] {
        probe.projected = projected
        let first = (length - changed) * probe.heads * probe.width
        for index in probe.projected.indices {
          let count = probe.projected[index].count
          for place in count - changed * probe.heads * probe.width..<count {
            probe.projected[index][place] *= -1.5
          }
        }
        let after = probe.forward()
        #expect(after[..<first].bitPatterns == before[..<first].bitPatterns, "last \(changed)")
        #expect(after[first...].bitPatterns != before[first...].bitPatterns)
      }
    }
  }

  // Hashes are those of single precision, so that both see the same keys.
  @Test(
    "in bf16, output and gradients are those of single precision but for rounding",
    arguments: Example.all + Example.unmasked, [5, 100, 331])
  func precision(example: Example, length: Int) {
    let runs = Precision.allCases.map { precision in
      let probe = AttentionProbe(
        example.layer, length: length, carried: example.layer.carriedRows, threads: 2, seed: 6)
      probe.draw(dropout: 0.1, isRotary: true, precision: precision)
      let output = probe.forward()
      return [output] + probe.backward(madeUpNormals(output.count, seed: 8))
    }
    for run in runs.dropFirst() {
      for (single, rounded) in zip(runs[0], run) {
        // Logits of size 10 are some 2^-8 off, and probabilities by that factor.
        #expect(relativeDifference(rounded, to: single) <= 0.03)
      }
      // Rows one by one must have the same bits, so strict kinds read single precision.
      #expect(!example.layer.isStrictlyCausal || runs[0] == run)
    }
  }

  @Test(
    "bits do not depend on the number of threads", arguments: Example.all + Example.unmasked,
    Precision.allCases)
  func threads(example: Example, precision: Precision) {
    let runs = (1...4).map { threads in
      let probe = AttentionProbe(
        example.layer, length: 1500, carried: example.layer.carriedRows, threads: threads)
      probe.draw(dropout: 0.1, isRotary: true, precision: precision)
      let output = probe.forward()
      return [output.bitPatterns]
        + probe.backward(madeUpNormals(output.count, seed: 3)).map(\.bitPatterns)
        + probe.ownGradients.map(\.bitPatterns)
    }
    for run in runs.dropFirst() { #expect(run == runs[0]) }
  }

  @Test(
    "a pass lends no more than it declares", arguments: Example.all + Example.unmasked,
    [5, 100, 2500])
  func scratch(example: Example, length: Int) {
    let (heads, width) = (3, 12)
    let probe = AttentionProbe(
      example.layer, length: length, carried: example.layer.carriedRows, heads: heads,
      width: width, poisons: false)
    for precision in Precision.allCases {
      probe.draw(precision: precision)
      _ = probe.backward(probe.forward())
    }
    let declared = example.layer.scratch(length: length, heads: heads, headWidth: width)
    // Every lent piece is rounded up to 64 bytes: some dozens of pieces a thread, a few a task for all.
    let pieces = 64 * (40 + heads * (10 + 3 * length / 1024))
    #expect(probe.engine.scratch.highWaterBytes <= 4 * declared.shared + pieces)
    #expect(probe.engine.pool.scratchHighWaterBytes <= 4 * declared.perThread + pieces)
  }
}
