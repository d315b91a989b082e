// Which values may stand together. Each key's own range is part of its declaration. Checks are written so that NaN
// fails.

extension RunConfig {
  /// Checks all values and their combinations.
  ///
  /// - Throws: `ConfigError` naming key, value and legal values of the first that is wrong.
  public func validate() throws(ConfigError) {
    var copy = self
    for key in ConfigKey.all {
      let value = key.get(self)
      if !key.set(&copy, value) { throw key.refusal(of: value) }
    }
    try validateTask()
    try validateImages()
    try validatePairs()
    try validateData()
    try validateStages()
    try validateModel()
    try validateOptimizer()
    // All rounds are one sorted list with 32-bit places.
    let places = 1 << 30
    try require(
      "attention.lsh.hashes", attention.lsh.hashes <= places / data.length,
      "1 to \(places / data.length) with data.length = \(data.length)")
    let isBucket = attention.lsh.sight == .bucket
    try require(
      "attention.lsh.chunks_before", !isBucket || attention.lsh.chunksBefore > 0,
      "1 to 1024 with attention.lsh.sight = \"bucket\"")
    try require(
      "attention.lsh.window", isBucket || attention.lsh.window == 0,
      "0 unless attention.lsh.sight = \"bucket\"")
    try require(
      "attention.fixed.summary", attention.fixed.summary <= attention.fixed.stride,
      "0 to attention.fixed.stride = \(attention.fixed.stride)")
  }

  /// Sequences that are made up are their own windows, and nothing else is read.
  private func validateTask() throws(ConfigError) {
    guard data.task == .duplication else { return }
    try require(
      "data.task", data.corpus.paths.isEmpty && data.mix.path.isEmpty,
      "bytes with data.corpus or [[data.mix]]; without them duplication, which makes up its bytes")
    let reason = "with data.task = \"duplication\""
    try require(
      "data.length", data.length >= 4 && data.length.isMultiple(of: 2),
      "even numbers from 4 \(reason)")
    try require("data.block", block == data.length, "\"auto\" \(reason)")
    try require("data.order", data.order == .random, "random \(reason)")
    let usual = DataSection().split
    try require("data.split", data.split == usual, "\(usual), the default, \(reason)")
    try require(
      "data.length_schedule.length", data.lengthSchedule.length.isEmpty, "no stages \(reason)")
    try require("model.ngrams.orders", model.ngrams.orders.isEmpty, "[] \(reason)")
    try require("run.sample_bytes", run.sampleBytes == 0, "0 \(reason)")
  }

  /// No window has parts of two images.
  private func validateImages() throws(ConfigError) {
    guard data.task == .pixels else {
      return try require("data.image", data.image.isEmpty, "[] unless data.task = \"pixels\"")
    }
    let (image, sizes) = (data.imageBytes, data.image)
    try require(
      "data.image", sizes.count == 3 && [1, 3].contains(sizes[2]) && image <= ConfigLimits.length,
      "three sizes, the last 1 or 3, with a product of at most \(ConfigLimits.length), with data.task = \"pixels\""
    )
    let fitting = "multiples or divisors of \(image), the bytes of data.image"
    func fits(_ length: Int) -> Bool { length % image == 0 || image % length == 0 }
    try require("data.length", fits(data.length), fitting)
    try require("data.block", block % image == 0, "multiples of \(image), the bytes of data.image")
    try require(
      "data.length_schedule.length", data.lengthSchedule.length.allSatisfy(fits), fitting)
    try require("data.order", data.order == .random, "random with data.task = \"pixels\"")
    try require("run.sample_bytes", run.sampleBytes == 0, "0 with data.task = \"pixels\"")
  }

  private func validateData() throws(ConfigError) {
    let count = data.mix.path.count
    try require(
      "data.corpus", data.corpus.paths.isEmpty || count == 0,
      "[], or none, with [[data.mix]]")
    try require(
      "data.corpus", !data.corpus.paths.isEmpty || count > 0 || data.task == .duplication,
      "\(ConfigKey.named("data.corpus").legal); or [[data.mix]] tables instead")
    let oneEach = "\(count) entries, one for each data.mix.path"
    try require("data.mix.weight", data.mix.weight.count == count, oneEach)
    try require(
      "data.mix.name", data.mix.name.count == count && Set(data.mix.name).count == count,
      oneEach + ", no two alike")
    // 0.9 + 0.05 + 0.05 is not exactly 1 in binary; 1e-9 is less than a byte of any corpus here.
    try require(
      "data.split", data.split[0] > 0 && abs(data.split.reduce(0, +) - 1) < 1e-9,
      "three shares (training, validation, test), the first above 0, that add up to 1")
  }

  private func validateStages() throws(ConfigError) {
    let schedule = data.lengthSchedule
    let count = schedule.length.count
    try require(
      "data.block", block % data.length == 0,
      "\"auto\" or a multiple of data.length = \(data.length)")
    let oneEach = "\(count) entries, one for each data.length_schedule.length"
    try require("data.length_schedule.share", schedule.share.count == count, oneEach)
    try require("data.length_schedule.windows", schedule.windows.count == count, oneEach)
    try require(
      "data.length_schedule.share", schedule.share.reduce(0, +) < 1, "shares that add up to below 1"
    )
    try require(
      "data.length_schedule.length",
      schedule.length.allSatisfy { $0 <= data.length && block % $0 == 0 },
      "divisors of data.block = \(block), at most data.length = \(data.length)")
    let isStreams = data.order == .streams
    try require("data.order", !isStreams || count == 0, "random with [[data.length_schedule]]")
    try require("data.order", !isStreams || data.mix.path.isEmpty, "random with [[data.mix]]")
    try require(
      "data.order", !isStreams || block == data.length,
      "random unless data.block is \"auto\" or data.length = \(data.length)")
    try require(
      "data.order",
      !isStreams || !model.layers.contains(.memory) || model.positions != .axial,
      "random with layers of kind memory and model.positions = \"axial\": what is carried over has no place in a table"
    )
    let memory = attention.memory
    try require(
      "model.positions",
      !isStreams || !model.layers.contains(.memory) || memory.compressed == 0
        || model.positions == .rotary,
      "rotary with attention.memory.compressed = \(memory.compressed), as rows are compared without their positions"
    )
    try require(
      "attention.memory.ratio",
      memory.compressed == 0
        || memory.rows % memory.ratio == 0 && data.length % memory.ratio == 0,
      "divisors of attention.memory.rows = \(memory.rows) and data.length = \(data.length)")
    // Places in the training order are 64-bit.
    let widest = stages.map { Double($0.length) * Double($0.windows) }.max() ?? 0
    let most = 0x1p61 / widest
    try require(
      "run.steps", count == 0 || Double(run.steps) <= most,
      "at most \(Int(min(most, 0x1p61))) with such stages")
  }

  /// Checks what depends on the number of ranks: each takes an equal share of the global batch.
  ///
  /// - Throws: `ConfigError` when `ranks` does not divide `run.global_batch`, or a stage's windows neither
  ///   divide nor are divided by it.
  public func validate(ranks: Int) throws(ConfigError) {
    try require(
      "run.global_batch", ranks >= 1 && run.globalBatch % ranks == 0,
      "a multiple of the number of ranks, \(ranks)")
    try require(
      "data.length_schedule.windows",
      data.lengthSchedule.windows.allSatisfy { $0 % ranks == 0 || ranks % $0 == 0 },
      "multiples or divisors of the number of ranks, \(ranks)")
  }

  func require(
    _ key: String, _ holds: Bool, _ legal: @autoclosure () -> String
  ) throws(ConfigError) {
    guard !holds else { return }
    let key = ConfigKey.named(key)
    throw key.refusal(of: key.get(self), legal: legal())
  }

  /// A constant of another method, which would be ignored, is a mistake.
  private func validateOptimizer() throws(ConfigError) {
    let (kind, usual) = (optimizer.kind, OptimizerSection())
    try require(
      "optimizer.momentum", kind == .muon || optimizer.momentum == usual.momentum,
      "\(usual.momentum), its default, unless optimizer.kind = \"muon\"")
    for (name, given, ofAdam) in [
      ("beta1", optimizer.beta1, usual.beta1), ("beta2", optimizer.beta2, usual.beta2),
      ("epsilon", optimizer.epsilon, usual.epsilon),
    ] {
      try require(
        "optimizer.\(name)", kind != .adafactor || given == ofAdam,
        "\(ofAdam), its default, with optimizer.kind = \"adafactor\"")
    }
  }

  private func validateModel() throws(ConfigError) {
    if let problem = model.preset.problem(self) {
      throw ConfigError("model.preset = \"\(model.preset.rawValue)\": \(problem)")
    }
    try require(
      "model.precision", model.precision == .fp32 || run.matrixProducts != .openblas,
      "fp32, or bf16 with run.matrix_products = \"tiles\" or \"amx\"")
    try require(
      "run.matrix_products", model.precision == .bf16 || run.matrixProducts != .amx,
      "tiles or openblas, or amx with model.precision = \"bf16\"")
    let widest = ConfigLimits.size / model.heads
    try require(
      "model.head_width", model.headWidth <= widest,
      "1 to \(widest) with model.heads = \(model.heads)")
    try require(
      "model.heads_per_group", model.headsPerGroup == 0 || model.heads % model.headsPerGroup == 0,
      "\"auto\" or a divisor of model.heads = \(model.heads)")
    try require(
      "model.vocabulary", model.vocabulary >= 256 + model.byteOffset,
      "\(256 + model.byteOffset) (256 + model.byte_offset) to \(ConfigLimits.size)")
    guard model.positions == .axial else {
      let positions = model.positions.rawValue
      let (turned, even) =
        model.positions == .rotary
        ? (model.headWidth, "model.head_width") : (model.width, "model.width")
      try require(
        "model.positions", turned % 2 == 0,
        "axial, or \(positions) with an even \(even)")
      for (name, value) in [
        ("model.axial_shape", model.axialShape), ("model.axial_widths", model.axialWidths),
      ] {
        try require(name, value.isEmpty, "none with model.positions = \"\(positions)\"")
      }
      return
    }
    try require(
      "model.axial_shape", model.axialShape.productReaches(data.length),
      "sizes with a product of at least data.length = \(data.length)")
    try require(
      "model.axial_widths",
      model.axialWidths.count == model.axialShape.count
        && model.axialWidths.reduce(0, +) == model.width,
      "\(model.axialShape.count) widths (one per entry of model.axial_shape) that add up to "
        + "model.width = \(model.width)")
  }
}

extension ConfigKey {
  /// The error that names the key, the value, and what would be legal.
  func refusal(of value: ConfigValue, legal: String? = nil) -> ConfigError {
    ConfigError("\(name) = \(value.toml); legal values: \(legal ?? self.legal)")
  }
}
