// What streams carry over, on disk. Each rank writes those that it trains on, by their place in a step; a reader takes any of
// them from the files of all, so the number of ranks may change.
import Compute
import Foundation

/// What the layers of a model carry over of one stream, when a checkpoint is written.
public struct StreamRows: Sendable {
  /// Its place in a step, over all ranks.
  public let place: Int
  /// Positions that it had so far.
  public let seen: Int
  /// The rows of each layer that has any, `[n, D]`, rows end to end.
  public let layers: [Int: Matrix]

  /// All at once.
  public init(place: Int, seen: Int, layers: [Int: Matrix]) {
    (self.place, self.seen, self.layers) = (place, seen, layers)
  }
}

/// Saving what this rank's streams carry over, and reading any stream's from the files of all ranks.
public struct StreamFiles {
  private let folder: String
  /// By place: positions seen, and the file.
  private let streams: [Int: (seen: Int, file: SafetensorsReader)]
  /// Leaves room to count on.
  private static let mostSeen = 1 << 61

  /// `streams-00000-of-00002.safetensors`.
  public static func fileName(rank: Int, ranks: Int) -> String {
    "streams-\(padded(rank, 5))-of-\(padded(ranks, 5)).safetensors"
  }

  /// Writes what the streams of one rank carry over.
  ///
  /// - Tensors are named `PLACE.layers.LAYER`; metadata `seen.PLACE` is the number of positions that were seen.
  /// - Throws: `CheckpointError` when the disk refuses.
  public static func write(
    _ streams: [StreamRows], rank: Int, ranks: Int, to folder: String
  ) throws(CheckpointError) -> FileDigest {
    var metadata = ["rank": "\(rank)", "ranks": "\(ranks)"]
    var tensors: [TensorToWrite] = []
    for stream in streams {
      metadata["seen.\(stream.place)"] = "\(stream.seen)"
      for (layer, rows) in stream.layers.sorted(by: { $0.key < $1.key }) where rows.rows > 0 {
        tensors.append(
          TensorToWrite(
            name: name(stream.place, layer), shape: [rows.rows, rows.columns],
            values: rows.dense))
      }
    }
    return try SafetensorsWriter.write(
      tensors, metadata: metadata, to: "\(folder)/\(fileName(rank: rank, ranks: ranks))")
  }

  private static func name(_ place: Int, _ layer: Int) -> String { "\(place).layers.\(layer)" }

  /// Opens the files of all `ranks` that wrote the checkpoint in `folder`.
  ///
  /// Throws `CheckpointError` when one is missing or broken, or a stream is there twice.
  public init(folder: String, ranks: Int) throws(CheckpointError) {
    self.folder = folder
    var streams: [Int: (seen: Int, file: SafetensorsReader)] = [:]
    for rank in 0..<ranks {
      let file = try SafetensorsReader("\(folder)/\(Self.fileName(rank: rank, ranks: ranks))")
      for (key, value) in file.metadata where key.hasPrefix("seen.") {
        guard let place = Int(key.dropFirst("seen.".count)), let seen = Int(value), place >= 0,
          (0...Self.mostSeen).contains(seen)
        else { throw CheckpointError(file.path, "metadata \(key) is \"\(value)\", no number") }
        guard streams.updateValue((seen, file), forKey: place) == nil else {
          throw CheckpointError(file.path, "holds stream \(place), which another file holds too")
        }
      }
    }
    self.streams = streams
  }

  /// Positions that the stream at a place had seen.
  ///
  /// Throws `CheckpointError` where no file holds it.
  public func seen(place: Int) throws(CheckpointError) -> Int { try stream(place).seen }

  /// Reads the rows of a layer, as many as there must be.
  ///
  /// Throws `CheckpointError` where they are not there, or have another shape.
  public func read(place: Int, layer: Int, into rows: Matrix) throws(CheckpointError) {
    guard rows.rows > 0 else { return }
    let (file, name) = (try stream(place).file, Self.name(place, layer))
    let shape = file.tensor(name)?.shape ?? []
    guard shape == [rows.rows, rows.columns] else {
      throw CheckpointError(
        file.path, "tensor \(name) is \(shape); the config needs \([rows.rows, rows.columns])")
    }
    try file.read(name, into: rows.dense)
  }

  private func stream(_ place: Int) throws(CheckpointError) -> (
    seen: Int, file: SafetensorsReader
  ) {
    guard let stream = streams[place] else {
      throw CheckpointError(folder, "no file holds what stream \(place) carries over")
    }
    return stream
  }
}
