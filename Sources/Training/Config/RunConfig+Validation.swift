// Which values and combinations of values a config may have. Checks are written so that NaN fails.
import Attention

extension RunConfig {
  /// Widths and counts a machine can hold, and whose products fit 64 bits.
  static let sizes = 1...(1 << 20)
  /// Positions are 32-bit in the kernels; this leaves room for padding to chunks.
  static let largestLength = 1 << 27

  /// Checks all values and their combinations.
  ///
  /// - Throws: `ConfigError` naming key, value and legal values of the first that is wrong.
  public func validate() throws(ConfigError) {
    // The length first: bounds of other keys are computed from it.
    try validateData()
    try validateModel()
    try validateAttention()
    try validateOptimizer()
    try validateRun()
  }

  /// Checks what depends on the number of ranks: each takes an equal share of the global batch.
  ///
  /// - Throws: `ConfigError` when `ranks` does not divide `run.global_batch`.
  public func validate(ranks: Int) throws(ConfigError) {
    try require(
      "run.global_batch", ranks >= 1 && run.globalBatch % ranks == 0,
      "a multiple of the number of ranks, \(ranks)")
  }

  private func require(
    _ key: String, _ holds: Bool, _ legal: @autoclosure () -> String
  ) throws(ConfigError) {
    guard !holds else { return }
    throw ConfigError("\(key) = \(ConfigKey.named(key).get(self).toml); legal values: \(legal())")
  }

  private func require(
    _ key: String, _ value: Int, in range: ClosedRange<Int>
  ) throws(ConfigError) {
    try require(key, range.contains(value), "\(range.lowerBound) to \(range.upperBound)")
  }

  private func validateModel() throws(ConfigError) {
    try require("model.width", model.width, in: Self.sizes)
    try require("model.layers", (1...4096).contains(model.layers.count), "1 to 4096 kinds")
    try require("model.heads", model.heads, in: Self.sizes)
    try require(
      "model.head_width",
      model.headWidth >= 1 && model.headWidth <= Self.sizes.upperBound / model.heads,
      "1 to \(Self.sizes.upperBound / model.heads) with model.heads = \(model.heads)")
    try require(
      "model.heads_per_group",
      (0...model.heads).contains(model.headsPerGroup)
        && (model.headsPerGroup == 0 || model.heads % model.headsPerGroup == 0),
      "\"auto\" or a divisor of model.heads = \(model.heads)")
    try require("model.feed_forward_width", model.feedForwardWidth, in: Self.sizes)
    try require("model.byte_offset", model.byteOffset, in: 0...65536)
    try require(
      "model.vocabulary", model.vocabulary, in: (256 + model.byteOffset)...Self.sizes.upperBound)
    try require(
      "model.axial_shape",
      !model.axialShape.isEmpty && model.axialShape.allSatisfy(Self.sizes.contains)
        && Self.product(model.axialShape, atLeast: data.length),
      "sizes >= 1 with a product of at least data.length = \(data.length)")
    try require(
      "model.axial_widths",
      model.axialWidths.count == model.axialShape.count
        && model.axialWidths.allSatisfy(Self.sizes.contains)
        && model.axialWidths.reduce(0, +) == model.width,
      "\(model.axialShape.count) widths >= 1 (one per entry of model.axial_shape) that add up to "
        + "model.width = \(model.width)")
    try require("model.dropout", 0..<1 ~= model.dropout, "0 <= dropout < 1")
    try require(
      "model.attention_dropout", 0..<1 ~= model.attentionDropout, "0 <= attention_dropout < 1")
    try require(
      "model.layer_norm_epsilon", model.layerNormEpsilon > 0 && model.layerNormEpsilon < 1,
      "0 < layer_norm_epsilon < 1")
    try require("model.residual_fraction_bits", model.residualFractionBits, in: 8...24)
  }

  private func validateAttention() throws(ConfigError) {
    let (local, lsh) = (attention.local, attention.lsh)
    try require("attention.local.chunk", local.chunk, in: Self.sizes)
    try require("attention.local.chunks_before", local.chunksBefore, in: 0...1024)
    try require("attention.lsh.chunk", lsh.chunk, in: Self.sizes)
    try require("attention.lsh.chunks_before", lsh.chunksBefore, in: 0...1024)
    // All rounds are one sorted list with 32-bit places.
    try require(
      "attention.lsh.hashes", lsh.hashes, in: 1...min(1024, (1 << 30) / max(data.length, 1)))
    try require(
      "attention.lsh.buckets",
      lsh.buckets.allSatisfy { $0 >= 2 && $0 % 2 == 0 && Self.sizes.contains($0) }
        && !Self.product(lsh.buckets, atLeast: Self.sizes.upperBound + 1),
      "\"auto\" or even factors >= 2 with a product of at most \(Self.sizes.upperBound)")
  }

  private func validateData() throws(ConfigError) {
    try require("data.corpus", !data.corpus.isEmpty, "the path of a file")
    try require("data.length", data.length, in: 2...Self.largestLength)
    // 0.9 + 0.05 + 0.05 is not exactly 1 in binary; 1e-9 is less than a byte of any corpus here.
    try require(
      "data.split",
      data.split.count == 3 && data.split.allSatisfy { 0...1 ~= $0 } && (data.split.first ?? 0) > 0
        && abs(data.split.reduce(0, +) - 1) < 1e-9,
      "three shares from 0 to 1 (training, validation, test), the first above 0, that add up to 1")
  }

  private func validateOptimizer() throws(ConfigError) {
    try require(
      "optimizer.learning_rate",
      optimizer.learningRate > 0 && optimizer.learningRate.isFinite, "a number above 0")
    try require("optimizer.warmup_steps", optimizer.warmupSteps, in: 0...1_000_000_000)
    try require("optimizer.beta1", 0..<1 ~= optimizer.beta1, "0 <= beta1 < 1")
    try require("optimizer.beta2", 0..<1 ~= optimizer.beta2, "0 <= beta2 < 1")
    // The kernel takes it as a 32-bit number, where it must not vanish: 0 / 0 guards nothing.
    try require(
      "optimizer.epsilon", optimizer.epsilon >= 1e-30 && optimizer.epsilon <= 1,
      "1e-30 <= epsilon <= 1")
    try require(
      "optimizer.weight_decay", optimizer.weightDecay >= 0 && optimizer.weightDecay.isFinite,
      "a number >= 0")
    try require(
      "optimizer.clip", optimizer.clip >= 0 && optimizer.clip.isFinite,
      "a number > 0, or 0 for no clipping")
  }

  private func validateRun() throws(ConfigError) {
    let letters = run.name.utf8.allSatisfy {
      (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
        || [0x2D, 0x2E, 0x5F].contains($0)
    }
    try require(
      "run.name", letters && !run.name.isEmpty && !run.name.hasPrefix("."),
      "letters, digits, \"-\", \"_\" and \".\", not first (it names a folder)")
    try require("run.steps", run.steps, in: 1...1_000_000_000)
    try require("run.global_batch", run.globalBatch, in: Self.sizes)
    try require("run.seed", run.seed, in: 0...Int.max)
    try require("run.threads", run.threads, in: 0...4096)
    try require("run.evaluate_every", run.evaluateEvery, in: 0...Int.max)
    try require("run.evaluate_bytes", run.evaluateBytes, in: 0...Int.max)
    try require("run.checkpoint_every", run.checkpointEvery, in: 0...Int.max)
    try require("run.keep", run.keep, in: 1...1_000_000_000)
    try require("run.keep_every", run.keepEvery, in: 0...Int.max)
    try require("run.skip_limit", run.skipLimit, in: 0...1_000_000_000)
    try require(
      "run.spike_deviations", run.spikeDeviations >= 0 && run.spikeDeviations.isFinite,
      "a number > 0, or 0 to skip no spikes")
    try require("run.log_every", run.logEvery, in: 1...Int.max)
    try require("run.replica_check_every", run.replicaCheckEvery, in: 0...Int.max)
    try require(
      "run.wait_limit_seconds", run.waitLimitSeconds >= 0 && run.waitLimitSeconds.isFinite,
      "a number of seconds, or 0 to wait for ever")
    try require(
      "run.memory_budget_gb", run.memoryBudgetGB >= 0 && run.memoryBudgetGB.isFinite,
      "a number of gigabytes, or 0 for what the machine has")
  }

  /// Whether the product of positive `factors` reaches `bound`, without overflow on the way.
  private static func product(_ factors: [Int], atLeast bound: Int) -> Bool {
    var product = 1
    for factor in factors {
      let (next, overflow) = product.multipliedReportingOverflow(by: factor)
      if overflow { return true }
      product = next
    }
    return product >= bound
  }
}
