// Sums gradients over ranks so that each rank ends with its own pieces of the sum, and hands the
// pieces of new parameters back to all. Per step: `start` for each group as backward finishes it,
// `finish`, `squaredNorm` for clipping, the optimizer on `ownedRanges`, then `startGather`; the
// next forward pass waits with `finishGather` for each group as it comes to it, and `endGather`
// ends the exchange.
import Compute

/// How the groups of a layout are shared out over ranks.
public enum GroupShares: Sendable {
  /// Each in one contiguous piece per rank, cut at segments.
  case cut
  /// Each as a whole to one rank, for optimizers that need whole tensors: dealt in turn, the largest first.
  case whole
}

/// The exchange of gradients and parameters between ranks.
///
/// Every group of the layout is cut in one contiguous piece per rank, which may be empty. Gradients travel as they are,
/// or as bf16 numbers (`RoundedTerms`); parameters as they are. With one rank everything passes straight through.
public final class GradientReduction {
  /// The ranks.
  public let communicator: any Communicator
  /// The layout of gradients and parameters.
  public let layout: ParameterLayout
  /// This rank's piece of each group, in group order; may be empty.
  public let ownedRanges: [Range<Int>]

  private let pool: WorkerPool?
  private let owners: [Int]?
  // One of the two, by what travels.
  private let inbox: Inbox<Float>
  private let rounded: RoundedTerms?
  private let segmentSquares: Buffer<Double>

  private var receives: [[Transfer]] = []
  private var sends: [Transfer] = []
  private var startedGroups: [Int] = []
  // Parameters on their way: those of each group that arrive, and all that leave.
  private var gathering: [[Transfer]] = []
  private var leaving: [Transfer] = []

  private enum Purpose: Int, CaseIterable {
    case gradients
    case squares
    case parameters
  }

  /// Allocates all buffers; sums run on `pool` if there is one, and gradients travel as `wire`.
  public init(
    communicator: any Communicator, layout: ParameterLayout, shares: GroupShares = .cut,
    wire: Wire = .fp32, pool: WorkerPool? = nil
  ) {
    precondition(layout.groups.count * Purpose.allCases.count < 32768, "more groups than MPI tags")
    self.communicator = communicator
    self.layout = layout
    self.pool = pool
    let rank = communicator.rank
    let size = communicator.size
    owners = Self.owners(layout: layout, ranks: size, shares: shares)
    let owned = Self.ownedRanges(layout: layout, rank: rank, ranks: size, shares: shares)
    ownedRanges = owned
    let isRounded = wire == .bf16 && size > 1
    inbox = Inbox(owned: isRounded ? [] : owned, rank: rank, ranks: size)
    rounded =
      isRounded
      ? RoundedTerms(layout: layout, owned: owned, rank: rank, ranks: size, pool: pool) : nil
    segmentSquares = Buffer<Double>(layout.count / ParameterLayout.segment)
  }

  /// Whether the sum has the same bits as with one rank, where terms are not rounded (design, "Sums have a fixed
  /// order").
  ///
  /// True for one rank, and where every rank's share of the batch is a power of two or one over a power of two.
  public static func sameBits(globalBatch: Int, ranks: Int) -> Bool {
    guard ranks > 1 else { return true }
    let (most, least) = (max(globalBatch, ranks), min(globalBatch, ranks))
    return most % least == 0 && (most / least).nonzeroBitCount == 1
  }

  /// The pieces of each group that `rank` of `ranks` owns, rank 0 the most; where groups are cut, sizes differ by at
  /// most one segment.
  public static func ownedRanges(
    layout: ParameterLayout, rank: Int, ranks: Int, shares: GroupShares = .cut
  ) -> [Range<Int>] {
    let owners = owners(layout: layout, ranks: ranks, shares: shares)
    return layout.groups.enumerated().map { index, group in
      piece(of: group.range, owner: owners?[index], rank: rank, ranks: ranks)
    }
  }

  /// By group, the rank that owns all of it; nil where groups are cut.
  private static func owners(
    layout: ParameterLayout, ranks: Int, shares: GroupShares
  ) -> [Int]? {
    guard shares == .whole else { return nil }
    let sizes = layout.groups.map(\.range.count)
    var owners = sizes.map { _ in 0 }
    let order = sizes.indices.sorted { (sizes[$1], $0) < (sizes[$0], $1) }
    for (turn, group) in order.enumerated() { owners[group] = turn % ranks }
    return owners
  }

  private func piece(group: Int, rank: Int) -> Range<Int> {
    Self.piece(
      of: layout.groups[group].range, owner: owners?[group], rank: rank, ranks: communicator.size)
  }

  private static func piece(
    of range: Range<Int>, owner: Int?, rank: Int, ranks: Int
  ) -> Range<Int> {
    if let owner { return rank == owner ? range : range.lowerBound..<range.lowerBound }
    let segments = range.count / ParameterLayout.segment
    // The first ranks take one segment more where the count does not divide.
    let (each, longer) = segments.quotientAndRemainder(dividingBy: ranks)
    let start = range.lowerBound + (rank * each + min(rank, longer)) * ParameterLayout.segment
    return start..<(start + (each + (rank < longer ? 1 : 0)) * ParameterLayout.segment)
  }

  /// Bytes of the buffers on the rank that needs most, for the memory plan.
  public static func bufferBytes(
    layout: ParameterLayout, ranks: Int, shares: GroupShares = .cut, wire: Wire = .fp32
  ) -> Int {
    let owned = ownedRanges(layout: layout, rank: 0, ranks: ranks, shares: shares)
      .reduce(0) { $0 + $1.count }
    let terms =
      wire == .bf16 && ranks > 1
      ? RoundedTerms.bytes(layout: layout, owned: owned, ranks: ranks)
      : (ranks - 1) * owned * MemoryLayout<Float>.size
    return terms + layout.count / ParameterLayout.segment * MemoryLayout<Double>.size
  }

  /// Bytes that a rank sends per step: the others' pieces of its gradients, and its own new parameters to all.
  public static func sentBytes(layout: ParameterLayout, ranks: Int, wire: Wire) -> Int {
    let number = MemoryLayout<Float>.size + (wire == .bf16 ? 2 : MemoryLayout<Float>.size)
    return number * layout.count / ranks * (ranks - 1)
  }

  // MARK: Gradients

  /// Starts the exchange of a group whose gradients are final; never blocks.
  ///
  /// `gradients` is the whole flat buffer. The group must not be touched until `finish`. Every group is
  /// started once per step, in the same order on all ranks.
  public func start(group: Int, gradients: View<Float>) throws(CommunicationError) {
    precondition(gradients.count == layout.count, "\(gradients.count) of \(layout.count) gradients")
    precondition(!startedGroups.contains(group), "group \(group) started twice")
    if startedGroups.isEmpty { try postReceives() }
    startedGroups.append(group)
    rounded?.round(gradients, layout.groups[group].range)
    for peer in peers {
      let piece = piece(group: group, rank: peer)
      guard !piece.isEmpty else { continue }
      let bytes = rounded?.sent(piece).bytes ?? gradients[piece].bytes
      sends.append(
        try communicator.startSend(
          UnsafeRawBufferPointer(bytes), to: peer, tag: tag(.gradients, group)))
    }
  }

  /// Waits for all groups and leaves the sum over ranks in `ownedRanges` of `gradients`.
  ///
  /// The rest of `gradients` keeps this rank's own numbers.
  public func finish(gradients: View<Float>) throws(CommunicationError) {
    precondition(startedGroups.count == layout.groups.count, "not every group was started")
    for group in startedGroups {
      if communicator.size > 1 {
        try communicator.wait(for: receives[group], in: "gradient exchange")
      }
      sumSlices(group: group, gradients: gradients)
    }
    try communicator.wait(for: sends, in: "gradient exchange")
    startedGroups.removeAll(keepingCapacity: true)
    sends.removeAll(keepingCapacity: true)
  }

  /// Both of the above, for all groups.
  public func reduce(gradients: View<Float>) throws(CommunicationError) {
    for group in layout.groups.indices { try start(group: group, gradients: gradients) }
    try finish(gradients: gradients)
  }

  // All receives first: a large message that finds no receive stops its sender.
  private func postReceives() throws(CommunicationError) {
    receives.removeAll(keepingCapacity: true)
    for group in layout.groups.indices {
      var transfers: [Transfer] = []
      for peer in peers where !ownedRanges[group].isEmpty {
        let bytes =
          rounded?.received(group: group, from: peer).bytes ?? inbox[group, peer].bytes
        transfers.append(
          try communicator.startReceive(into: bytes, from: peer, tag: tag(.gradients, group)))
      }
      receives.append(transfers)
    }
  }

  private func sumSlices(group: Int, gradients: View<Float>) {
    guard communicator.size > 1 else { return }
    let piece = ownedRanges[group]
    let own = gradients[piece]
    if let rounded { return rounded.add(group: group, piece: piece, into: own) }
    let slices = inbox.terms(of: group, own: own)
    func merge(_ earlier: View<Float>, _ later: View<Float>) -> View<Float> {
      Kernels.add(earlier, later)
      return earlier
    }
    ParallelLoops.tiles(of: 0..<own.count, on: pool) { tile in
      var tree = ReductionTree<View<Float>>()
      for slice in slices { tree.push(slice[tile], merge: merge) }
      if let sum = tree.fold(merge: merge), sum.base != own[tile].base {
        own[tile].copy(from: sum)
      }
    }
  }

  // MARK: Norm and parameters

  /// The sum of squares of the reduced gradient; call after `finish`.
  ///
  /// Segments are summed in double where they are owned and added in layout order on every rank, so
  /// the bits depend on the gradient only, not on the number of ranks.
  public func squaredNorm(gradients: View<Float>) throws(CommunicationError) -> Double {
    precondition(gradients.count == layout.count, "\(gradients.count) of \(layout.count) gradients")
    let segment = ParameterLayout.segment
    let squares = segmentSquares.view
    for range in ownedRanges {
      ParallelLoops.tiles(of: range, on: pool) { tile in
        for start in stride(from: tile.lowerBound, to: tile.upperBound, by: segment) {
          squares[start / segment] = Kernels.sumOfSquares(gradients[start..<(start + segment)])
        }
      }
    }
    let (arriving, leaving) = try shareOwned(
      squares.bytes, bytesPerSegment: MemoryLayout<Double>.size, .squares)
    try communicator.wait(for: arriving.flatMap { $0 } + leaving, in: "gradient norm")
    return (0..<squares.count).reduce(0) { $0 + squares[$1] }
  }

  /// Starts to give every rank all pieces: `ownedRanges` of `parameters` go out, the rest is
  /// overwritten.
  ///
  /// Never blocks. A group may be read once `finishGather` returned for it, and the owned pieces
  /// may be changed after `endGather`.
  public func startGather(parameters: View<Float>) throws(CommunicationError) {
    precondition(parameters.count == layout.count, "\(parameters.count) of \(layout.count) values")
    precondition(gathering.isEmpty && leaving.isEmpty, "the last gather has not ended")
    (gathering, leaving) = try shareOwned(
      parameters.bytes, bytesPerSegment: ParameterLayout.segment * MemoryLayout<Float>.size,
      .parameters)
  }

  /// Waits until `group` of the parameters being gathered is complete; returns at once where it is.
  public func finishGather(group: Int) throws(CommunicationError) {
    guard !gathering.isEmpty, !gathering[group].isEmpty else { return }
    try communicator.wait(for: gathering[group], in: "parameter gather")
    gathering[group] = []
  }

  /// Waits for all that `startGather` began; returns at once where nothing is under way.
  public func endGather() throws(CommunicationError) {
    for group in gathering.indices { try finishGather(group: group) }
    try communicator.wait(for: leaving, in: "parameter gather")
    gathering = []
    leaving = []
  }

  /// Starts to send this rank's pieces, and to receive the others' in place, groups in buffer
  /// order: the order in which a forward pass needs them.
  private func shareOwned(
    _ bytes: UnsafeMutableRawBufferPointer, bytesPerSegment: Int, _ purpose: Purpose
  ) throws(CommunicationError) -> (arriving: [[Transfer]], leaving: [Transfer]) {
    func part(_ elements: Range<Int>) -> UnsafeMutableRawBufferPointer {
      let start = elements.lowerBound / ParameterLayout.segment * bytesPerSegment
      let count = elements.count / ParameterLayout.segment * bytesPerSegment
      return UnsafeMutableRawBufferPointer(rebasing: bytes[start..<(start + count)])
    }
    var arriving: [[Transfer]] = []
    var leaving: [Transfer] = []
    for group in layout.groups.indices {
      var transfers: [Transfer] = []
      for peer in peers {
        let piece = piece(group: group, rank: peer)
        guard !piece.isEmpty else { continue }
        transfers.append(
          try communicator.startReceive(into: part(piece), from: peer, tag: tag(purpose, group)))
      }
      arriving.append(transfers)
    }
    for (group, piece) in ownedRanges.enumerated() where !piece.isEmpty {
      for peer in peers {
        leaving.append(
          try communicator.startSend(
            UnsafeRawBufferPointer(part(piece)), to: peer, tag: tag(purpose, group)))
      }
    }
    return (arriving, leaving)
  }

  // The other ranks, starting after this one, so that not all ranks send to the same one first.
  private var peers: [Int] {
    (1..<max(communicator.size, 1)).map { (communicator.rank + $0) % communicator.size }
  }

  private func tag(_ purpose: Purpose, _ group: Int) -> Int {
    purpose.rawValue * layout.groups.count + group
  }
}
