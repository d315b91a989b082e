// Targets of sources, written byte by byte by a model with an encoder.
import Compute
import Corpus
import Reformer

/// Writes targets, those of several sources side by side; a source has the same target alone or among others.
public final class Translator {
  private let config: RunConfig
  private let search: TargetSearch
  private let pass: IncrementalPass
  /// Sources that are read side by side.
  private let most: Int

  /// A translator by the model of `config`, whose `parameters` must stay as they are; up to `most` sources are read side by
  /// side.
  ///
  /// - Throws: `UserError` for a model without an encoder, or with a decoder that has nothing to go on from.
  public init(
    config: RunConfig, parameters: View<Float>, search: TargetSearch, most: Int, engine: Engine
  ) throws {
    try search.check()
    guard config.model.kind == .encoderDecoder else {
      throw UserError(
        "model.kind is \"\(config.model.kind.rawValue)\": only a model with an encoder reads sources; generate continues "
          + "text")
    }
    pass = try IncrementalPass(
      config: config.reformer, parameters: parameters, sequences: most * search.beam,
      engine: engine)
    guard pass.isStrict else {
      throw UserError(
        "the decoder is not strictly causal, so that no target could go on from what it has; train with "
          + "attention.lsh.sight = \"bucket\"")
    }
    self.config = config
    self.search = search
    self.most = most
  }

  /// The target of each line of a text, in order, of less than `data.length` bytes.
  ///
  /// A target has no end of line in it, and that of an empty line is empty. `write` is called as targets are done, in the
  /// order of the lines.
  /// - Throws: `UserError` for a line that is longer than the sources that the model reads, before any is translated.
  public func translate(_ lines: [[UInt8]], write: ([UInt8]) throws -> Void) throws {
    let limit = config.data.sourceLength
    if let wrong = lines.firstIndex(where: { $0.count >= limit }) {
      throw UserError(
        "line \(wrong + 1) has \(lines[wrong].count) bytes; the model reads sources of at most \(limit - 1) "
          + "(data.source_length, less one for the end)")
    }
    for first in stride(from: 0, to: lines.count, by: most) {
      let own = Array(lines[first..<min(first + most, lines.count)])
      let places = own.indices.filter { !own[$0].isEmpty }
      var targets = [[UInt8]](repeating: [], count: own.count)
      if !places.isEmpty {
        let found = try self.targets(of: places.map { own[$0] })
        for (place, target) in zip(places, found) { targets[place] = target }
      }
      for target in targets { try write(target) }
    }
  }

  /// The targets of sources that are read side by side.
  private func targets(of sources: [[UInt8]]) throws(ReformerError) -> [[UInt8]] {
    let offset = config.model.byteOffset
    pass.begin(sources.map { _ in .unseen(config, window: 0) })
    var logits = try pass.read(
      sources: sources.map { $0.map { Int32($0) + Int32(offset) } + [Int32(offset - 1)] },
      begin: Int32(offset - 2))
    var searches = sources.map { _ in BeamSearch(search, limit: config.data.length) }
    while true {
      // Which of the sequences go on, those of the first source first.
      var (going, first) = ([Int](), 0)
      for index in searches.indices where searches[index].openCount > 0 {
        let count = searches[index].openCount
        let parents = searches[index].step(
          (first..<first + count).map { logits.row($0) }, offset: offset)
        going += parents.map { first + $0 }
        first += count
      }
      guard !going.isEmpty else { return searches.map(\.target) }
      try pass.keep(going)
      logits = try pass.step(searches.flatMap(\.lastBytes).map { Int32($0) + Int32(offset) })
    }
  }
}
