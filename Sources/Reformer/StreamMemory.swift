// What layers carry over from one window of a stream to the next (Dai et al. 2019, "Transformer-XL", section 3.2): the last
// inputs of their attention, as the reversible stack has them: the stream that the sub-layer reads, before its norm.
import Attention
import Compute

/// The memory of one stream: for each layer that has one, the rows that it sees of earlier windows.
///
/// D features per row. A pass reads what is there and writes what comes after its window beside it; `commit` puts that in
/// its place, so that a pass whose work is thrown away leaves the memory as it was. Not for several passes at once.
public final class StreamMemory {
  /// Rows of one layer.
  private struct Layer {
    let most: Int
    let present, next: Buffer<Float>
  }

  /// Positions of the stream before the next window; the last of them are remembered.
  public private(set) var seen = 0
  private var nextSeen = 0
  private var layers: [Int: Layer]
  private let width: Int

  /// An empty memory of a model of `config`.
  public init(_ config: ReformerConfig) {
    width = config.width
    var layers: [Int: Layer] = [:]
    for (index, attention) in config.layers.enumerated() where attention.carriedRows > 0 {
      let most = attention.carriedRows
      layers[index] = Layer(
        most: most, present: Buffer(most * config.width), next: Buffer(most * config.width))
    }
    self.layers = layers
  }

  /// Layers that have a memory, ascending.
  public var layerNumbers: [Int] { layers.keys.sorted() }

  /// Numbers that `rows` of all layers may have.
  public var count: Int { layers.values.reduce(0) { $0 + $1.present.count } }

  /// The rows of a layer that are there, oldest first, `[n, D]`.
  public func rows(layer: Int) -> Matrix {
    guard let own = layers[layer] else { preconditionFailure("layer \(layer) has no memory") }
    return Self.matrix(own.present, min(seen, own.most), width)
  }

  /// Nothing is remembered: the next window begins a stream.
  public func forget() { seen = 0 }

  /// What the last pass has left is there for the next one.
  public func commit() {
    layers = layers.mapValues { Layer(most: $0.most, present: $0.next, next: $0.present) }
    seen = nextSeen
  }

  /// Makes room for the rows of `seen` positions, which `rows` then lends to be filled.
  public func restore(seen: Int) {
    precondition(seen >= 0, "\(seen) positions")
    self.seen = seen
  }

  /// What a pass over `window` sees of the stream.
  func part(of window: Window) -> StreamPart {
    let before = window.isContinued ? seen : 0
    nextSeen = before + window.length
    return StreamPart(memory: self, seen: before)
  }

  fileprivate func before(_ layer: Int, seen: Int) -> Matrix? {
    guard seen > 0, let own = layers[layer] else { return nil }
    return Self.matrix(own.present, min(seen, own.most), width)
  }

  /// Writes the last rows of `before` and of `source`, a whole window of `length`.
  fileprivate func keep(_ layer: Int, before: Matrix?, source: ResidualStream, length: Int) {
    guard let own = layers[layer] else { return }
    let old = min(before?.rows ?? 0, max(0, own.most - length))
    let new = min(length, own.most)
    let next = Self.matrix(own.next, old + new, width)
    if let before { next.rows(0..<old).copy(from: before.rows(before.rows - old..<before.rows)) }
    source.read(length - new..<length, into: next.rows(old..<old + new))
  }

  private static func matrix(_ buffer: Buffer<Float>, _ rows: Int, _ width: Int) -> Matrix {
    Matrix(buffer.view[0..<rows * width], rows: rows, columns: width)
  }
}

extension ReformerConfig {
  /// Most rows that a layer carries over.
  public var carriedRows: Int { layers.map(\.carriedRows).max() ?? 0 }

  /// Bytes of what layers carry over of one stream, once.
  public var streamMemoryBytes: Int {
    layers.reduce(0) { $0 + $1.carriedRows * width * MemoryLayout<Float>.size }
  }
}

/// A pass's place in a stream: what it has of the windows before, and where it leaves what the next one is to have.
struct StreamPart {
  fileprivate let memory: StreamMemory
  fileprivate let seen: Int

  /// The rows that a layer sees of earlier windows, `[n, D]`; nil where there are none.
  func before(layer: Int) -> Matrix? { memory.before(layer, seen: seen) }

  /// Writes what a layer is to see of this window, whose rows `source` has, and of those before.
  func keep(layer: Int, source: ResidualStream, length: Int) {
    memory.keep(layer, before: before(layer: layer), source: source, length: length)
  }
}
