// What an evaluation comes to: the figures of a split, and how they add up from its windows.
import Attention
import Corpus
import Foundation

/// A score on a split.
public struct EvaluationResult: Sendable, Equatable {
  /// Mean loss in bits per scored byte.
  public let bitsPerByte: Double
  /// Bytes scored.
  public let bytes: Int
  /// Share of them that the model finds likeliest; nil but with `data.task = "duplication"`.
  public let accuracy: Double?
  /// The same loss in bits per character that begins in them; nil where they are not UTF-8.
  public let bitsPerCharacter: Double?
  /// Characters (Unicode code points) that begin in the bytes scored; nil where they are not UTF-8.
  public let characters: Int?
  /// The corpora of a mix, in order; nil for a single one.
  public let corpora: [CorpusScore]?
  /// By the bytes seen before, fewest first.
  public let positions: [PositionScore]
  /// Of each layer that hashed, in order.
  public let hashing: [HashScore]
}

/// The score of one corpus of a mix.
public struct CorpusScore: Codable, Sendable, Equatable {
  /// Its name in `data.mix`.
  public let name: String
  /// Mean loss in bits per scored byte.
  public let bitsPerByte: Double
  /// Bytes scored.
  public let bytes: Int
}

/// The score of the bytes that are predicted from so many of their window.
public struct PositionScore: Codable, Sendable, Equatable {
  /// The fewest bytes of the window that one of them is predicted from, a power of two.
  public let seenFrom: Int
  /// The most.
  public let seenTo: Int
  /// Mean loss in bits per scored byte.
  public let bitsPerByte: Double
  /// Bytes scored.
  public let bytes: Int
}

/// How well the hashes of a layer do what they are for.
public struct HashScore: Codable, Sendable, Equatable {
  /// Index of the layer, from 0.
  public let layer: Int
  /// 1 where all buckets of a list are of a size, 1 / buckets where one has everything: the squared length of lists by the
  /// squared sizes of their buckets times the number of these.
  public let bucketBalance: Double
  /// Of the keys that queries see in the lists, themselves left out, the share that hash as the query does.
  public let sameBucketShare: Double
  /// The share of queries that see nothing but themselves.
  public let aloneShare: Double

  /// The shares that `counts` come to, of at least one query.
  init(layer: Int, _ counts: HashCounts) {
    self.layer = layer
    bucketBalance = Double(counts.squaredLengths) / Double(counts.squaredBuckets)
    sameBucketShare = Double(counts.keysOfBucket) / Double(max(1, counts.keys))
    aloneShare = Double(counts.queriesAlone) / Double(counts.queries)
  }
}

extension EvaluationResult {
  /// The mean of several scores of the same bytes, with what hashes came to in the first.
  public static func mean(of all: [EvaluationResult]) -> EvaluationResult {
    func mean(_ value: (EvaluationResult) -> Double) -> Double {
      all.reduce(0) { $0 + value($1) } / Double(all.count)
    }
    let first = all[0]
    return EvaluationResult(
      bitsPerByte: mean(\.bitsPerByte), bytes: first.bytes,
      accuracy: first.accuracy.map { _ in mean { $0.accuracy ?? 0 } },
      bitsPerCharacter: first.bitsPerCharacter.map { _ in mean { $0.bitsPerCharacter ?? 0 } },
      characters: first.characters,
      corpora: first.corpora?.enumerated().map { index, part in
        CorpusScore(
          name: part.name, bitsPerByte: mean { $0.corpora?[index].bitsPerByte ?? 0 },
          bytes: part.bytes)
      },
      positions: first.positions.enumerated().map { index, part in
        PositionScore(
          seenFrom: part.seenFrom, seenTo: part.seenTo,
          bitsPerByte: mean { $0.positions[index].bitsPerByte }, bytes: part.bytes)
      }, hashing: first.hashing)
  }
}

/// The loss of one window.
struct WindowLoss {
  /// Of all its scored bytes, in nats.
  let nats: Double
  /// Of those predicted from one byte, from 2 to 3, from 4 to 7, and so on; and how many these are.
  private(set) var bySight: [(nats: Double, bytes: Int)]
  /// Scored bytes that were found likeliest; nil where nobody asked.
  let hits: Int?
  /// Characters that begin in the scored bytes; nil where they are not UTF-8.
  let characters: Int?

  /// The losses `[L]` of a window of L + 1 `bytes`, of which those at places that `isScored` were predicted.
  init(
    nats: Double, losses: [Float], bytes: [UInt8], hits: Int?, isScored: (_ place: Int) -> Bool
  ) {
    self.nats = nats
    self.hits = hits
    bySight = []
    let scored = bytes.indices.dropFirst().filter(isScored)
    characters = utf8Characters(scored.map { bytes[$0] }[...])
    for place in scored {
      let sight = Self.sight(place - 1)
      while bySight.count <= sight { bySight.append((0, 0)) }
      bySight[sight].nats += Double(losses[place - 1])
      bySight[sight].bytes += 1
    }
  }

  /// What it is sent to other ranks as.
  var numbers: [Double] {
    [nats, Double(characters ?? -1), Double(hits ?? -1), Double(bySight.count)]
      + bySight.flatMap { [$0.nats, Double($0.bytes)] }
  }

  /// The losses that numbers sent by `numbers`, one after the other, stand for.
  static func all(_ numbers: [Double]) -> [WindowLoss] {
    var (losses, rest) = ([WindowLoss](), numbers[...])
    while rest.count >= 4 {
      let head = Array(rest.prefix(4))
      let sums = Array(rest.dropFirst(4).prefix(2 * Int(head[3])))
      losses.append(WindowLoss(head, sums))
      rest = rest.dropFirst(4 + sums.count)
    }
    return losses
  }

  private init(_ head: [Double], _ sums: [Double]) {
    nats = head[0]
    characters = head[1] < 0 ? nil : Int(head[1])
    hits = head[2] < 0 ? nil : Int(head[2])
    bySight = stride(from: 0, to: sums.count, by: 2).map { (sums[$0], Int(sums[$0 + 1])) }
  }

  /// The place in `bySight` of the byte predicted at `position`, from 0, which sees one byte more than that.
  static func sight(_ position: Int) -> Int {
    Int.bitWidth - 1 - (position + 1).leadingZeroBitCount
  }
}

/// Sums over windows, in the order they are added in.
struct EvaluationTally {
  private(set) var nats = 0.0
  private(set) var bytes = 0
  private var characters: Int? = 0
  private var hits: Int? = 0
  private var sights: [(nats: Double, bytes: Int)] = []

  /// Adds a window.
  mutating func add(_ loss: WindowLoss) {
    add(
      nats: loss.nats, bytes: loss.bySight.reduce(0) { $0 + $1.bytes },
      characters: loss.characters, hits: loss.hits, sights: loss.bySight)
  }

  /// Adds what another tally has.
  mutating func add(_ other: EvaluationTally) {
    add(
      nats: other.nats, bytes: other.bytes, characters: other.characters, hits: other.hits,
      sights: other.sights)
  }

  private mutating func add(
    nats: Double, bytes: Int, characters: Int?, hits: Int?,
    sights others: [(nats: Double, bytes: Int)]
  ) {
    self.nats += nats
    self.bytes += bytes
    self.characters = self.characters.flatMap { sum in characters.map { sum + $0 } }
    self.hits = self.hits.flatMap { sum in hits.map { sum + $0 } }
    for (place, sight) in others.enumerated() {
      if sights.count <= place { sights.append((0, 0)) }
      sights[place].nats += sight.nats
      sights[place].bytes += sight.bytes
    }
  }

  private func bits(_ nats: Double, per count: Int) -> Double { nats / Double(count) / log(2) }

  /// As the score of one corpus of a mix.
  func score(name: String) -> CorpusScore {
    CorpusScore(name: name, bitsPerByte: bits(nats, per: bytes), bytes: bytes)
  }

  /// As a whole score, in windows of `context` bytes.
  func result(
    context: Int, corpora: [CorpusScore]?, hashing: [HashScore]
  ) -> EvaluationResult {
    EvaluationResult(
      bitsPerByte: bits(nats, per: bytes), bytes: bytes,
      accuracy: hits.map { Double($0) / Double(bytes) },
      bitsPerCharacter: characters.flatMap { $0 > 0 ? bits(nats, per: $0) : nil },
      characters: characters, corpora: corpora,
      positions: sights.enumerated().compactMap { place, sight in
        guard sight.bytes > 0 else { return nil }
        return PositionScore(
          seenFrom: 1 << place, seenTo: min(context, (2 << place) - 1),
          bitsPerByte: bits(sight.nats, per: sight.bytes), bytes: sight.bytes)
      }, hashing: hashing)
  }
}

/// Characters that begin in `bytes`, a part of a text; nil where they are not UTF-8.
///
/// A character that either end of the part cuts is taken for whole: what is missing is in another part.
package func utf8Characters(_ bytes: ArraySlice<UInt8>) -> Int? {
  let isContinued = { (byte: UInt8) in byte & 0xC0 == 0x80 }
  // The end of a character that began before: three bytes at most.
  var whole = bytes.dropFirst(bytes.prefix(3).prefix(while: isContinued).count)
  let count = whole.count { !isContinued($0) }
  if let last = whole.suffix(3).lastIndex(where: { !isContinued($0) }) {
    let length = whole[last] >= 0xF0 ? 4 : whole[last] >= 0xE0 ? 3 : whole[last] >= 0xC0 ? 2 : 1
    if last + length > whole.endIndex { whole = whole[..<last] }
  }
  return String(validating: whole, as: UTF8.self) == nil ? nil : count
}
