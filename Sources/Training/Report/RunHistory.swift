// What a run folder tells of its run: config, figures, checkpoints and where they come from.
import Checkpointing
import Foundation

/// A run, as far as its folder knows it.
struct RunHistory {
  /// A checkpoint in the folder, or one that the run went on from.
  struct Step {
    let folder: String
    let state: TrainingState
    /// Ranks that wrote it.
    let ranks: Int
    /// Bytes of its files.
    let bytes: Int
  }

  /// The folder's name, and more of its path where other runs have the same.
  var name: String
  let folder: String
  let config: RunConfig
  let metrics: MetricsFile
  /// The checkpoints in the folder, in order; their files are not verified.
  let steps: [Step]
  /// The checkpoints that the newest one goes back to, last first: folder and step.
  let ancestors: [Origin.Parent]

  /// Reads the run in `folder`.
  ///
  /// Throws `UserError` or `ConfigError` where there is none. A checkpoint that cannot be read is left out: what a
  /// run has to tell is not lost with it.
  init(folder: String) throws {
    self.folder = folder
    name = URL(fileURLWithPath: folder).lastPathComponent
    let configPath = folder + "/" + Manifest.configName
    guard FileManager.default.fileExists(atPath: configPath) else {
      throw UserError("\(folder): no \(Manifest.configName) here; name the folder of a run")
    }
    config = try RunConfig.load(stored: configPath)
    metrics = try MetricsFile(path: folder + "/metrics.jsonl")
    let store = CheckpointStore(runFolder: folder)
    steps = try store.steps().compactMap { Self.read(store.folder(step: $0)) }
    var ancestors: [Origin.Parent] = []
    var next = steps.last?.state.origin?.resumedFrom
    // Folders may have been moved in a circle.
    while let parent = next, ancestors.count < 1000 {
      ancestors.append(parent)
      next = Self.read(parent.checkpoint)?.state.origin?.resumedFrom
    }
    self.ancestors = ancestors
  }

  /// The step folder `folder`; nil where it cannot be read.
  private static func read(_ folder: String) -> Step? {
    guard let manifest = try? Manifest(folder: folder),
      let state = try? TrainingState(folder: folder)
    else { return nil }
    return Step(
      folder: folder, state: state, ranks: manifest.ranks,
      bytes: manifest.files.reduce(0) { $0 + $1.bytes })
  }

  /// Steps done.
  var lastStep: Int { metrics.steps.last?.step ?? steps.last?.state.step ?? 0 }

  /// The newest checkpoint that says what wrote it.
  var origin: Origin? { steps.lazy.reversed().compactMap(\.state.origin).first }
}
