// A model of transformers as a checkpoint: parameters and config, no moments and no corpus.
import Attention
import Checkpointing
import Compute
import Corpus
import Foundation
import Reformer

/// A Reformer that transformers has saved, read and checked.
public struct ImportedModel {
  /// A run of this model.
  let config: RunConfig
  private let parameters: Buffer<Float>

  /// Reads `config.json` and `model.safetensors` in `folder`.
  ///
  /// - `byteOffset`: token id of byte 0; nil where `config.json` says it, or there are no other tokens than bytes.
  /// - `notice`: told in a line of what is not kept or is converted.
  /// - Throws: `UserError` or `CheckpointError` naming the first thing that is wrong.
  public init(folder: String, byteOffset: Int? = nil, notice: (String) -> Void) throws {
    let file = folder + "/" + ModelFile.name
    try requireModelFile(in: folder)
    var huggingFace = try HuggingFaceConfig(
      path: folder + "/" + Manifest.huggingFaceName, notice: notice)
    huggingFace.byteOffset = byteOffset ?? huggingFace.byteOffset
    config = try huggingFace.runConfig()
    let layout = config.reformer.parameterLayout
    // Compared before any memory is asked for: a config may claim any size.
    let reader = try ModelFile.open(
      file, layout: layout, types: [.float32, .float16, .bfloat16], copies: HuggingFaceConfig.copies
    )
    let converted = reader.tensors.filter { $0.type != .float32 }
    if let first = converted.first {
      notice(
        "\(file): \(converted.count) tensors, \(first.name) first, are converted from "
          + "\(Set(converted.map(\.type.rawValue)).sorted().joined(separator: " and ")) to F32")
    }
    parameters = Buffer(layout.parameterBufferCount)
    for slot in layout.slots {
      try reader.readConverted(slot.name, into: parameters.view[slot.range])
    }
    for (name, original) in HuggingFaceConfig.copies where reader.tensor(name) != nil {
      let copy = Buffer<Float>(layout[original].count)
      try reader.readConverted(name, into: copy.view)
      guard copy.view.bytes.elementsEqual(parameters.view[layout[original].range].bytes) else {
        throw UserError("\(file): tensor \(name) differs from \(original), which it should repeat")
      }
    }
  }

  /// SHA-256 over the parameters in layout order, hexadecimal.
  public var parametersSHA256: String {
    ModelFile.parametersSHA256(
      layout: config.reformer.parameterLayout, parameters: parameters.view)
  }

  /// Makes the new checkpoint `path`, without moments and without a corpus.
  ///
  /// - `commit`: what this program is built from, for the record.
  /// - Throws: `CheckpointError` when `path` exists or the disk refuses; then there is no new checkpoint.
  public func write(to path: String, commit: String?) throws {
    let json = try HuggingFaceConfig(config.reformer, config.attention.sizes).json()
    let state = TrainingState(corpus: .nothing, origin: Origin.current(commit: commit))
    try NewFolder.make(path) { unfinished in
      let files = [
        try ModelFile.write(
          layout: config.reformer.parameterLayout, parameters: parameters.view, to: unfinished),
        try SmallFile.write(Array(config.toml.utf8), to: unfinished + "/" + Manifest.configName),
        try SmallFile.write(
          Array(json) + [0x0A], to: unfinished + "/" + Manifest.huggingFaceName),
        try SmallFile.write(state.json(), to: unfinished + "/" + Manifest.stateName),
      ]
      try Manifest(
        step: 0, ranks: 0, configSHA256: SHA256.digits(of: config.toml.utf8), files: files
      ).write(to: unfinished)
    }
  }
}

/// Throws where `folder` holds a model in another form than one file of safetensors.
private func requireModelFile(in folder: String) throws(UserError) {
  func exists(_ name: String) -> Bool {
    FileManager.default.fileExists(atPath: folder + "/" + name)
  }
  guard exists("") else { throw UserError("\(folder): no such folder") }
  guard !exists(ModelFile.name) else { return }
  let rewrite =
    "python3 -c 'import sys, transformers; transformers.ReformerModelWithLMHead.from_pretrained(sys.argv[1])"
    + ".save_pretrained(sys.argv[2], max_shard_size=\"999GB\")' \(folder) NEW_FOLDER"
  if exists("pytorch_model.bin") {
    throw UserError(
      "\(folder)/pytorch_model.bin is a program that would have to be run to be read; convert it where you trust "
        + "it: \(rewrite)")
  }
  if exists("model.safetensors.index.json") {
    throw UserError("\(folder): the model is in several files; make one of them: \(rewrite)")
  }
  throw UserError("\(folder): no \(ModelFile.name) here")
}

extension HuggingFaceConfig {
  /// A run of this model: its longest windows, and no corpus.
  func runConfig() throws(UserError) -> RunConfig {
    guard vocabSize >= 256 else {
      throw UserError("config.json: vocab_size = \(vocabSize); a model of bytes has 256 or more")
    }
    guard let byteOffset = byteOffset ?? (vocabSize == 256 ? 0 : nil) else {
      throw UserError(
        "config.json: vocab_size = \(vocabSize), but not which of these tokens are the bytes; say which token id "
          + "byte 0 has with --byte-offset (google/reformer-enwik8: 2)")
    }
    let positions =
      axialPosShape.productReaches(ConfigLimits.length)
      ? ConfigLimits.length : max(axialPosShape.reduce(1, *), 1)
    let model = try reformerConfig(length: positions)
    guard positions >= 2 else { throw UserError("config.json: axial_pos_shape \(axialPosShape)") }
    var config = RunConfig()
    config.run.name = "imported"
    config.run.steps = 1
    // Empty on every machine: an imported model has no corpus of its own.
    config.data.corpus = "/dev/null"
    config.data.length = positions
    config.model.width = model.width
    config.model.layers = attnLayers.compactMap(AttentionKind.init)
    config.model.heads = model.heads
    config.model.headWidth = model.headWidth
    config.model.feedForwardWidth = model.feedForwardWidth
    config.model.activation = model.activation
    config.model.vocabulary = model.vocabulary
    config.model.byteOffset = byteOffset
    config.model.axialShape = model.axialShape
    config.model.axialWidths = model.axialWidths
    config.model.dropout = model.dropout
    config.model.attentionDropout = model.attentionDropout
    config.model.layerNormEpsilon = model.layerNormEpsilon
    config.attention.local = LocalAttention(
      chunk: localAttnChunkLength, chunksBefore: localNumChunksBefore)
    config.attention.lsh = LSHAttention(
      chunk: lshAttnChunkLength, chunksBefore: lshNumChunksBefore, hashes: numHashes,
      buckets: buckets(length: positions))
    do {
      // Sizes first: what stands for "auto" is computed from them.
      config.model.headsPerGroup = 1
      try config.validate()
      config.model.headsPerGroup = 0
      config.resolveAutomatic()
      try config.validate()
    } catch { throw UserError("config.json: \(error)") }
    return config
  }
}
