// Where every parameter lies. Parameters, gradients and moments are flat buffers with this layout,
// so reduction, clipping, update and saving walk one list.

/// One named tensor inside a flat parameter buffer.
public struct Slot: Sendable, Hashable {
  /// The tensor's name in the checkpoint, as in Hugging Face's state dict.
  public let name: String
  /// Row-major shape.
  public let shape: [Int]
  /// First element in the flat buffer.
  public let offset: Int

  /// Number of elements.
  public var count: Int { shape.reduce(1, *) }
  /// The elements' places in the flat buffer.
  public var range: Range<Int> { offset..<(offset + count) }
}

/// Parameters whose gradients become final together: one block, the embedding or the head.
public struct ParameterGroup: Sendable, Hashable {
  /// For people and metadata: `embeddings`, `layers.3`, `head`.
  public let name: String
  /// Whole segments of the flat buffer; padding after the last slot is always zero.
  public let range: Range<Int>
  /// The tensors in order.
  public let slots: [Slot]
}

/// The places of all parameters in one flat buffer.
public struct ParameterLayout: Sendable, Hashable {
  /// Groups start at multiples of this many elements.
  ///
  /// Shards and partial sums of the gradient norm are cut at segments, so neither depends on the
  /// number of ranks.
  public static let segment = 1024

  /// In buffer order.
  public let groups: [ParameterGroup]
  /// Elements of the flat buffer, padding included.
  public let count: Int
  private let slotsByName: [String: Slot]

  /// Lays out `groups`, each a name and its tensors' names and shapes.
  public init(groups sizes: [(name: String, tensors: [(name: String, shape: [Int])])]) {
    var groups: [ParameterGroup] = []
    var byName: [String: Slot] = [:]
    var offset = 0
    for size in sizes {
      let start = offset
      var slots: [Slot] = []
      for tensor in size.tensors {
        let slot = Slot(name: tensor.name, shape: tensor.shape, offset: offset)
        precondition(byName.updateValue(slot, forKey: tensor.name) == nil, "two \(tensor.name)")
        slots.append(slot)
        // Rows of every tensor start on a cache line.
        offset += (slot.count + 15) / 16 * 16
      }
      offset = (offset + Self.segment - 1) / Self.segment * Self.segment
      groups.append(ParameterGroup(name: size.name, range: start..<offset, slots: slots))
    }
    self.groups = groups
    count = offset
    slotsByName = byName
  }

  /// All tensors in buffer order.
  public var slots: [Slot] { groups.flatMap(\.slots) }

  /// Number of trainable numbers, padding excluded.
  public var parameterCount: Int { slots.reduce(0) { $0 + $1.count } }

  /// The tensor called `name`; traps when there is none.
  public subscript(name: String) -> Slot {
    guard let slot = slotsByName[name] else { preconditionFailure("no parameter \(name)") }
    return slot
  }
}
