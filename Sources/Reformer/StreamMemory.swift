// What layers carry over from one window of a stream to the next (Dai et al. 2019, "Transformer-XL", section 3.2): the last
// inputs of their attention, as the reversible stack has them: the stream that the sub-layer reads, before its norm.
import Attention
import Compute

/// The memory of one stream: for each layer that has one, the rows that it sees of earlier windows.
///
/// D features per row. A pass reads what is there and writes what comes after its window beside it; `commit` puts that in
/// its place, so that a pass whose work is thrown away leaves the memory as it was. Not for several passes at once.
public final class StreamMemory {
  /// Puts rows of a window, as a layer's norm reads them, into `[rows, D]`.
  typealias Reader = (Range<Int>, Matrix) -> Void

  /// Rows of one layer.
  private struct Layer {
    let carried: CarriedRows
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
      let size = attention.carriedRows * config.width
      layers[index] = Layer(
        carried: attention.carried, present: Buffer(size), next: Buffer(size))
    }
    self.layers = layers
  }

  /// Layers that have a memory, ascending.
  public var layerNumbers: [Int] { layers.keys.sorted() }

  /// Numbers that `rows` of all layers may have.
  public var count: Int { layers.values.reduce(0) { $0 + $1.present.count } }

  /// The rows of a layer that are there, oldest first, those that stand for others before the others, `[n, D]`.
  public func rows(layer: Int) -> Matrix {
    guard let own = layers[layer] else { preconditionFailure("layer \(layer) has no memory") }
    return present(own, seen: seen)
  }

  /// Nothing is remembered: the next window begins a stream.
  public func forget() { seen = 0 }

  /// What the last pass has left is there for the next one.
  public func commit() {
    layers = layers.mapValues { Layer(carried: $0.carried, present: $0.next, next: $0.present) }
    seen = nextSeen
  }

  /// Makes room for the rows of `seen` positions, which `rows` then lends to be filled.
  public func restore(seen: Int) {
    precondition(seen >= 0, "\(seen) positions")
    self.seen = seen
  }

  /// What a pass over `window` sees of the stream.
  ///
  /// Throws where windows before it were cut in the middle of rows that are to become one.
  func part(of window: Window) throws(ReformerError) -> StreamPart {
    let before = window.isContinued ? seen : 0
    for own in layers.values where own.carried.compressed > 0 && before % own.carried.ratio != 0 {
      throw .window(
        "goes on after \(before) positions of its stream; with compressed rows that must be a multiple of "
          + "\(own.carried.ratio)")
    }
    nextSeen = before + window.length
    return StreamPart(memory: self, seen: before)
  }

  private func present(_ own: Layer, seen: Int) -> Matrix {
    let counts = own.carried.counts(seen: seen)
    return Self.matrix(own.present, counts.compressed + counts.recent, width)
  }

  fileprivate func before(_ layer: Int, seen: Int) -> Matrix? {
    guard seen > 0, let own = layers[layer] else { return nil }
    return present(own, seen: seen)
  }

  /// The rows of `before` and of a window that leave the last ones of a layer and are to be compressed, as groups
  /// `[n, ratio * D]` lent by `arena`; nil where there are none.
  fileprivate func leaving(
    _ layer: Int, seen: Int, length: Int, from arena: ScratchArena, read: Reader
  ) -> Matrix? {
    guard let carried = layers[layer]?.carried, carried.compressed > 0 else { return nil }
    let (old, recent) = carried.counts(seen: seen)
    let ratio = carried.ratio
    let whole = max(0, recent + length - carried.recent) / ratio
    // No more are made than there is room for.
    let count = min(whole, carried.compressed)
    guard count > 0 else { return nil }
    let groups = arena.matrix(count, ratio * width)
    let states = Matrix(groups.dense, rows: count * ratio, columns: width)
    let rows = (whole - count) * ratio..<whole * ratio
    let ofMemory = rows.clamped(to: 0..<recent)
    if !ofMemory.isEmpty, let before = before(layer, seen: seen) {
      states.rows(0..<ofMemory.count).copy(
        from: before.rows(old + ofMemory.lowerBound..<old + ofMemory.upperBound))
    }
    let ofWindow = max(rows.lowerBound, recent) - recent..<max(rows.upperBound, recent) - recent
    if !ofWindow.isEmpty {
      read(ofWindow, states.rows(ofMemory.count..<states.rows))
    }
    return groups
  }

  /// Writes what is there after a window: the last compressed rows, of those before and of the new ones, and the last
  /// rows of those before and of a whole window of `length`.
  fileprivate func keep(
    _ layer: Int, seen: Int, length: Int, compressed: Matrix?, read: Reader
  ) {
    guard let own = layers[layer] else { return }
    let (old, recent) = own.carried.counts(seen: seen)
    let counts = own.carried.counts(seen: seen + length)
    let next = Self.matrix(own.next, counts.compressed + counts.recent, width)
    let before = before(layer, seen: seen)
    var place = 0
    func append(_ rows: Matrix) {
      next.rows(place..<place + rows.rows).copy(from: rows)
      place += rows.rows
    }
    let new = compressed?.rows ?? 0
    if let before { append(before.rows(old + new - counts.compressed..<old)) }
    if let compressed { append(compressed) }
    let last = min(length, counts.recent)
    if let before {
      append(before.rows(old + recent + last - counts.recent..<old + recent))
    }
    read(length - last..<length, next.rows(place..<place + last))
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

  /// The rows that are to be compressed after this window of `length`: groups `[n, ratio * D]`.
  func leaving(
    layer: Int, length: Int, from arena: ScratchArena, read: StreamMemory.Reader
  ) -> Matrix? {
    memory.leaving(layer, seen: seen, length: length, from: arena, read: read)
  }

  /// Writes what a layer is to see of this window and of those before; `compressed`: what `leaving` has become.
  func keep(layer: Int, length: Int, compressed: Matrix?, read: StreamMemory.Reader) {
    memory.keep(layer, seen: seen, length: length, compressed: compressed, read: read)
  }
}
