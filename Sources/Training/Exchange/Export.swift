// A checkpoint's model for transformers: config.json, model.safetensors and a model card.
import Attention
import Checkpointing
import Foundation
import Reformer

extension Checkpoint {
  /// Writes the model into the new folder `path`, as Hugging Face's transformers 4.44 reads it.
  ///
  /// - Throws: `UserError` naming what its Reformer does not have, and what could be exported instead;
  ///   `CheckpointError` when `path` exists or the disk refuses. Then there is no new folder.
  public func export(to path: String) throws {
    if let problem = config.reasonAgainstExport {
      throw UserError("\(folder) cannot be exported: \(problem)")
    }
    try withParameters { parameters in
      try NewFolder.make(path) { unfinished in
        _ = try ModelFile.write(
          layout: layout, parameters: parameters, copies: HuggingFaceConfig.copies, to: unfinished)
        let json = try HuggingFaceConfig(config.reformer, config.attention.sizes).json()
        try SmallFile.write(Array(json) + [0x0A], to: unfinished + "/" + Manifest.huggingFaceName)
        try SmallFile.write(Array(modelCard.utf8), to: unfinished + "/README.md")
      }
    }
  }

  /// What a reader of the exported folder should know.
  var modelCard: String {
    let model = config.reformer
    let offset = model.byteOffset
    let layers = config.model.layers.map(\.rawValue).joined(separator: " ")
    let scored = config.run.evaluateBytes
    let score =
      state.validationBitsPerByte.map { bits in
        String(format: "%.4f", bits)
          + " on the validation split after step \(state.validationStep ?? step)"
          + (scored > 0 ? ", its first \(scored) bytes" : "")
          + ": windows of \(config.data.length) bytes side by side, each byte predicted from those before it in"
          + " its window; the sum of -log2 of the probabilities over the number of bytes"
      } ?? "not measured"
    let text = config.data.corpus.paths.map { $0.split(separator: "/").last ?? "" }
    let names = text.isEmpty ? config.data.mix.name : text.map(String.init)
    let corpus =
      isImported
      ? "unknown: the model was imported"
      : config.data.task == .duplication
        ? "sequences 0w0w that are made up; \(state.trainedBytes) bytes trained on in \(step) steps"
        : "\(names.joined(separator: ", ")), \(state.corpus.bytes) bytes (\(state.corpus)); "
          + "\(state.trainedBytes) bytes trained on in \(step) steps"
    return """
      ---
      library_name: transformers
      tags: [reformer, bytes]
      ---
      # \(config.run.name)

      A language model of bytes: a Reformer (Kitaev et al. 2020) of \(layout.parameterCount) parameters, written by reformer-train \(programVersion).

      - Layers: \(layers); width \(model.width), \(model.heads) heads of \(model.headWidth), feed-forward \(model.feedForwardWidth), context \(model.axialShape.reduce(1, *)).
      - Corpus: \(corpus).
      - Bits per byte: \(score).
      - Byte offset: byte b is token id b + \(offset).

      ```python
      model = transformers.ReformerModelWithLMHead.from_pretrained(".").eval(); logits = model(torch.tensor([[byte + \(offset) for byte in b"Some text"]])).logits
      ```

      Each call draws the rotations of LSH layers anew, so that logits differ a little from call to call. For training, transformers takes windows of \(model.axialShape.reduce(1, *)) tokens only.

      """
  }
}

extension RunConfig {
  /// What Hugging Face's Reformer does not have, and what could be exported instead; nil where it has all.
  var reasonAgainstExport: String? {
    if !model.ngrams.orders.isEmpty {
      return
        "Hugging Face's Reformer has no n-gram counts (model.ngrams.orders); a model trained with "
        + "model.ngrams.orders = [] can be exported"
    }
    if model.kind != .decoder {
      return
        "Hugging Face's Reformer has no encoder beside its decoder (model.kind = \"\(model.kind.rawValue)\"); a model "
        + "of kind decoder can be exported"
    }
    if model.positions != .axial {
      return
        "Hugging Face's Reformer has no model.positions = \"\(model.positions.rawValue)\"; a model of axial positions "
        + "can be exported"
    }
    if model.residual == .plain {
      return
        "Hugging Face's Reformer has no model.residual = \"plain\"; a model of reversible layers can be exported"
    }
    if model.tokenShift {
      return
        "Hugging Face's Reformer has no token shift (model.token_shift); a model trained with "
        + "model.token_shift = false can be exported"
    }
    if let kind = model.layers.first(where: { ![.local, .lsh].contains($0) }) {
      return
        "Hugging Face's Reformer has no \"\(kind.rawValue)\" layers (model.layers); a model of local and lsh layers "
        + "can be exported"
    }
    if model.layers.contains(.lsh), attention.lsh.sight != .chunks {
      return
        "Hugging Face's Reformer has no attention.lsh.sight = \"\(attention.lsh.sight.rawValue)\"; "
        + "the same parameters with the paper's sight can be exported, which gives other probabilities: "
        + "--set attention.lsh.sight=chunks --set attention.lsh.window=0"
    }
    return nil
  }
}
