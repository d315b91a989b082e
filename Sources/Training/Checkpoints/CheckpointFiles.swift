// The files that one rank writes of a checkpoint: its moments, what its streams carry over, and on rank 0 parameters, config and state.
import Checkpointing
import Compute

/// What a checkpoint is written from; `parameters` is needed on rank 0 only.
struct CheckpointContent {
  let state: TrainingState
  let parameters: View<Float>
  /// What this rank's optimizer keeps.
  let shards: [LayoutShard]
  /// What this rank's streams carry over, where there are any.
  let streams: [StreamRows]?
}

/// One rank's files; writing them talks to nobody, so that any thread may do it.
struct CheckpointFiles: Sendable {
  let store: CheckpointStore
  let config: RunConfig
  let layout: ParameterLayout
  let rank: Int
  let ranks: Int

  /// Writes them into the partial folder of the content's step; they are on the disk when it returns.
  func write(_ content: CheckpointContent) throws -> [FileDigest] {
    let folder = store.partialFolder(step: content.state.step)
    var files: [FileDigest] = []
    if rank == 0 {
      files = [
        try ModelFile.write(layout: layout, parameters: content.parameters, to: folder),
        try SmallFile.write(Array(config.toml.utf8), to: folder + "/" + Manifest.configName),
        try SmallFile.write(
          Array(HuggingFaceConfig(config.reformer, config.attention.sizes).json()) + [0x0A],
          to: folder + "/" + Manifest.huggingFaceName),
        try SmallFile.write(content.state.json(), to: folder + "/" + Manifest.stateName),
      ]
    }
    files.append(
      try OptimizerShards.write(
        layout: layout, shards: content.shards, rank: rank, ranks: ranks, to: folder))
    if let streams = content.streams {
      files.append(try StreamFiles.write(streams, rank: rank, ranks: ranks, to: folder))
    }
    return files
  }
}
