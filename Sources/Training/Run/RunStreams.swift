// The streams that a rank trains on, and what their layers carry over from step to step.
import Checkpointing
import Compute
import Corpus
import Reformer

/// What one rank's streams carry over; none where windows are no streams, or no layer has a memory.
///
/// A stream is a place in the global batch, whichever rank has it.
package struct RunStreams {
  /// Places of this rank's streams.
  private let places: Range<Int>
  /// By place, from the first one.
  private let memories: [StreamMemory]

  /// Empty memories of the streams of `rank`.
  package init(_ config: RunConfig, rank: Int, ranks: Int) {
    let model = config.reformer
    let stages = config.stages
    places = stages[stages.count - 1].windows(rank: rank, ranks: ranks)
    memories = model.carriedRows > 0 ? places.map { _ in StreamMemory(model) } : []
  }

  /// The memory of the stream that a sample is part of.
  package func memory(of sample: Sample) -> StreamMemory? {
    memories.isEmpty ? nil : memories[sample.place - places.lowerBound]
  }

  /// Brings all memories to where a step has left the run, so that they always are those of the last step.
  ///
  /// A step that was applied has passed its windows; one that was abandoned never was. After a skipped one streams begin
  /// anew: what a window's passes left may be no numbers, and what was there before is not what stands before the next.
  package func settle(_ outcome: StepOutcome) {
    for memory in memories {
      switch outcome {
      case .applied: memory.commit()
      case .skipped: memory.forget()
      case .abandoned: break
      }
    }
  }

  /// What a checkpoint holds of them, lent by the memories until the next step; nil where there are none.
  var rows: [StreamRows]? {
    guard !memories.isEmpty else { return nil }
    return zip(places, memories).map { place, memory in
      StreamRows(
        place: place, seen: memory.seen,
        layers: Dictionary(
          uniqueKeysWithValues: memory.layerNumbers.map { ($0, memory.rows(layer: $0)) }))
    }
  }

  /// Goes on with what the checkpoint in `folder`, which `ranks` ranks wrote, has of them.
  ///
  /// Throws `CheckpointError` where it is not there.
  func read(folder: String, ranks: Int) throws(CheckpointError) {
    guard !memories.isEmpty else { return }
    let files = try StreamFiles(folder: folder, ranks: ranks)
    for (place, memory) in zip(places, memories) {
      memory.restore(seen: try files.seen(place: place))
      for layer in memory.layerNumbers {
        try files.read(place: place, layer: layer, into: memory.rows(layer: layer))
      }
    }
  }

  /// Numbers that `rows` may have, over all streams.
  var count: Int { memories.reduce(0) { $0 + $1.count } }
}

extension [StreamRows] {
  /// The same in memory of its own, the start of `buffer`.
  func copied(to buffer: Buffer<Float>) -> [StreamRows] {
    var start = 0
    return map { stream in
      StreamRows(
        place: stream.place, seen: stream.seen,
        layers: stream.layers.mapValues { rows in
          let end = start + rows.rows * rows.columns
          let copy = Matrix(buffer.view[start..<end], rows: rows.rows, columns: rows.columns)
          copy.copy(from: rows)
          start = end
          return copy
        })
    }
  }
}
