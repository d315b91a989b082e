// Every key of the config in one table: its place in `RunConfig`, what it accepts, whether it must
// be given, whether it may change on resume. Reading, writing and comparing all walk this table.
import Attention
import Optimizers
import Reformer

/// A TOML value as the config uses it.
enum ConfigValue: Equatable {
  case integer(Int)
  case real(Double)
  case boolean(Bool)
  case text(String)
  case list([ConfigValue])
  /// A date or table; no key takes one.
  case other(String)

  /// The value as TOML.
  var toml: String {
    switch self {
    case .integer(let value): return String(value)
    case .real(let value): return "\(value)"
    case .boolean(let value): return String(value)
    case .list(let values): return "[" + values.map(\.toml).joined(separator: ", ") + "]"
    case .other(let text): return text
    case .text(let text):
      var result = "\""
      for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": result += "\\\""
        case "\\": result += "\\\\"
        case _ where scalar.value < 32 || scalar.value == 127:
          let digits = String(scalar.value, radix: 16)
          result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        default: result.unicodeScalars.append(scalar)
        }
      }
      return result + "\""
    }
  }
}

/// A Swift type that a key may have.
protocol ConfigField: Sendable {
  /// What may stand in the file, for messages.
  static var legal: String { get }
  init?(_ value: ConfigValue)
  var configValue: ConfigValue { get }
}

extension Int: ConfigField {
  static var legal: String { "a whole number" }
  init?(_ value: ConfigValue) {
    guard case .integer(let number) = value else { return nil }
    self = number
  }
  var configValue: ConfigValue { .integer(self) }
}

extension Double: ConfigField {
  static var legal: String { "a number" }
  init?(_ value: ConfigValue) {
    switch value {
    case .integer(let number): self = Double(number)
    case .real(let number): self = number
    default: return nil
    }
  }
  var configValue: ConfigValue { .real(self) }
}

extension Bool: ConfigField {
  static var legal: String { "true or false" }
  init?(_ value: ConfigValue) {
    guard case .boolean(let flag) = value else { return nil }
    self = flag
  }
  var configValue: ConfigValue { .boolean(self) }
}

extension String: ConfigField {
  static var legal: String { "text in quotes" }
  init?(_ value: ConfigValue) {
    guard case .text(let text) = value else { return nil }
    self = text
  }
  var configValue: ConfigValue { .text(self) }
}

extension Array: ConfigField where Element: ConfigField {
  static var legal: String { "a list, each entry \(Element.legal)" }
  init?(_ value: ConfigValue) {
    guard case .list(let values) = value else { return nil }
    let entries = values.compactMap { Element($0) }
    guard entries.count == values.count else { return nil }
    self = entries
  }
  var configValue: ConfigValue { .list(map(\.configValue)) }
}

extension ConfigField where Self: RawRepresentable & CaseIterable, RawValue == String {
  static var legal: String { allCases.map { "\"\($0.rawValue)\"" }.joined(separator: " or ") }
  init?(_ value: ConfigValue) {
    guard case .text(let text) = value else { return nil }
    self.init(rawValue: text)
  }
  var configValue: ConfigValue { .text(rawValue) }
}

extension AttentionKind: ConfigField {}
extension Activation: ConfigField {}
extension ScheduleKind: ConfigField {}
extension OptimizerKind: ConfigField {}
extension MatrixProducts: ConfigField {}
extension CheckpointErrorPolicy: ConfigField {}

/// One key of the config.
struct ConfigKey: Sendable {
  /// Dotted name, as on the command line.
  let name: String
  /// What may stand in the file, for messages.
  let legal: String
  /// Whether a config without it is an error.
  let isRequired: Bool
  /// Whether a resumed run must have the value it was started with.
  let isFixed: Bool
  /// The value of a config.
  let get: @Sendable (RunConfig) -> ConfigValue
  /// Sets the value; false when it has the wrong type.
  let set: @Sendable (inout RunConfig, ConfigValue) -> Bool

  /// The key's section and its name within.
  var section: Substring { name[..<(name.lastIndex(of: ".") ?? name.startIndex)] }
  var lastName: Substring { name[name.index(after: name.lastIndex(of: ".") ?? name.startIndex)...] }

  private init<Value: ConfigField>(
    _ name: String, _ path: WritableKeyPath<RunConfig, Value> & Sendable, required: Bool = false,
    fixed: Bool = false
  ) {
    self.name = name
    legal = Value.legal
    isRequired = required
    isFixed = fixed
    get = { $0[keyPath: path].configValue }
    set = { config, value in
      guard let field = Value(value) else { return false }
      config[keyPath: path] = field
      return true
    }
  }

  /// A count that may be `"auto"`, held as 0.
  private init(
    automatic name: String, _ path: WritableKeyPath<RunConfig, Int> & Sendable, fixed: Bool = false
  ) {
    self.name = name
    legal = "\"auto\" or a whole number >= 1"
    isRequired = false
    isFixed = fixed
    get = { $0[keyPath: path] == 0 ? .text("auto") : .integer($0[keyPath: path]) }
    set = { config, value in
      switch value {
      case .text("auto"): config[keyPath: path] = 0
      case .integer(let count) where count >= 1: config[keyPath: path] = count
      default: return false
      }
      return true
    }
  }

  /// Bucket factors: `"auto"` held as no factors, a count, or a list.
  private init(
    buckets name: String, _ path: WritableKeyPath<RunConfig, [Int]> & Sendable
  ) {
    self.name = name
    legal = "\"auto\", an even whole number or a list of even whole numbers"
    isRequired = false
    isFixed = true
    get = { config in
      let factors = config[keyPath: path]
      return factors.isEmpty ? .text("auto") : factors.configValue
    }
    set = { config, value in
      switch value {
      case .text("auto"): config[keyPath: path] = []
      case .integer(let count): config[keyPath: path] = [count]
      default:
        guard let factors = [Int](value), !factors.isEmpty else { return false }
        config[keyPath: path] = factors
      }
      return true
    }
  }

  /// The key called `name`; traps for names that are not in the table.
  static func named(_ name: String) -> ConfigKey {
    guard let key = byName[name] else { preconditionFailure("no config key \(name)") }
    return key
  }

  /// All keys by name.
  static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })

  /// All keys, in the order the resolved file lists them.
  static let all: [ConfigKey] = [
    .init("run.name", \.run.name, required: true),
    .init("run.steps", \.run.steps, required: true),
    .init("run.global_batch", \.run.globalBatch, fixed: true),
    .init("run.seed", \.run.seed, fixed: true),
    .init(automatic: "run.threads", \.run.threads),
    .init("run.matrix_products", \.run.matrixProducts),
    .init("run.evaluate_every", \.run.evaluateEvery),
    .init("run.evaluate_bytes", \.run.evaluateBytes),
    .init("run.checkpoint_every", \.run.checkpointEvery),
    .init("run.keep", \.run.keep),
    .init("run.keep_every", \.run.keepEvery),
    .init("run.keep_best", \.run.keepBest),
    .init("run.on_checkpoint_error", \.run.onCheckpointError),
    .init("run.background_checkpoints", \.run.backgroundCheckpoints),
    .init("run.skip_limit", \.run.skipLimit),
    .init("run.spike_deviations", \.run.spikeDeviations),
    .init("run.log_every", \.run.logEvery),
    .init("run.memory_budget_gb", \.run.memoryBudgetGB),
    .init("run.overlap", \.run.overlap),
    .init("run.replica_check_every", \.run.replicaCheckEvery),
    .init("run.wait_limit_seconds", \.run.waitLimitSeconds),
    .init("run.keep_activations", \.run.keepActivations),

    .init("data.corpus", \.data.corpus, required: true),
    .init("data.length", \.data.length, required: true, fixed: true),
    // Another split would train on bytes that were, or will be, measured on.
    .init("data.split", \.data.split, fixed: true),

    .init("model.width", \.model.width, required: true, fixed: true),
    .init("model.layers", \.model.layers, required: true, fixed: true),
    .init("model.heads", \.model.heads, required: true, fixed: true),
    .init("model.head_width", \.model.headWidth, required: true, fixed: true),
    .init(automatic: "model.heads_per_group", \.model.headsPerGroup, fixed: true),
    .init("model.feed_forward_width", \.model.feedForwardWidth, required: true, fixed: true),
    .init("model.activation", \.model.activation, fixed: true),
    .init("model.vocabulary", \.model.vocabulary, fixed: true),
    .init("model.byte_offset", \.model.byteOffset, fixed: true),
    .init("model.axial_shape", \.model.axialShape, required: true, fixed: true),
    .init("model.axial_widths", \.model.axialWidths, required: true, fixed: true),
    .init("model.dropout", \.model.dropout, fixed: true),
    .init("model.attention_dropout", \.model.attentionDropout, fixed: true),
    .init("model.layer_norm_epsilon", \.model.layerNormEpsilon, fixed: true),
    .init("model.residual_fraction_bits", \.model.residualFractionBits, fixed: true),

    .init("attention.full.shared_query_key", \.attention.fullSharedQueryKey, fixed: true),
    .init("attention.local.chunk", \.attention.local.chunk, fixed: true),
    .init("attention.local.chunks_before", \.attention.local.chunksBefore, fixed: true),
    .init("attention.lsh.chunk", \.attention.lsh.chunk, fixed: true),
    .init("attention.lsh.chunks_before", \.attention.lsh.chunksBefore, fixed: true),
    .init("attention.lsh.hashes", \.attention.lsh.hashes, fixed: true),
    .init(buckets: "attention.lsh.buckets", \.attention.lsh.buckets),

    .init("optimizer.kind", \.optimizer.kind, fixed: true),
    .init("optimizer.learning_rate", \.optimizer.learningRate),
    .init("optimizer.schedule", \.optimizer.schedule),
    .init("optimizer.warmup_steps", \.optimizer.warmupSteps),
    .init("optimizer.beta1", \.optimizer.beta1),
    .init("optimizer.beta2", \.optimizer.beta2),
    .init("optimizer.epsilon", \.optimizer.epsilon),
    .init("optimizer.weight_decay", \.optimizer.weightDecay),
    .init("optimizer.clip", \.optimizer.clip),
  ]
}
