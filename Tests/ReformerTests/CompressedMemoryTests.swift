// Compressed rows and the loss that they learn from, against the definition in double precision.
import Attention
import Compute
import Foundation
import Reformer
import TestSupport
import Testing

@Suite("Compressed memory")
struct CompressedMemoryTests {
  private static let memory = MemoryAttention(rows: 12, compressed: 5, ratio: 4, isCarried: true)
  private static let length = 8

  private func config(layers: Int = 1, precision: Precision = .fp32) -> ReformerConfig {
    var config = smallConfig(
      [AttentionKind](repeating: .memory, count: layers), length: Self.length, heads: 4,
      headsPerGroup: 2, isRotary: true, precision: precision)
    config.layers = config.layers.map { _ in Self.memory }
    return config
  }

  private static func inputs(_ number: Int) -> [Int32] {
    madeUpTokens(length, vocabulary: 23, seed: 50 + UInt64(number))
  }

  /// A probe that has passed over so many windows.
  private func begun(
    _ config: ReformerConfig, windows: Int, threads: Int = 1, keepActivations: Bool = false
  ) throws -> ModelProbe {
    let probe = try ModelProbe(
      config, threads: threads, keepActivations: keepActivations, disorder: 0.1)
    probe.memory = StreamMemory(config)
    for number in 0..<windows {
      probe.inputs = Self.inputs(number)
      probe.isContinued = number > 0
      try probe.step()
      probe.memory?.commit()
    }
    probe.inputs = Self.inputs(windows)
    probe.isContinued = windows > 0
    return probe
  }

  private static let name = "reformer.encoder.layers.0.attention."

  /// The compressed rows of groups `[n, ratio * D]`, by the definition.
  private func compressed(_ groups: [Double], _ weights: [Double], width: Int) -> [Double] {
    let inputs = Self.memory.ratio * width
    return (0..<groups.count / inputs).flatMap { group in
      (0..<width).map { feature in
        (0..<inputs).reduce(0) { $0 + weights[feature * inputs + $1] * groups[group * inputs + $1] }
      }
    }
  }

  @Test("older rows become the convolution of their group, the last ones of which are kept")
  func rows() throws {
    let config = config()
    let width = config.width
    var states: [[Double]] = []
    for windows in 1...6 {
      let probe = try begun(config, windows: windows)
      let memory = try #require(probe.memory)
      let rows = memory.rows(layer: 0).dense.array.map(Double.init)
      // The last window's rows are the layer's inputs.
      states.append(Array(rows.suffix(Self.length * width)))
      let all = states.flatMap { $0 }
      let left = max(0, windows * Self.length - Self.memory.rows)
      let weights = probe.values(Self.name + "self_attention.compression.weight").array
      let expected = compressed(
        Array(all.prefix(left * width)), weights.map(Double.init), width: width)
      let count = min(left / Self.memory.ratio, Self.memory.compressed)
      #expect(rows.count == (count + min(windows * Self.length, Self.memory.rows)) * width)
      #expect(
        largestDifference(rows.prefix(count * width), expected.suffix(count * width)) <= 1e-5)
      #expect(
        rows.dropFirst(count * width) == all.suffix(rows.count - count * width))
    }
  }

  /// What the queries of the window read of other rows, `[L, heads * K]`, positions aside.
  private func read(
    _ probe: ModelProbe, queries window: [Double], _ states: [Double]
  ) -> [Double] {
    let config = probe.model.config
    let (width, features) = (config.width, config.heads * config.headWidth)
    let gain = probe.values(Self.name + "layer_norm.weight").array.map(Double.init)
    let bias = probe.values(Self.name + "layer_norm.bias").array.map(Double.init)
    func projected(_ rows: [Double], _ projection: String) -> [Double] {
      let weights = probe.values(Self.name + "self_attention.\(projection).weight").array
      return (0..<rows.count / width).flatMap { row in
        let x = rows[row * width..<(row + 1) * width]
        let mean = x.reduce(0, +) / Double(width)
        let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(width)
        let normed = x.enumerated().map {
          ($1 - mean) / (variance + config.layerNormEpsilon).squareRoot() * gain[$0] + bias[$0]
        }
        return (0..<features).map { feature in
          normed.enumerated().reduce(0) { $0 + Double(weights[feature * width + $1.0]) * $1.1 }
        }
      }
    }
    let (queries, keys) = (projected(window, "query"), projected(states, "key"))
    let values = projected(states, "value")
    let own = config.headWidth
    return (0..<Self.length).flatMap { row in
      (0..<config.heads).flatMap { head in
        let logits = (0..<states.count / width).map { key in
          (0..<own).reduce(0.0) {
            let feature = head * own + $1
            return $0 + queries[row * features + feature] * keys[key * features + feature]
          } / Double(own).squareRoot()
        }
        let weights = logits.map { exp($0) }
        let sum = weights.reduce(0, +)
        return (0..<own).map { feature in
          weights.enumerated().reduce(0) {
            $0 + $1.1 / sum * values[$1.0 * features + head * own + feature]
          }
        }
      }
    }
  }

  @Test("the convolution's gradient is that of reading the compressed rows and the rows alike")
  func gradient() throws {
    let config = config()
    let probe = try begun(config, windows: 3)
    let width = config.width
    let memory = try #require(probe.memory)
    // Full: 12 rows, of which the 8 oldest leave.
    let before = memory.rows(layer: 0).dense.array.map(Double.init)
    let leaving = Array(
      before.suffix(Self.memory.rows * width).prefix(Self.length * width))
    try probe.step()
    let slot = probe.model.layout[Self.name + "self_attention.compression.weight"]
    let gradient = probe.gradients.view[slot.range].array
    memory.commit()
    let window = Array(
      memory.rows(layer: 0).dense.array.suffix(Self.length * width).map(Double.init))
    let whole = read(probe, queries: window, leaving)
    let error = GradientCheck.worstError(
      of: gradient, at: probe.values(slot.name).array, directions: 4, floor: 1e-6, seed: 3
    ) { weights in
      let short = self.read(
        probe, queries: window, self.compressed(leaving, weights, width: width))
      return zip(short, whole).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        / Double(Self.length)
    }
    #expect(gradient.contains { $0 != 0 } && error <= 1e-3, "\(error)")
  }

  @Test("the loss of the convolution moves nothing else, and what is carried over is constant")
  func others() throws {
    // The second layer's inputs depend on all that the first one has.
    let probe = try begun(config(layers: 2), windows: 4)
    // Streams are rounded to 2^-18.
    try probe.checkGradients(limit: 2e-2) { $0.hasSuffix("compression.weight") }
  }

  @Test(
    "recomputed activations give the bits of kept ones, at any number of threads",
    arguments: Precision.allCases)
  func sameBits(precision: Precision) throws {
    let config = config(layers: 3, precision: precision)
    let runs = try [(1, false), (1, true), (3, false)].map { threads, keeps in
      let probe = try begun(config, windows: 4, threads: threads, keepActivations: keeps)
      let loss = try probe.step()
      let gradients = probe.gradients.view.array
      probe.memory?.commit()
      let rows = probe.memory?.rows(layer: 2).dense.array ?? []
      return [loss.bitPattern] + (gradients + rows).map { UInt64($0.bitPattern) }
    }
    for run in runs.dropFirst() { #expect((run == runs[0]) == true) }
    let probe = try begun(config, windows: 4)
    try probe.step()
    let recovered = probe.model.currentStreams
    #expect((recovered == probe.embeddedStreams()) == true)
  }

  @Test("a window after one that was cut in a group is refused")
  func cut() throws {
    let probe = try begun(config(), windows: 2)
    probe.inputs = Array(Self.inputs(2).prefix(5))
    probe.targets = Array(probe.targets.prefix(5))
    _ = try probe.loss()
    probe.memory?.commit()
    #expect(throws: ReformerError.self) { try probe.loss() }
    probe.isContinued = false
    _ = try probe.loss()
  }
}
