// The parameters of a model on disk: one tensor per slot, Hugging Face names and shapes.
import Compute
import Foundation

/// Saving and loading `model.safetensors`.
public enum ModelFile {
  /// Its name in a checkpoint folder.
  public static let name = "model.safetensors"

  /// Writes every slot of `layout` to `folder`.
  ///
  /// - `parameters`: the flat buffer, `[layout.parameterBufferCount]`. `copies`: slots to write again, by another name.
  /// - Throws: `CheckpointError` when the disk refuses.
  public static func write(
    layout: ParameterLayout, parameters: View<Float>, copies: [String: String] = [:],
    metadata: [String: String] = [:], to folder: String
  ) throws(CheckpointError) -> FileDigest {
    precondition(
      parameters.count == layout.parameterBufferCount, "parameters do not fit the layout")
    func tensor(_ slot: Slot, _ name: String) -> TensorToWrite {
      TensorToWrite(name: name, shape: slot.shape, values: parameters[slot.range])
    }
    let tensors =
      layout.slots.map { tensor($0, $0.name) }
      + copies.sorted { $0.key < $1.key }.map { tensor(layout[$0.value], $0.key) }
    // transformers refuses files that do not name the framework their layout comes from.
    let entries = metadata.merging(["format": "pt"]) { own, _ in own }
    return try SafetensorsWriter.write(tensors, metadata: entries, to: "\(folder)/\(name)")
  }

  /// Opens the file at `path`, which must have just the tensors of `layout`, of one of `types`, and may have `copies` of them by
  /// other names.
  ///
  /// - Throws: `CheckpointError` naming the first tensor that is missing, unexpected, of another shape or type.
  public static func open(
    _ path: String, layout: ParameterLayout, types: [SafetensorsType] = [.float32],
    copies: [String: String] = [:]
  ) throws(CheckpointError) -> SafetensorsReader {
    let reader = try SafetensorsReader(path)
    for slot in layout.slots {
      guard let tensor = reader.tensor(slot.name) else {
        throw CheckpointError(path, "has no tensor \(slot.name), which the model's config needs")
      }
      guard tensor.shape == slot.shape, types.contains(tensor.type) else {
        throw CheckpointError(
          path,
          "tensor \(slot.name) is \(tensor.type.rawValue) \(tensor.shape); the model's "
            + "config needs \(types.map(\.rawValue).joined(separator: ", ")) \(slot.shape)")
      }
    }
    let known = Set(layout.slots.map(\.name))
    if let extra = reader.tensors.first(where: { tensor in
      !known.contains(tensor.name)
        && copies[tensor.name].map { layout[$0].shape != tensor.shape } ?? true
    }) {
      throw CheckpointError(
        path, "holds tensor \(extra.name), which a model of this config does not have")
    }
    return reader
  }

  /// Reads every slot of `layout` from the file at `path`.
  ///
  /// - `parameters`: the flat buffer, `[layout.parameterBufferCount]`; padding is left as it is.
  /// - Throws: `CheckpointError` naming the first tensor that is missing, unexpected, of another
  ///   shape or type, before any parameter is changed.
  public static func read(
    _ path: String, layout: ParameterLayout, into parameters: View<Float>
  ) throws(CheckpointError) {
    precondition(
      parameters.count == layout.parameterBufferCount, "parameters do not fit the layout")
    let reader = try open(path, layout: layout)
    for slot in layout.slots { try reader.read(slot.name, into: parameters[slot.range]) }
  }

  /// SHA-256 over the bytes of all slots in layout order, padding left out.
  ///
  /// Equal for equal parameters, however they were trained or stored. Lower-case hexadecimal.
  public static func parametersSHA256(
    layout: ParameterLayout, parameters: View<Float>
  ) -> String {
    precondition(
      parameters.count == layout.parameterBufferCount, "parameters do not fit the layout")
    let hash = SHA256()
    for slot in layout.slots {
      hash.update(UnsafeRawBufferPointer(parameters[slot.range].bytes))
    }
    return hash.finish()
  }
}
