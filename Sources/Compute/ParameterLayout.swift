// What parameters there are and where every one lies. Parameters, gradients and moments are flat buffers with this
// layout, so reduction, clipping, update and saving walk one list. Counts stand behind it in the parameters alone.

/// What a tensor is, which decides how an optimizer treats it.
public enum ParameterKind: Sendable, Hashable {
  /// Multiplies activations inside the model.
  case matrix
  /// Multiplies the last activations, into logits.
  case output
  /// Biases and gains.
  case vector
  /// Rows looked up by token.
  case embedding
  /// Rows looked up by position.
  case table
  /// Shares of a whole: optimizers keep them between 0 and 1.
  case share
  /// Counts of what the windows of a run hold: no gradient moves them.
  case counts
}

extension ParameterKind {
  /// Whether it multiplies activations.
  public var multiplies: Bool { self == .matrix || self == .output }
}

/// What a tensor holds before the first step.
public enum FirstValues: Sendable, Hashable {
  /// One number everywhere.
  case constant(Float)
  /// Normal numbers of this deviation around 0.
  case normal(deviation: Double)
  /// In sets of as many rows as `parts`, the mean of one part of what is read after the other.
  case averages(parts: Int)
  /// In each row, the mean of one feature of the `parts` that are read end to end.
  case pooling(parts: Int)
  /// Waves along the rows of a table, a whole number of turns each.
  case waves
  /// The values of the tensor called `queries`, turned so that head h meets the waves of a table h + 1 rows before:
  /// the table's rows have `features` features and stand last among the inputs.
  case turned(queries: String, headWidth: Int, features: Int, rows: Int)
}

/// All there is to say of one tensor but its place.
public struct ParameterSpecification: Sendable, Hashable {
  /// The tensor's name in the checkpoint, as in Hugging Face's state dict.
  public let name: String
  /// Row-major shape.
  public let shape: [Int]
  /// What it is.
  public let kind: ParameterKind
  /// What it holds before the first step.
  public let first: FirstValues

  /// All parts at once.
  public init(_ name: String, _ shape: [Int], _ kind: ParameterKind, _ first: FirstValues) {
    self.name = name
    self.shape = shape
    self.kind = kind
    self.first = first
  }

  /// Whether weight decay applies.
  ///
  /// Biases and gains are left alone, and so are looked-up rows: those that a batch does not show would shrink
  /// without a gradient to hold them.
  public var decays: Bool { kind.multiplies }
}

/// One tensor inside a flat parameter buffer.
public struct Slot: Sendable, Hashable {
  /// What it is.
  public let specification: ParameterSpecification
  /// First element in the flat buffer.
  public let offset: Int

  /// The tensor's name in the checkpoint.
  public var name: String { specification.name }
  /// Row-major shape.
  public var shape: [Int] { specification.shape }
  /// Number of elements.
  public var count: Int { shape.reduce(1, *) }
  /// The elements' places in the flat buffer.
  public var range: Range<Int> { offset..<(offset + count) }
  /// Where the next tensor may begin: rows start on a cache line.
  fileprivate var paddedEnd: Int { (offset + count + 15) / 16 * 16 }
}

/// Parameters whose gradients become final together: those of a sub-layer, the embeddings or the head.
public struct ParameterGroup: Sendable, Hashable {
  /// For people and metadata: `embeddings`, `layers.3.attention`, `head`.
  public let name: String
  /// Whole segments of the flat buffer; padding after the last slot is always zero.
  public internal(set) var range: Range<Int>
  /// The tensors in order.
  public internal(set) var slots: [Slot]
}

/// The places of all parameters in one flat buffer, given out in the order in which a model's parts ask for them.
public struct ParameterLayout: Sendable, Hashable {
  /// Groups start at multiples of this many elements.
  ///
  /// Shards and partial sums of the gradient norm are cut at segments, so neither depends on the
  /// number of ranks.
  public static let segment = 1024

  /// In buffer order.
  public private(set) var groups: [ParameterGroup] = []
  /// Elements of a flat buffer of gradients, padding included: those of the groups.
  public private(set) var count = 0
  /// Behind the groups, in a buffer of parameters only: tensors that are `counts`.
  public private(set) var tables: [Slot] = []
  private var slotsByName: [String: Slot] = [:]

  /// A layout without parameters.
  public init() {}

  /// Lays out `groups`, each a name and its tensors' names and shapes, all zeros at first.
  public init(groups: [(name: String, tensors: [(name: String, shape: [Int])])]) {
    for group in groups {
      _ = addGroup(group.name)
      for (name, shape) in group.tensors {
        _ = add(name, shape, shape.count < 2 ? .vector : .matrix, .constant(0))
      }
    }
  }

  /// Begins a group behind the last one; returns its index.
  public mutating func addGroup(_ name: String) -> Int {
    groups.append(ParameterGroup(name: name, range: count..<count, slots: []))
    return groups.count - 1
  }

  /// Adds a tensor to the last group; traps where its name is taken, and behind tables.
  public mutating func add(_ tensor: ParameterSpecification) -> Slot {
    precondition(tables.isEmpty, "\(tensor.name) behind the tables")
    let last = groups.count - 1
    let start = groups[last].range.lowerBound
    let slot = place(tensor, at: groups[last].slots.last?.paddedEnd ?? start)
    count = (slot.paddedEnd + Self.segment - 1) / Self.segment * Self.segment
    groups[last].slots.append(slot)
    groups[last].range = start..<count
    return slot
  }

  /// Adds a tensor of these properties.
  public mutating func add(
    _ name: String, _ shape: [Int], _ kind: ParameterKind, _ first: FirstValues
  ) -> Slot {
    add(ParameterSpecification(name, shape, kind, first))
  }

  /// Adds a table behind everything else; traps where its name is taken.
  public mutating func add(table: ParameterSpecification) -> Slot {
    tables.append(place(table, at: parameterBufferCount))
    return tables[tables.count - 1]
  }

  private mutating func place(_ tensor: ParameterSpecification, at offset: Int) -> Slot {
    let slot = Slot(specification: tensor, offset: offset)
    precondition(slotsByName.updateValue(slot, forKey: tensor.name) == nil, "two \(tensor.name)")
    return slot
  }

  /// Elements of a flat buffer of parameters: those that have a place in one of gradients, and the tables.
  public var parameterBufferCount: Int { tables.last?.paddedEnd ?? count }

  /// All tensors in buffer order.
  public var slots: [Slot] { groups.flatMap(\.slots) + tables }

  /// Number of trainable numbers, padding and counts excluded.
  public var parameterCount: Int {
    groups.reduce(0) { $0 + $1.slots.reduce(0) { $0 + $1.count } }
  }

  /// The tensor called `name`; traps when there is none.
  public subscript(name: String) -> Slot {
    guard let slot = slotsByName[name] else { preconditionFailure("no parameter \(name)") }
    return slot
  }
}
