// A checkpoint opened to be used rather than trained further: by `evaluate` and `inspect`.
import Checkpointing
import Compute
import Foundation
import Reformer

/// Config, parameters and state of a complete checkpoint.
public struct StoredModel {
  /// The step folder.
  public let folder: String
  /// The config it was trained with.
  public let config: RunConfig
  /// Optimizer steps done.
  public let step: Int
  /// Ranks that wrote it.
  public let ranks: Int
  /// Training bytes seen.
  public let trainedBytes: Int
  /// Last validation score, if any.
  public let validationBitsPerByte: Double?
  /// All parameters in `layout`.
  public let parameters: Buffer<Float>
  /// Where each lies.
  public let layout: ParameterLayout

  /// Opens `path`, a step folder or a run folder (its newest complete step), after verifying every file.
  ///
  /// `overrides`: `key=value` texts applied to the stored config, which must not change shapes.
  public init(path: String, overrides: [String] = []) throws {
    folder = try RunCheckpoint.checkpointFolder(path)
    config = try RunConfig.load(
      file: folder + "/" + RunCheckpoint.configName, overrides: overrides,
      notice: Progress(rank: 0).message)
    let manifest = try Manifest(folder: folder)
    let state = try TrainingState(folder: folder)
    step = manifest.step
    ranks = manifest.ranks
    trainedBytes = state.trainedBytes
    validationBitsPerByte = state.validationBitsPerByte
    layout = config.reformer.parameterLayout
    parameters = Buffer(layout.parameterBufferCount)
    try ModelFile.read(folder + "/" + ModelFile.name, layout: layout, into: parameters.view)
  }

  /// Verifies the step folder at `path`, or every step of the run folder there.
  ///
  /// - Returns: each folder with what is wrong with it, if anything. - Throws: `UserError` when there
  ///   is none.
  public static func verify(path: String) throws -> [(folder: String, error: CheckpointError?)] {
    let store = CheckpointStore(runFolder: path)
    let hasManifest = FileManager.default.fileExists(atPath: path + "/" + Manifest.name)
    let folders = hasManifest ? [path] : try store.steps().map { store.folder(step: $0) }
    guard !folders.isEmpty else {
      throw UserError(
        FileManager.default.fileExists(atPath: path)
          ? "\(path): no \(Manifest.name) and no steps here; give a step folder or a run folder"
          : "\(path): no such checkpoint; give a step folder or a run folder")
    }
    return folders.compactMap { folder in
      do throws(CheckpointError) {
        _ = try CheckpointStore.verify(folder)
        return (folder, nil)
      } catch {
        // A run that goes on meanwhile removes its old steps.
        let isGone = !hasManifest && !FileManager.default.fileExists(atPath: folder)
        return isGone ? nil : (folder, error)
      }
    }
  }

  /// SHA-256 over the parameters in layout order, hexadecimal.
  public var parametersSHA256: String {
    ModelFile.parametersSHA256(layout: layout, parameters: parameters.view)
  }
}
