// A run that begins with the parameters of a checkpoint, imported or trained, instead of random ones: what may differ
// between the two models, and what is made of the parameters then.
import Checkpointing
import Communication
import Compute
import Foundation
import Reformer

/// What the model of a run may have otherwise than the one it starts from, where the user asks for it.
public enum Adaptation: String, CaseIterable, Sendable {
  /// Another `model.axial_shape`: the tables of positions are cut anew.
  case positions
  /// Another `attention.lsh.sight`: the parameters stay what they are.
  case sight
}

extension Checkpoint {
  /// Sets `parameters`, which lie as in `config`, to those of this checkpoint; all ranks call it.
  ///
  /// - Throws: `UserError` naming what the two models differ in, unless `adaptations` has it.
  /// - Returns: this checkpoint, for the record.
  func start(
    _ config: RunConfig, adapting adaptations: [Adaptation], parameters: View<Float>,
    communicator: any Communicator, report: (String) -> Void
  ) throws -> Origin.Parent {
    try agree(communicator) { try requireSameModel(as: config, adapting: adaptations) }
    report("starting from \(folder), step \(step)")
    let changes = ConfigKey.all.compactMap { difference($0, config) }
    if !changes.isEmpty { report("changed since: \(changes.joined(separator: "; "))") }
    let target = config.reformer.parameterLayout
    try withParameters(communicator: communicator) { own in
      for (old, new) in zip(layout.slots, target.slots) {
        precondition(old.name == new.name, "models with the same keys have the same parameters")
        // The last size is the features of a row.
        let width = new.shape.last ?? 1
        recut(own[old.range], to: parameters[new.range], width: width)
      }
    }
    return try parent()
  }

  /// Row r of the new table is row r mod n of the old one's n: what a table of the last, innermost, axis says of
  /// neighbouring bytes stays true, and with the same inner axes every position that both models have keeps its rows.
  private func recut(_ old: View<Float>, to new: View<Float>, width: Int) {
    for start in stride(from: 0, to: new.count, by: width) {
      let source = start % old.count
      new[start..<start + width].copy(from: old[source..<source + width])
    }
  }

  private func requireSameModel(
    as config: RunConfig, adapting adaptations: [Adaptation]
  ) throws(UserError) {
    var refused: [String] = []
    for key in ConfigKey.all where key.isOfModel {
      guard let difference = difference(key, config) else { continue }
      switch key.name {
      case "model.axial_shape"
      where adaptations.contains(.positions)
        && config.model.axialShape.count == self.config.model.axialShape.count:
        break
      case "model.axial_shape":
        refused.append(
          "\(difference) (with as many axes, --adapt positions cuts its tables anew)")
      case "attention.lsh.sight" where adaptations.contains(.sight): break
      case "attention.lsh.sight": refused.append("\(difference) (--adapt sight)")
      default: refused.append(difference)
      }
    }
    guard refused.isEmpty else {
      throw UserError(
        "cannot start from \(folder), which is another model: \(refused.joined(separator: "; "))")
    }
  }

  private func difference(_ key: ConfigKey, _ config: RunConfig) -> String? {
    guard key.name.hasPrefix("model.") || key.name.hasPrefix("attention.") else { return nil }
    // Rows of no tables.
    if key.name == "model.ngrams.rows", config.model.ngrams.orders.isEmpty { return nil }
    let (old, new) = (key.get(self.config), key.get(config))
    return old == new
      ? nil : "\(key.name): \(old.toml) in the checkpoint, \(new.toml) now"
  }
}

extension ConfigKey {
  /// Whether parameters mean something else with another value of this key.
  ///
  /// How much a layer looks at is not among them, nor what only training or rounding depends on.
  fileprivate var isOfModel: Bool {
    let isFree = [
      "model.preset", "model.dropout", "model.attention_dropout", "model.heads_per_group",
      "model.residual_fraction_bits", "model.precision", "attention.local.chunk",
      "attention.local.chunks_before", "attention.lsh.chunk", "attention.lsh.chunks_before",
      "attention.lsh.hashes",
      "attention.lsh.buckets", "attention.lsh.window", "attention.sliding.window",
      "attention.sliding.dilation", "attention.sliding.global", "attention.sliding.global_every",
      "attention.span.ramp", "attention.span.penalty", "attention.strided.stride",
      "attention.fixed.stride", "attention.fixed.summary",
      "attention.bigbird.block", "attention.bigbird.window", "attention.bigbird.global",
      "attention.bigbird.random", "attention.blocks.block", "attention.blocks.window",
      "attention.blocks.top",
    ].contains(name)
    return (name.hasPrefix("model.") || name.hasPrefix("attention.")) && !isFree
  }
}
