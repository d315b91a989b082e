// What `reformer-train evaluate` prints of one number of hash rounds.
import Corpus
import Foundation
import Training

/// The score of a checkpoint, and how it was come by.
struct EvaluationReport: Codable {
  /// How the bytes are cut into windows.
  enum WindowProtocol: String, Codable, CaseIterable {
    /// Side by side, nothing carried over.
    case blocks
    /// Each sees bytes of the one before.
    case sliding
    /// Side by side, with what layers carry over.
    case streams
    /// Each target by itself, with its source.
    case pairs
  }

  let step: Int
  /// The file scored instead of the corpus of the run.
  let corpus: String?
  /// Nil for all bytes of `corpus`.
  let split: CorpusSplit?
  let `protocol`: WindowProtocol
  let context: Int
  let stride: Int
  /// Most parts of the text that are read side by side, each from nothing on, with protocol `streams`.
  let streams: Int?
  let hashes: Int?
  let without: [String]
  /// Whether it is the score of the averaged parameters.
  let averaged: Bool
  let bitsPerByte: Double
  /// Sample standard deviation over several seeds of hash rotations.
  let bitsPerByteDeviation: Double?
  let bitsPerByteBySeed: [Double]
  let bytes: Int
  /// Share of them that are found likeliest; nil but with data.task = "duplication".
  let accuracy: Double?
  let accuracyBySeed: [Double]?
  let bitsPerCharacter: Double?
  let characters: Int?
  let corpora: [CorpusScore]?
  let positions: [PositionScore]
  /// Of the targets that were written.
  let targets: TargetScore?

  /// `results`: by hash seed, at least one.
  init(
    step: Int, corpus: String?, split: CorpusSplit?, context: Int, stride: Int,
    isPairs: Bool, streams: Int?, averaged: Bool, without: [String],
    hashes: Int?, results: [EvaluationResult], targets: TargetScore?
  ) {
    let mean = EvaluationResult.mean(of: results)
    self.step = step
    self.corpus = corpus
    self.split = split
    self.protocol =
      isPairs ? .pairs : streams != nil ? .streams : stride == context ? .blocks : .sliding
    self.streams = streams
    self.context = context
    self.stride = stride
    self.hashes = hashes
    self.without = without
    self.averaged = averaged
    bitsPerByte = mean.bitsPerByte
    bitsPerByteBySeed = results.map(\.bitsPerByte)
    let squares = results.map {
      ($0.bitsPerByte - mean.bitsPerByte) * ($0.bitsPerByte - mean.bitsPerByte)
    }
    bitsPerByteDeviation =
      results.count > 1 ? (squares.reduce(0, +) / Double(results.count - 1)).squareRoot() : nil
    bytes = mean.bytes
    accuracy = mean.accuracy
    accuracyBySeed = mean.accuracy.map { _ in results.compactMap(\.accuracy) }
    bitsPerCharacter = mean.bitsPerCharacter
    characters = mean.characters
    corpora = mean.corpora
    positions = mean.positions
    self.targets = targets
  }

  /// A line for each corpus of a mix and one for all, and a table of `positions` where asked for.
  func text(positions showsPositions: Bool) -> String {
    var place = "step \(step)  \(split?.rawValue ?? corpus ?? "")  "
    if split != nil, let corpus { place += "\(corpus)  " }
    if averaged { place += "averaged weights  " }
    if !without.isEmpty { place += "without \(without.joined(separator: ", "))  " }
    var lines = (corpora ?? []).map {
      place + "\($0.name)  "
        + String(format: "%.4f bits/byte over %d bytes", $0.bitsPerByte, $0.bytes)
    }
    var figure = String(format: "%.4f bits/byte", bitsPerByte)
    if let deviation = bitsPerByteDeviation {
      figure += String(
        format: " (deviation %.4f over %d hash seeds)", deviation, bitsPerByteBySeed.count)
    }
    if let accuracy { figure += String(format: ", accuracy %.2f %%", 100 * accuracy) }
    // Of plain ASCII both are the same.
    if let bitsPerCharacter, characters != bytes {
      figure += String(format: ", %.4f bits/character", bitsPerCharacter)
    }
    lines.append("\(place)\(figure) over \(bytes) bytes  (\(conditions))")
    if let targets {
      let search =
        targets.beam > 1
        ? "beam of \(targets.beam), length penalty \(targets.lengthPenalty)" : "likeliest bytes"
      lines.append(
        place
          + String(
            format: "BLEU %.2f (%@), chrF2 %.2f (%@) over %d targets  (%@)", targets.bleu,
            targets.bleuSignature, targets.chrF2, targets.chrF2Signature, targets.targets, search))
    }
    if showsPositions {
      lines.append("bytes seen in the window     bits/byte       bytes")
      lines += self.positions.map { part in
        let seen =
          part.seenFrom == part.seenTo ? "\(part.seenFrom)" : "\(part.seenFrom) to \(part.seenTo)"
        return seen.padding(toLength: 24, withPad: " ", startingAt: 0)
          + String(format: "%14.4f%12d", part.bitsPerByte, part.bytes)
      }
    }
    return lines.joined(separator: "\n")
  }

  private var conditions: String {
    let windows =
      switch self.protocol {
      case .blocks: "blocks of \(context), nothing carried over"
      case .streams: "windows of \(context) in \(streams ?? 1) streams, memory carried over"
      case .pairs: "targets of pairs, their ends counted"
      case .sliding: "sliding windows of \(context), \(stride) scored in each"
      }
    return windows + (hashes.map { ", \($0) hash round\($0 == 1 ? "" : "s")" } ?? "")
  }
}
