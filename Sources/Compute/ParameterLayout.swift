// What parameters there are and where every one lies. Parameters, gradients and moments are flat buffers with this
// layout, so reduction, clipping, update and saving walk one list. Sparse tables stand behind it in the parameters alone.

/// What a tensor is, which decides how an optimizer treats it.
public enum ParameterKind: Sendable, Hashable {
  /// Multiplies activations.
  case matrix
  /// Biases and gains.
  case vector
  /// Rows looked up by token.
  case embedding
  /// Rows looked up by position.
  case table
  /// Rows looked up by a hash, few at a time: their gradients are lists of rows, not places in a flat buffer.
  case sparse
}

/// What a tensor holds before the first step.
public enum FirstValues: Sendable, Hashable {
  /// One number everywhere.
  case constant(Float)
  /// Normal numbers of this deviation around 0.
  case normal(deviation: Double)
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
  public var decays: Bool { kind == .matrix }
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
}

/// Parameters whose gradients become final together: those of a sub-layer, the embeddings or the head.
public struct ParameterGroup: Sendable, Hashable {
  /// For people and metadata: `embeddings`, `layers.3.attention`, `head`.
  public let name: String
  /// Whole segments of the flat buffer; padding after the last slot is always zero.
  public let range: Range<Int>
  /// The tensors in order.
  public let slots: [Slot]
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
  /// Behind the groups, in a buffer of parameters only: tensors whose rows are `sparse`.
  public private(set) var tables: [Slot] = []
  private var slotsByName: [String: Slot] = [:]

  /// A layout without parameters.
  public init() {}

  /// Lays out `groups`, each a name and its tensors' names and shapes, all zeros at first.
  public init(groups: [(name: String, tensors: [(name: String, shape: [Int])])]) {
    for group in groups {
      _ = add(
        group.name,
        group.tensors.map {
          ParameterSpecification(
            $0.name, $0.shape, $0.shape.count < 2 ? .vector : .matrix, .constant(0))
        })
    }
  }

  /// Adds a group behind the last one; its slots are in the order of `tensors`.
  ///
  /// - Returns: the group's index. Traps where a name is taken.
  public mutating func add(_ name: String, _ tensors: [ParameterSpecification]) -> Int {
    precondition(tables.isEmpty, "a group behind the tables")
    let start = count
    var end = count
    let slots = tensors.map { place($0, at: &end) }
    count = end
    count = (count + Self.segment - 1) / Self.segment * Self.segment
    groups.append(ParameterGroup(name: name, range: start..<count, slots: slots))
    return groups.count - 1
  }

  /// Adds a table behind everything else; traps where its name is taken.
  public mutating func add(table: ParameterSpecification) -> Slot {
    var end = parameterBufferCount
    tables.append(place(table, at: &end))
    return tables[tables.count - 1]
  }

  private mutating func place(_ tensor: ParameterSpecification, at end: inout Int) -> Slot {
    let slot = Slot(specification: tensor, offset: end)
    precondition(slotsByName.updateValue(slot, forKey: tensor.name) == nil, "two \(tensor.name)")
    end += Self.paddedCount(slot)
    return slot
  }

  /// Rows of every tensor start on a cache line.
  private static func paddedCount(_ slot: Slot) -> Int { (slot.count + 15) / 16 * 16 }

  /// Elements of a flat buffer of parameters: those that have a place in one of gradients, and the tables.
  public var parameterBufferCount: Int {
    tables.last.map { $0.offset + Self.paddedCount($0) } ?? count
  }

  /// All tensors in buffer order.
  public var slots: [Slot] { groups.flatMap(\.slots) + tables }

  /// Number of trainable numbers, padding excluded.
  public var parameterCount: Int { slots.reduce(0) { $0 + $1.count } }

  /// The tensor called `name`; traps when there is none.
  public subscript(name: String) -> Slot {
    guard let slot = slotsByName[name] else { preconditionFailure("no parameter \(name)") }
    return slot
  }
}
