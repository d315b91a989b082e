// What goes with pairs of sources and targets, and with a model that has an encoder for the first.
import Attention
import Corpus
import Reformer

extension RunConfig {
  /// Throws where one of both is there without the other, and for what makes no sense with them.
  func validatePairs() throws(ConfigError) {
    let isPairs = data.task == .pairs
    try require(
      "model.kind", (model.kind == .encoderDecoder) == isPairs,
      isPairs
        ? "encoder-decoder with data.task = \"pairs\""
        : "decoder unless data.task = \"pairs\", which has sources for an encoder")
    guard isPairs else {
      try require(
        "model.encoder_layers", model.encoderLayers.isEmpty,
        "[] unless model.kind = \"encoder-decoder\"")
      try require("data.source_length", data.sourceLength == 0, "0 unless data.task = \"pairs\"")
      return try require(
        "data.wrong_lines", data.wrongLines == .refuse, "refuse unless data.task = \"pairs\"")
    }
    let reason = "with model.kind = \"encoder-decoder\""
    let known = AttentionKind.allCases.filter { attention.sizes.layer($0).unmasked != nil }
    try require(
      "model.encoder_layers",
      !model.encoderLayers.isEmpty && model.encoderLayers.allSatisfy(known.contains),
      "1 or more of \(known.map(\.rawValue).joined(separator: ", ")) \(reason)")
    try require(
      "data.source_length", data.sourceLength >= 2,
      "2 to \(ConfigLimits.length) with data.task = \"pairs\"")
    try require(
      "model.layers", !model.layers.contains(.memory), "kinds but memory \(reason)")
    try require("model.positions", model.positions == .rotary, "rotary \(reason)")
    try require("model.residual", model.residual == .reversible, "reversible \(reason)")
    try require("model.ngrams.orders", model.ngrams.orders.isEmpty, "[] \(reason)")
    try require(
      "model.byte_offset", model.byteOffset >= 2,
      "2 or more \(reason), as the two tokens before byte 0 mark where a text begins and ends")
    try require("data.block", block == data.length, "\"auto\" \(reason)")
    try require("data.order", data.order == .random, "random \(reason)")
    try require(
      "data.length_schedule.length", data.lengthSchedule.length.isEmpty, "no stages \(reason)")
    try require(
      "run.sample_bytes",
      run.sampleBytes == 0
        || model.layers.allSatisfy { attention.sizes.layer($0).isStrictlyCausal },
      "0 \(reason) and layers that see what is not written yet, such as lsh with sight = \"chunks\""
    )
  }

  /// Throws for a model with an encoder, which does not do `what`.
  package func requireDecoder(_ what: String) throws(UserError) {
    guard model.kind == .decoder else {
      throw UserError(
        "model.kind is \"\(model.kind.rawValue)\", which has a target for each source but no text of its own: it cannot "
          + "be used to \(what); evaluate scores its targets, translate writes them")
    }
  }

  /// A window of made-up bytes, as long as any, for measuring; a function of seed and `index`.
  package func madeUpWindow(_ index: Int) -> Window {
    let seed = UInt64(run.seed)
    guard model.kind == .encoderDecoder else {
      return Window(
        bytes: SyntheticTasks.uniformBytes(seed: seed, index: index, count: data.length + 1),
        byteOffset: model.byteOffset, isContinued: true)
    }
    let bytes = SyntheticTasks.uniformBytes(
      seed: seed, index: index, count: data.sourceLength + data.length - 2)
    return Window(
      source: bytes.prefix(data.sourceLength - 1), target: bytes.dropFirst(data.sourceLength - 1),
      byteOffset: model.byteOffset)
  }
}
