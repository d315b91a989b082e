// Gradients that travel in bf16: the sum of rounded terms, to the bit, and the bytes that go out.
import Communication
import Compute
import TestSupport
import Testing

@Suite("Gradients on the wire in bf16")
struct RoundedTermsTests {
  static let layout = RandomGradients.layout

  /// The number with 8 digits nearest to x, ties to even; for normal numbers and zero.
  private static func nearest(_ x: Float) -> Float {
    guard x != 0 else { return x }
    let place = Float(sign: .plus, exponent: x.exponent - 7, significand: 1)
    return (x / place).rounded(.toNearestOrEven) * place
  }

  /// The sums that all ranks end with, each rank's term being the sum of two samples.
  private func sums(
    ranks: Int, threads: Int = 0, shares: GroupShares = .cut
  ) throws -> [[Float]] {
    try ThreadedCommunicator.run(ranks: ranks) { communicator in
      let layout = Self.layout
      let pool = threads > 0 ? WorkerPool(threadCount: threads) : nil
      let reduction = GradientReduction(
        communicator: communicator, layout: layout, shares: shares, wire: .bf16, pool: pool)
      let accumulator = GradientAccumulator(count: layout.count)
      for sample in 0..<2 {
        RandomGradients.fill(accumulator.next(), sample: 2 * communicator.rank + sample)
        accumulator.push()
      }
      let gradients = accumulator.total()
      for step in 0..<2 {
        // In the second step the term of rank 0 is the sum of the first, and there is no other.
        if step > 0, communicator.rank > 0 { gradients.fill(0) }
        try reduction.reduce(gradients: gradients)
        try reduction.startGather(parameters: gradients)
        try reduction.endGather()
      }
      return gradients.array
    }
  }

  @Test(
    "the sum is that of every rank's rounded term, added in the order of the tree, whoever owns it",
    arguments: [2, 3, 4, 7], [GroupShares.cut, .whole])
  func sum(ranks: Int, shares: GroupShares) throws {
    let first = RandomGradients.referenceSum(samples: ranks) { rank, index in
      Self.nearest(
        RandomGradients.value(2 * rank, index) + RandomGradients.value(2 * rank + 1, index))
    }
    let expected = first.map { Self.nearest($0) }
    for threads in [0, 2] {
      for sum in try sums(ranks: ranks, threads: threads, shares: shares) {
        #expect(sum == expected)
      }
    }
  }

  @Test("one rank rounds nothing")
  func alone() throws {
    #expect(try sums(ranks: 1)[0].bits == RandomGradients.referenceSum(samples: 2).bits)
  }

  @Test(
    "what is not finite stays so, and what is too large for bf16 becomes it",
    arguments: [Float.infinity, -.infinity, .nan, .signalingNaN, .greatestFiniteMagnitude])
  func notFinite(value: Float) throws {
    let norms = try ThreadedCommunicator.run(ranks: 3) { communicator in
      let reduction = GradientReduction(
        communicator: communicator, layout: Self.layout, wire: .bf16)
      let gradients = Buffer<Float>(Self.layout.count)
      if communicator.rank == 1 { gradients.view[5] = value }
      try reduction.reduce(gradients: gradients.view)
      return try reduction.squaredNorm(gradients: gradients.view)
    }
    #expect(norms.allSatisfy { !$0.isFinite })
  }

  @Test(
    "a rank sends as many bytes as are planned, three quarters of those in fp32",
    arguments: [2, 3, 4])
  func sentBytes(ranks: Int) throws {
    func sent(_ wire: Wire) throws -> Int {
      let counts = try ThreadedCommunicator.run(ranks: ranks) { threads in
        let communicator = CountingCommunicator(threads)
        let reduction = GradientReduction(
          communicator: communicator, layout: Self.layout, wire: wire)
        let gradients = Buffer<Float>(Self.layout.count)
        try reduction.reduce(gradients: gradients.view)
        try reduction.startGather(parameters: gradients.view)
        try reduction.endGather()
        return communicator.sentBytes
      }
      let all = counts.reduce(0, +)
      // The plan is the mean over ranks.
      let planned = GradientReduction.sentBytes(layout: Self.layout, ranks: ranks, wire: wire)
      #expect(abs(all - ranks * planned) <= ranks * ranks)
      return all
    }
    #expect(try 4 * sent(.bf16) == 3 * sent(.fp32))
  }

  @Test("buffers for the plan are the rank's own terms and what the others send, two bytes each")
  func bufferBytes() {
    // Rank 0 of 3 owns 1 + 1 + 3 + 1 of the 14 segments.
    #expect(
      GradientReduction.bufferBytes(layout: Self.layout, ranks: 3, wire: .bf16)
        == (14 + 2 * 6) * 1_024 * 2 + 14 * 8)
    #expect(GradientReduction.bufferBytes(layout: Self.layout, ranks: 1, wire: .bf16) == 14 * 8)
  }
}

/// A rank that counts what it sends.
private final class CountingCommunicator: Communicator {
  private let base: ThreadedCommunicator
  private(set) var sentBytes = 0

  init(_ base: ThreadedCommunicator) { self.base = base }

  var rank: Int { base.rank }
  var size: Int { base.size }
  var waitLimit: Double {
    get { base.waitLimit }
    set { base.waitLimit = newValue }
  }

  func barrier() throws(CommunicationError) { try base.barrier() }

  func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) throws(CommunicationError) {
    try base.broadcast(bytes, root: root)
  }

  func gatherAll(_ bytes: [UInt8]) throws(CommunicationError) -> [[UInt8]] {
    try base.gatherAll(bytes)
  }

  func reduce(_ value: Int64, _ reduction: IntegerReduction) throws(CommunicationError) -> Int64 {
    try base.reduce(value, reduction)
  }

  func startReceive(
    into bytes: UnsafeMutableRawBufferPointer, from source: Int, tag: Int
  ) -> Transfer {
    base.startReceive(into: bytes, from: source, tag: tag)
  }

  func startSend(_ bytes: UnsafeRawBufferPointer, to target: Int, tag: Int) -> Transfer {
    sentBytes += bytes.count
    return base.startSend(bytes, to: target, tag: tag)
  }

  func progress() throws(CommunicationError) { try base.progress() }

  func wait(for transfers: [Transfer], in operation: String) throws(CommunicationError) {
    try base.wait(for: transfers, in: operation)
  }

  func abort(code: Int32) { base.abort(code: code) }
}
