// The optimizer's two moments on disk, and the averages of the parameters where it keeps them. Each rank writes the
// pieces it owns with their places in the flat layout; a reader collects any ranges from all files, so the number of
// ranks may change.
import Compute
import Foundation

/// Saving this rank's moments, and reading any rank's from the files of all.
public struct OptimizerShards: Sendable {
  private struct Piece {
    let range: Range<Int>
    let name: String
    let file: SafetensorsReader
  }

  private let folder: String
  private let pieces: [Piece]

  /// `optimizer-00000-of-00002.safetensors`.
  public static func fileName(rank: Int, ranks: Int) -> String {
    "optimizer-\(padded(rank, 5))-of-\(padded(ranks, 5)).safetensors"
  }

  /// Writes the moments of one rank.
  ///
  /// - `ranges`: the places this rank owns in the flat layout. `first`, `second`: the moments of
  ///   those ranges, one after the other, `[sum of counts]`. `averages`: the same of the averaged parameters, or empty.
  /// - Tensors are named `first_moment.GROUP`, `second_moment.GROUP` and `average.GROUP`, with `#1`, `#2` for
  ///   further pieces of a group; metadata `range.GROUP` is `START-END` in the flat layout.
  /// - Throws: `CheckpointError` when the disk refuses. Traps when sizes disagree or a range lies
  ///   outside the layout's groups.
  public static func write(
    layout: ParameterLayout, ranges: [Range<Int>], first: View<Float>, second: View<Float>,
    averages: View<Float>? = nil, rank: Int, ranks: Int, to folder: String
  ) throws(CheckpointError) -> FileDigest {
    let total = ranges.reduce(0) { $0 + $1.count }
    let averages = averages.flatMap { $0.count > 0 ? $0 : nil }
    precondition(
      first.count == total && second.count == total && averages?.count ?? total == total,
      "moments do not fit the ranges")
    var tensors: [TensorToWrite] = []
    var metadata = ["layout_count": "\(layout.count)", "rank": "\(rank)", "ranks": "\(ranks)"]
    var offset = 0
    for range in ranges {
      var start = range.lowerBound
      while start < range.upperBound {
        guard let group = layout.groups.first(where: { $0.range.contains(start) }) else {
          preconditionFailure("range \(range) outside the layout of \(layout.count)")
        }
        let piece = start..<min(range.upperBound, group.range.upperBound)
        let local = offset..<(offset + piece.count)
        var name = group.name
        var copy = 0
        while metadata["range.\(name)"] != nil {
          copy += 1
          name = "\(group.name)#\(copy)"
        }
        metadata["range.\(name)"] = "\(piece.lowerBound)-\(piece.upperBound)"
        let parts = [("first_moment", first), ("second_moment", second)]
        for (part, values) in parts + (averages.map { [("average", $0)] } ?? []) {
          tensors.append(
            TensorToWrite(name: "\(part).\(name)", shape: [piece.count], values: values[local]))
        }
        start = piece.upperBound
        offset = local.upperBound
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
    var pieces: [Piece] = []
    for rank in 0..<ranks {
      let path = "\(folder)/\(Self.fileName(rank: rank, ranks: ranks))"
      pieces += try Self.pieces(of: SafetensorsReader(path), layout: layout)
    }
    pieces.sort { $0.range.lowerBound < $1.range.lowerBound }
    for (left, right) in zip(pieces, pieces.dropFirst())
    where left.range.upperBound > right.range.lowerBound {
      throw CheckpointError(
        right.file.path, "moments of \(right.range) overlap \(left.range) of \(left.file.path)")
    }
    self.pieces = pieces
  }

  /// Reads the moments of `ranges` of the flat layout, whoever wrote them.
  ///
  /// - `first`, `second`: `[sum of counts]`, the ranges one after the other, overwritten.
  /// - Throws: `CheckpointError` when some elements are in no file, or the disk fails.
  public func read(
    ranges: [Range<Int>], first: View<Float>, second: View<Float>
  ) throws(CheckpointError) {
    try read("first_moment", ranges: ranges, into: first)
    try read("second_moment", ranges: ranges, into: second)
  }

  /// Reads the averaged parameters of `ranges` in the same way.
  public func readAverages(
    ranges: [Range<Int>], into averages: View<Float>
  ) throws(CheckpointError) {
    for piece in pieces
    where piece.file.tensor("average.\(piece.name)")?.shape != [piece.range.count] {
      throw CheckpointError(
        piece.file.path, "has no F32 tensor average.\(piece.name) [\(piece.range.count)]")
    }
    try read("average", ranges: ranges, into: averages)
  }

  private func read(
    _ part: String, ranges: [Range<Int>], into values: View<Float>
  ) throws(CheckpointError) {
    let total = ranges.reduce(0) { $0 + $1.count }
    precondition(values.count == total, "moments do not fit the ranges")
    var offset = 0
    for range in ranges {
      var start = range.lowerBound
      for piece in pieces where piece.range.overlaps(start..<range.upperBound) {
        // Pieces are sorted, so one that begins later leaves `start` uncovered.
        guard piece.range.contains(start) else { break }
        let here = start..<min(range.upperBound, piece.range.upperBound)
        let local = offset..<(offset + here.count)
        let elements =
          (here.lowerBound - piece.range.lowerBound)..<(here.upperBound - piece.range.lowerBound)
        try piece.file.read("\(part).\(piece.name)", elements: elements, into: values[local])
        start = here.upperBound
        offset = local.upperBound
      }
      guard start == range.upperBound else {
        throw CheckpointError(
          folder, "no optimizer file holds the moments from element \(start) on")
      }
    }
  }

  private static func pieces(
    of file: SafetensorsReader, layout: ParameterLayout
  ) throws(CheckpointError) -> [Piece] {
    let stored = file.metadata["layout_count"] ?? "an unknown number of"
    guard stored == "\(layout.count)" else {
      throw CheckpointError(
        file.path, "holds moments of \(stored) elements; the model's config has \(layout.count)")
    }
    var pieces: [Piece] = []
    for (key, value) in file.metadata where key.hasPrefix("range.") {
      let name = String(key.dropFirst("range.".count))
      let bounds = value.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
      guard bounds.count == 2, let start = bounds[0], let end = bounds[1], 0 <= start, start < end,
        end <= layout.count
      else { throw CheckpointError(file.path, "metadata \(key) is \"\(value)\", not START-END") }
      for moment in ["first_moment.\(name)", "second_moment.\(name)"] {
        guard let tensor = file.tensor(moment), tensor.type == .float32,
          tensor.shape == [end - start]
        else { throw CheckpointError(file.path, "has no F32 tensor \(moment) [\(end - start)]") }
      }
      pieces.append(Piece(range: start..<end, name: name, file: file))
    }
    return pieces
  }
}

/// A number with leading zeros, so that names sort like numbers.
func padded(_ number: Int, _ width: Int) -> String {
  let digits = String(number)
  return String(repeating: "0", count: max(0, width - digits.count)) + digits
}
