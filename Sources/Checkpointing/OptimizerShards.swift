// The optimizer's moments on disk, and the averages of the parameters where it keeps them. Each rank writes what it
// keeps with its places in the flat layout; a reader collects any ranges from all files, so the number of ranks may
// change.
import Compute
import Foundation

/// Saving what this rank's optimizer keeps, and reading any rank's from the files of all.
public struct OptimizerShards: Sendable {
  private struct Piece {
    let range: Range<Int>
    let name: String
    let file: SafetensorsReader
  }

  private let folder: String
  /// By the name of what is kept, ascending.
  private let pieces: [String: [Piece]]

  // All names that there are, of any optimizer.
  private static let names = ["first_moment", "second_moment", "average"]

  /// `optimizer-00000-of-00002.safetensors`.
  public static func fileName(rank: Int, ranks: Int) -> String {
    "optimizer-\(padded(rank, 5))-of-\(padded(ranks, 5)).safetensors"
  }

  /// Writes what the optimizer of one rank keeps.
  ///
  /// - `shards`: each called `first_moment`, `second_moment` or `average`, without places where there is none.
  /// - Tensors are named `first_moment.GROUP` and so on, with `#1`, `#2` for further pieces of a group; metadata
  ///   `range.GROUP` is `START-END` in the flat layout.
  /// - Throws: `CheckpointError` when the disk refuses. Traps when a range lies outside the layout's groups.
  public static func write(
    layout: ParameterLayout, shards: [LayoutShard], rank: Int, ranks: Int, to folder: String
  ) throws(CheckpointError) -> FileDigest {
    var tensors: [TensorToWrite] = []
    var metadata = ["layout_count": "\(layout.count)", "rank": "\(rank)", "ranks": "\(ranks)"]
    var names: [Range<Int>: String] = [:]
    func name(_ piece: Range<Int>, in group: String) -> String {
      if let known = names[piece] { return known }
      var (name, copy) = (group, 0)
      while metadata["range.\(name)"] != nil {
        copy += 1
        name = "\(group)#\(copy)"
      }
      metadata["range.\(name)"] = "\(piece.lowerBound)-\(piece.upperBound)"
      names[piece] = name
      return name
    }
    for shard in shards {
      precondition(Self.names.contains(shard.name), "no reader looks for \(shard.name)")
      var offset = 0
      for range in shard.ranges {
        var start = range.lowerBound
        while start < range.upperBound {
          guard let group = layout.groups.first(where: { $0.range.contains(start) }) else {
            preconditionFailure("range \(range) outside the layout of \(layout.count)")
          }
          let piece = start..<min(range.upperBound, group.range.upperBound)
          tensors.append(
            TensorToWrite(
              name: "\(shard.name).\(name(piece, in: group.name))", shape: [piece.count],
              values: shard.values.view[offset..<offset + piece.count]))
          start = piece.upperBound
          offset += piece.count
        }
      }
    }
    return try SafetensorsWriter.write(
      tensors, metadata: metadata, to: "\(folder)/\(fileName(rank: rank, ranks: ranks))")
  }

  /// Opens the shards of all `ranks` that wrote the checkpoint in `folder`.
  ///
  /// - Throws: `CheckpointError` when a file is missing or broken, belongs to a model of another
  ///   size, or two pieces overlap.
  public init(folder: String, ranks: Int, layout: ParameterLayout) throws(CheckpointError) {
    self.folder = folder
    var pieces: [String: [Piece]] = [:]
    for rank in 0..<ranks {
      let path = "\(folder)/\(Self.fileName(rank: rank, ranks: ranks))"
      try Self.collect(SafetensorsReader(path), layout: layout, into: &pieces)
    }
    for name in Self.names {
      let sorted = (pieces[name] ?? []).sorted { $0.range.lowerBound < $1.range.lowerBound }
      for (left, right) in zip(sorted, sorted.dropFirst())
      where left.range.upperBound > right.range.lowerBound {
        throw CheckpointError(
          right.file.path,
          "\(name) of \(right.range) overlaps \(left.range) of \(left.file.path)")
      }
      pieces[name] = sorted
    }
    self.pieces = pieces
  }

  /// Reads the numbers of `shard`, whoever wrote them.
  ///
  /// - Throws: `CheckpointError` when some elements are in no file, or the disk fails.
  public func read(into shard: LayoutShard) throws(CheckpointError) {
    try read(shard.name, ranges: shard.ranges, into: shard.values.view)
  }

  /// Reads what is kept as `name` for `ranges`, one after the other, `[sum of counts]`, in the same way.
  public func read(
    _ name: String, ranges: [Range<Int>], into values: View<Float>
  ) throws(CheckpointError) {
    precondition(values.count == LayoutShard.count(ranges), "\(name) does not fit the ranges")
    var offset = 0
    for range in ranges {
      var start = range.lowerBound
      for piece in pieces[name] ?? [] where piece.range.overlaps(start..<range.upperBound) {
        // Pieces are sorted, so one that begins later leaves `start` uncovered.
        guard piece.range.contains(start) else { break }
        let here = start..<min(range.upperBound, piece.range.upperBound)
        let local = offset..<(offset + here.count)
        let elements =
          (here.lowerBound - piece.range.lowerBound)..<(here.upperBound - piece.range.lowerBound)
        try piece.file.read("\(name).\(piece.name)", elements: elements, into: values[local])
        start = here.upperBound
        offset = local.upperBound
      }
      guard start == range.upperBound else {
        throw CheckpointError(folder, "no optimizer file holds \(name) from element \(start) on")
      }
    }
  }

  private static func collect(
    _ file: SafetensorsReader, layout: ParameterLayout, into pieces: inout [String: [Piece]]
  ) throws(CheckpointError) {
    let stored = file.metadata["layout_count"] ?? "an unknown number of"
    guard stored == "\(layout.count)" else {
      throw CheckpointError(
        file.path, "holds moments of \(stored) elements; the model's config has \(layout.count)")
    }
    for (key, value) in file.metadata where key.hasPrefix("range.") {
      let place = String(key.dropFirst("range.".count))
      let bounds = value.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
      guard bounds.count == 2, let start = bounds[0], let end = bounds[1], 0 <= start, start < end,
        end <= layout.count
      else { throw CheckpointError(file.path, "metadata \(key) is \"\(value)\", not START-END") }
      for name in names {
        guard let tensor = file.tensor("\(name).\(place)") else { continue }
        guard tensor.type == .float32, tensor.shape == [end - start] else {
          throw CheckpointError(
            file.path, "\(name).\(place) is no F32 tensor [\(end - start)]")
        }
        pieces[name, default: []].append(Piece(range: start..<end, name: place, file: file))
      }
    }
  }
}

/// A number with leading zeros, so that names sort like numbers.
func padded(_ number: Int, _ width: Int) -> String {
  let digits = String(number)
  return String(repeating: "0", count: max(0, width - digits.count)) + digits
}
