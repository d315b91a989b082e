// One pass over one window: what all sub-layers share while it lasts.
import Attention
import Compute

/// Whoever follows a pass: other ranks' parameters and gradients, and people who wait.
public protocol PassObserver {
  /// The pass is about to read the parameters of a group, first to last.
  func needs(group: Int)
  /// The gradient of a group is final, last to first.
  func ready(group: Int)
  /// Asked before each sub-layer; where it says yes, the pass is given up.
  var shouldStop: Bool { get }
  /// The share of the pass that is done.
  func progress(_ share: Double)
}

extension PassObserver {
  /// Nothing to do.
  public func needs(group: Int) {}
  /// Nothing to do.
  public func ready(group: Int) {}
  /// Never.
  public var shouldStop: Bool { false }
  /// Nothing to do.
  public func progress(_ share: Double) {}
}

/// Nobody.
public struct Unobserved: PassObserver {
  /// Follows nothing.
  public init() {}
}

/// Parameters, randomness and machinery of a pass.
///
/// L positions.
struct Pass {
  let parameters: View<Float>
  /// Positions of the window.
  var length: Int
  /// Those that this pass computes: all, or some whose states of the others are at hand.
  var rows: Range<Int>
  let address: RandomAddress
  /// Dropout is on.
  let isTraining: Bool
  /// Rotations to use instead of drawn ones, by layer.
  let givenRotations: [Int: [Float]]
  /// Angles of the positions, where they are rotary.
  let rotary: RotaryPositions?
  /// What queries and keys have of their positions, where these are infused.
  let infused: InfusedPositions?
  let engine: Engine
  /// Where activations stay for the way back, or nil to compute them again.
  let kept: KeptActivations?
  /// What follows from the parameters alone, where they stay the same from pass to pass.
  var prepared: PreparedParameters?
  /// Where what hashes come to is counted, if it is.
  var hashTally: HashTally?
  /// Sequences that go on, or are to go on, after this pass.
  var continuation: Continuation?
  /// The stream that the window is part of, if it is one.
  var stream: StreamPart?
  /// What the encoder has made of the window's source, if there is one.
  var source: EncodedSource.Part?

  /// Memory for what a sub-layer computes on its way forward and needs on its way back.
  ///
  /// Kept memory gives the same places, contents and all, when asked in the same order on the way back.
  func memory(group: Int, part: Int = 0) -> ScratchArena {
    kept?.arena(group: group, part: part) ?? engine.scratch
  }

  /// The position in its sequence of a row that this pass computes.
  func position(_ row: Int) -> Int {
    if case .step(_, let position) = continuation { position } else { row }
  }

  func drops(_ rate: Double) -> Bool { isTraining && rate > 0 }

  /// Dropout on rows of the sequence; an element's number is its place in `[L, columns]`, so any
  /// cut into tiles drops the same elements.
  func dropRows(
    _ x: Matrix, _ rows: Range<Int>, rate: Double, _ purpose: RandomPurpose, layer: Int = 0
  ) {
    guard drops(rate) else { return }
    address.stream(purpose, layer: layer)
      .dropout(x.dense, rate: rate, first: rows.lowerBound * x.columns)
  }

  /// The same on strips: the same elements are dropped.
  func dropRows(
    _ x: Packed<Float>, _ rows: Range<Int>, rate: Double, _ purpose: RandomPurpose, layer: Int = 0
  ) {
    guard drops(rate) else { return }
    let stream = address.stream(purpose, layer: layer)
    for (columns, strip) in x.strips {
      for (index, row) in rows.enumerated() {
        stream.dropout(
          strip.row(index), rate: rate, first: row * x.columns + columns.lowerBound)
      }
    }
  }
}

/// Activations that `keep_activations` stores instead of computing them again: the oracle for exact
/// reversibility, at the memory cost of an ordinary network.
final class KeptActivations: Sendable {
  private let arenas: [Int: [ScratchArena]]
  private let sources: [Int: Buffer<Int32>]

  /// Memory for windows of up to `length` positions of `width` features; `parts`: by group, in how many parts a
  /// sub-layer keeps.
  init(parts: [(group: Int, count: Int)], length: Int, width: Int) {
    arenas = Dictionary(
      uniqueKeysWithValues: parts.map {
        ($0.group, (0..<$0.count).map { _ in ScratchArena(keepsContents: true) })
      })
    sources = arenas.mapValues { _ in Buffer(length * width) }
  }

  fileprivate func arena(group: Int, part: Int) -> ScratchArena? { arenas[group]?[part] }

  /// The source stream as a sub-layer found it.
  func source(group: Int, _ stream: ResidualStream) -> ResidualStream {
    guard let buffer = sources[group] else { return stream }
    return ResidualStream(
      values: buffer.view[0..<stream.values.count], first: stream.first, width: stream.width,
      fractionBits: stream.fractionBits)
  }
}
