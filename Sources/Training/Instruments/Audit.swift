// Does any probability depend on later bytes? Bits per byte are a rate that a decoder could reach only where the answer
// is no: a decoder has not seen them yet.
import Attention
import Compute
import Corpus
import Foundation
import Reformer

/// What later bytes of some windows did to the positions before them.
public struct AuditReport: Codable, Sendable, Equatable {
  /// What one way to change later bytes did.
  public struct Change: Codable, Sendable, Equatable {
    /// Which bytes were changed.
    public let change: String
    /// By kind of sub-layer: share of earlier positions of which any bit of its stream changed, where only what came
    /// before the change was as it had been; the mean over layers.
    public let kinds: [String: Double]
    /// Share of earlier positions of which any bit of a logit changed.
    public let changedShare: Double
    /// Mean loss over earlier positions with other later bytes, less that with the true ones, in bits.
    public let bitsPerByteEffect: Double
  }

  /// Whether every layer of the model claims that nothing later can change a bit.
  public let claimsStrict: Bool
  /// Windows looked at, and positions of each.
  public let windows: Int
  /// Positions of a window.
  public let length: Int
  /// Each way to change later bytes.
  public let changes: [Change]
  /// Over all changes, as in each.
  public let changedShare: Double
  /// Over all changes, as in each.
  public let bitsPerByteEffect: Double

  /// Whether no bit of an earlier position changed.
  public var isStrict: Bool {
    changedShare == 0 && changes.allSatisfy { $0.kinds.values.allSatisfy { $0 == 0 } }
  }
  /// Whether the model is not what it claims to be.
  public var breaksItsClaim: Bool { claimsStrict && !isStrict }

  /// Sums up what was counted.
  package init(claimsStrict: Bool, windows: Int, length: Int, counts: [(name: String, Counts)]) {
    self.claimsStrict = claimsStrict
    self.windows = windows
    self.length = length
    changes = counts.map { name, counts in
      Change(
        change: name, kinds: counts.kinds.mapValues { $0.share },
        changedShare: counts.logits.share, bitsPerByteEffect: counts.effect)
    }
    let all = counts.map(\.1.logits).reduce(into: Share()) {
      $0.changed += $1.changed
      $0.positions += $1.positions
    }
    changedShare = all.share
    let bits = counts.reduce(0) { $0 + $1.1.bits }
    bitsPerByteEffect = all.positions > 0 ? bits / Double(all.positions) : 0
  }

  /// Positions looked at, and changed ones among them.
  package struct Share {
    package var changed = 0
    package var positions = 0

    /// None yet.
    package init(changed: Int = 0, positions: Int = 0) {
      self.changed = changed
      self.positions = positions
    }

    var share: Double { positions > 0 ? Double(changed) / Double(positions) : 0 }
  }

  /// Of one way to change later bytes.
  package struct Counts {
    package var kinds: [String: Share] = [:]
    package var logits = Share()
    /// Loss with other later bytes less that with the true ones, summed, in bits.
    package var bits = 0.0

    /// Nothing yet.
    package init() {}

    var effect: Double { logits.positions > 0 ? bits / Double(logits.positions) : 0 }
  }
}

/// Changes later bytes of random windows, and looks at what comes before them.
public struct Audit {
  private let config: RunConfig
  private let parameters: View<Float>
  // Two models, so that both passes can be compared after each sub-layer.
  private let model: ReformerModel
  private let other: ReformerModel

  /// An audit of `parameters` of a model of `config`.
  public init(config: RunConfig, parameters: View<Float>, threads: Int) throws {
    self.config = config
    self.parameters = parameters
    model = try ReformerModel(config: config.reformer, engine: Engine(threads: threads))
    other = try ReformerModel(config: config.reformer, engine: Engine(threads: threads))
  }

  /// Ways to change later bytes; `draw`: a random number.
  private static let changes: [(name: String, first: @Sendable (Int, Int) -> Int)] = [
    ("last byte", { length, _ in length - 1 }),
    ("a suffix", { length, draw in 1 + draw % (length - 1) }),
    ("second half", { length, _ in (length + 1) / 2 }),
  ]

  /// Looks at `count` windows of `split`, chosen by the run's seed, each of up to `data.length` bytes.
  ///
  /// - Throws: `UserError` where no window has two bytes that can be looked at, `ReformerError` from the model.
  public func run(
    corpora: [MixPart], split: CorpusSplit, count: Int, progress: (Double) -> Void = { _ in }
  ) throws -> AuditReport {
    let length = model.config.length
    let windows = try corpora.flatMap { part in
      try part.corpus.evaluationWindows(split, length: length)
        .filter { $0.bytes.count > 2 }.map { (part.corpus, $0) }
    }
    guard !windows.isEmpty else {
      throw UserError("\(split.rawValue) split: no window of three bytes; choose another --split")
    }
    var counts = Self.changes.map { ($0.name, AuditReport.Counts()) }
    for number in 0..<count {
      let address = RandomAddress(
        seed: UInt64(config.run.seed), step: UInt64.max - 1, sample: UInt64(number))
      let random = address.stream(.sampling)
      let (corpus, window) = windows[Int(random.bits(0)) % windows.count]
      let bytes = try corpus.bytes(in: window.bytes).map { Int32($0) }
      let truth = try evaluate(Array(bytes.dropLast()), targets: bytes, address)
      for (index, change) in Self.changes.enumerated() {
        let first = change.first(bytes.count - 1, Int(random.bits(1)))
        var changed = Array(bytes.dropLast())
        for place in first..<changed.count {
          changed[place] = (changed[place] + 1 + Int32(random.bits(2 + place) % 255)) % 256
        }
        let outcome = try evaluate(changed, targets: bytes, address)
        for place in 0..<first {
          counts[index].1.logits.positions += 1
          if outcome.digests[place] != truth.digests[place] {
            counts[index].1.logits.changed += 1
          }
          counts[index].1.bits += (Double(outcome.nats[place]) - Double(truth.nats[place])) / log(2)
        }
        try compareSublayers(
          Array(bytes.dropLast()), changed, first: first, address, into: &counts[index].1)
        progress(
          (Double(number) + Double(index + 1) / Double(Self.changes.count)) / Double(count))
      }
    }
    return AuditReport(
      claimsStrict: model.config.layers.allSatisfy(\.isStrictlyCausal), windows: count,
      length: length, counts: counts)
  }

  private func window(_ bytes: [Int32], targets: [Int32]? = nil) -> Window {
    let offset = Int32(model.config.byteOffset)
    return Window(
      inputs: bytes.map { $0 + offset },
      targets: targets?.map { $0 + offset } ?? [Int32](repeating: -1, count: bytes.count))
  }

  /// A digest of the logits of each position, and the loss of the byte that follows it in `targets`.
  private func evaluate(
    _ bytes: [Int32], targets: [Int32], _ address: RandomAddress
  ) throws -> (digests: [UInt64], nats: [Float]) {
    let (length, classes) = (bytes.count, model.config.vocabulary)
    let buffer = Buffer<Float>(length * classes)
    let logits = Matrix(buffer.view, rows: length, columns: classes)
    _ = try model.loss(
      parameters: parameters, window: window(bytes), address: address, logits: logits)
    let digests = (0..<length).map { row in
      // FNV-1a by words.
      logits.row(row).array.reduce(0xCBF2_9CE4_8422_2325 as UInt64) {
        ($0 ^ UInt64($1.bitPattern)) &* 0x0000_0100_0000_01B3
      }
    }
    let ids = Buffer<Int32>(length)
    ids.view.copy(from: targets.dropFirst().map { $0 + Int32(model.config.byteOffset) })
    let nats = Buffer<Float>(length)
    Kernels.crossEntropy(logits, targets: ids.view, gradientScale: nil, into: nats.view)
    return (digests, nats.view.array)
  }

  /// Runs both inputs side by side; after each sub-layer, positions before `first` that differ are counted and set
  /// to what they are without the change, so that each sub-layer answers for itself.
  private func compareSublayers(
    _ bytes: [Int32], _ changed: [Int32], first: Int, _ address: RandomAddress,
    into counts: inout AuditReport.Counts
  ) throws {
    let width = model.config.width
    let truth = try model.steppedPass(
      parameters: parameters, window: window(bytes), address: address)
    let outcome = try other.steppedPass(
      parameters: parameters, window: window(changed), address: address)
    for (index, name) in truth.names.enumerated() {
      try truth.run(index)
      try outcome.run(index)
      let (right, seen) = (truth.stream(of: index), outcome.stream(of: index))
      for position in 0..<first {
        let row = position * width..<(position + 1) * width
        counts.kinds[name, default: .init()].positions += 1
        if seen[row].array != right[row].array {
          counts.kinds[name]?.changed += 1
          seen[row].copy(from: right[row])
        }
      }
    }
  }
}
