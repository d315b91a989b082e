// What a step's windows are.
import Communication
import Corpus
import Reformer

/// The windows a run trains on: each is a function of the config, the corpora, and its sample's number.
final class TrainingWindows {
  private let mix: CorpusMix
  private let config: RunConfig
  private var unreadable: CorpusError?

  init(_ mix: CorpusMix, config: RunConfig) {
    self.mix = mix
    self.config = config
  }

  /// The window of a sample, which is of step `step`.
  func window(step: Int, sample: Int) throws(CorpusError) -> Window {
    do {
      return Window(bytes: try mix.bytes(sample: sample), byteOffset: config.model.byteOffset)
    } catch {
      unreadable = error
      throw error
    }
  }

  /// Bytes that all ranks together train on in a step.
  func byteCount(step: Int) -> Int { config.run.globalBatch * config.data.length }

  /// Throws on all ranks where any of them could not read a window: that is no reason to train on fewer.
  func requireReadable(_ communicator: any Communicator) throws {
    try agree(communicator) { if let unreadable { throw unreadable } }
  }
}
