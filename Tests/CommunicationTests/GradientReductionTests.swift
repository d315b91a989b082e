import Communication
import Compute
import TestSupport
import Testing

@Suite("Gradient reduction")
struct GradientReductionTests {
  /// What one rank saw of one step.
  struct Seen: Sendable {
    let owned: [Range<Int>]
    let sum: [Float]
    let gathered: [Float]
    let squaredNorm: UInt64
  }

  static let layout = RandomGradients.layout

  /// One step of `batch` samples over `ranks` threads; groups start in the order of backward.
  private func step(
    batch: Int, ranks: Int, threads: Int = 0, shares: GroupShares = .cut
  ) throws -> [Seen] {
    try ThreadedCommunicator.run(ranks: ranks) { communicator in
      let pool = threads > 0 ? WorkerPool(threadCount: threads) : nil
      let layout = Self.layout
      let reduction = GradientReduction(
        communicator: communicator, layout: layout, shares: shares, pool: pool)
      let accumulator = GradientAccumulator(count: layout.count)
      let first = batch * communicator.rank / ranks
      let end = batch * (communicator.rank + 1) / ranks
      for sample in first..<end {
        RandomGradients.fill(accumulator.next(), sample: sample)
        accumulator.push()
      }
      let gradients = accumulator.total()
      for group in layout.groups.indices.reversed() {
        try reduction.start(group: group, gradients: gradients)
        try communicator.progress()
      }
      try reduction.finish(gradients: gradients)
      let sum = gradients.array
      let squaredNorm = try reduction.squaredNorm(gradients: gradients)
      try reduction.startGather(parameters: gradients)
      try reduction.endGather()
      return Seen(
        owned: reduction.ownedRanges, sum: sum, gathered: gradients.array,
        squaredNorm: squaredNorm.bitPattern)
    }
  }

  @Test(
    "the sum has the bits of one rank wherever sameBits says so, and is near it elsewhere",
    arguments: [1, 2, 4, 6, 8, 12], [1, 2, 3, 4, 8])
  func sum(batch: Int, ranks: Int) throws {
    let expected = RandomGradients.referenceSum(samples: batch)
    let sameBits = GradientReduction.sameBits(globalBatch: batch, ranks: ranks)
    for seen in try step(batch: batch, ranks: ranks) {
      if sameBits {
        #expect(seen.gathered.bits == expected.bits)
      } else {
        // Each of batch - 1 additions of numbers below batch rounds by at most half a unit of 2^-23.
        let bound = Float(batch * batch) * 0x1p-23
        #expect(zip(seen.gathered, expected).allSatisfy { abs($0 - $1) <= bound })
      }
    }
  }

  @Test("every rank ends with the same bits, and owned pieces are final before the gather")
  func agreement() throws {
    let all = try step(batch: 7, ranks: 3)
    for seen in all {
      #expect(seen.gathered.bits == all[0].gathered.bits)
      #expect(seen.squaredNorm == all[0].squaredNorm)
      for range in seen.owned {
        #expect(Array(seen.sum[range]).bits == Array(seen.gathered[range]).bits)
      }
    }
  }

  @Test(
    "the norm has the same bits at any number of ranks and threads", arguments: [1, 2, 3, 4, 8])
  func norm(ranks: Int) throws {
    let batch = 24
    let one = try step(batch: batch, ranks: 1)[0]
    let reference = one.gathered.reduce(0.0) { $0 + Double($1) * Double($1) }
    // Products are exact in double; 14 thousand additions round by 2^-53 of the sum each.
    #expect(abs(Double(bitPattern: one.squaredNorm) - reference) <= reference * 14_336 * 0x1p-53)
    for threads in [0, 2] {
      let norms = try ThreadedCommunicator.run(ranks: ranks) { communicator in
        let pool = threads > 0 ? WorkerPool(threadCount: threads) : nil
        let reduction = GradientReduction(
          communicator: communicator, layout: Self.layout, pool: pool)
        let gradients = Buffer<Float>(Self.layout.count)
        for range in reduction.ownedRanges {
          gradients.view[range].copy(from: Array(one.gathered[range]))
        }
        return try reduction.squaredNorm(gradients: gradients.view).bitPattern
      }
      #expect(norms == Array(repeating: one.squaredNorm, count: ranks))
    }
  }

  @Test("the sum is not finite on every rank when one gradient is not")
  func notFinite() throws {
    let norms = try ThreadedCommunicator.run(ranks: 3) { communicator in
      let reduction = GradientReduction(communicator: communicator, layout: Self.layout)
      let gradients = Buffer<Float>(Self.layout.count)
      if communicator.rank == 1 { gradients.view[5] = .infinity }
      try reduction.reduce(gradients: gradients.view)
      return try reduction.squaredNorm(gradients: gradients.view)
    }
    #expect(norms == [.infinity, .infinity, .infinity])
  }

  @Test("threads do not change the bits")
  func threads() throws {
    let plain = try step(batch: 6, ranks: 3)
    let threaded = try step(batch: 6, ranks: 3, threads: 2)
    for (a, b) in zip(plain, threaded) {
      #expect(a.gathered.bits == b.gathered.bits)
      #expect(a.squaredNorm == b.squaredNorm)
    }
  }

  @Test("pieces cover each group once, in rank order, and differ by one segment", arguments: 1...20)
  func pieces(ranks: Int) {
    let owned = (0..<ranks).map {
      GradientReduction.ownedRanges(layout: Self.layout, rank: $0, ranks: ranks)
    }
    for (index, group) in Self.layout.groups.enumerated() {
      var end = group.range.lowerBound
      for rank in 0..<ranks {
        #expect(owned[rank][index].lowerBound == end)
        #expect(owned[rank][index].count % ParameterLayout.segment == 0)
        end = owned[rank][index].upperBound
      }
      #expect(end == group.range.upperBound)
      let sizes = owned.map { $0[index].count }
      #expect((sizes.max() ?? 0) - (sizes.min() ?? 0) <= ParameterLayout.segment)
    }
  }

  @Test("whole groups give the same bits as cut ones", arguments: [1, 2, 3, 4, 8])
  func wholeGroups(ranks: Int) throws {
    let cut = try step(batch: 24, ranks: ranks)
    let whole = try step(batch: 24, ranks: ranks, shares: .whole)
    for (rank, seen) in whole.enumerated() {
      #expect(seen.gathered.bits == cut[rank].gathered.bits)
      #expect(seen.squaredNorm == cut[rank].squaredNorm)
      for (index, group) in Self.layout.groups.enumerated() {
        let owners = whole.filter { $0.owned[index] == group.range }
        #expect(
          owners.count == 1 && (seen.owned[index] == group.range || seen.owned[index].isEmpty))
      }
    }
  }

  @Test("whole groups are dealt in turn, the largest first")
  func dealtGroups() {
    func owners(_ ranks: Int) -> [Int?] {
      Self.layout.groups.indices.map { group in
        (0..<ranks).first {
          !GradientReduction.ownedRanges(
            layout: Self.layout, rank: $0, ranks: ranks, shares: .whole)[group].isEmpty
        }
      }
    }
    // Groups of 3, 1, 9 and 1 segments.
    #expect(owners(1) == [0, 0, 0, 0])
    #expect(owners(2) == [1, 0, 0, 1])
    #expect(owners(3) == [1, 2, 0, 0])
    #expect(owners(5) == [1, 2, 0, 3])
    // Rank 0 of 3 owns 9 + 1 segments.
    let bytes = GradientReduction.bufferBytes(layout: Self.layout, ranks: 3, shares: .whole)
    #expect(bytes == 2 * 10 * 1_024 * 4 + 14 * 8)
  }

  @Test("buffers for the plan are what the others send and a number per segment")
  func bufferBytes() {
    // Rank 0 of 3 owns 1 + 1 + 3 + 1 of the 14 segments.
    #expect(
      GradientReduction.bufferBytes(layout: Self.layout, ranks: 3) == 2 * 6 * 1_024 * 4 + 14 * 8)
    #expect(GradientReduction.bufferBytes(layout: Self.layout, ranks: 1) == 14 * 8)
  }

  @Test("steps follow each other in the same buffers")
  func manySteps() throws {
    let sums = try ThreadedCommunicator.run(ranks: 4) { communicator in
      let reduction = GradientReduction(communicator: communicator, layout: Self.layout)
      let gradients = Buffer<Float>(Self.layout.count)
      return try (0..<5).map { step in
        gradients.view.fill(Float(step + communicator.rank))
        try reduction.reduce(gradients: gradients.view)
        try reduction.startGather(parameters: gradients.view)
        try reduction.endGather()
        return gradients.view.array.allSatisfy { $0 == Float(4 * step + 6) }
      }
    }
    #expect(sums.flatMap { $0 } == Array(repeating: true, count: 20))
  }

  @Test("a group is complete once it was waited for, and the rest at the end of the gather")
  func gatherByGroup() throws {
    let complete = try ThreadedCommunicator.run(ranks: 3) { communicator in
      let reduction = GradientReduction(communicator: communicator, layout: Self.layout)
      let parameters = Buffer<Float>(Self.layout.count)
      for step in 1...2 {
        parameters.view.fill(-1)
        for piece in reduction.ownedRanges { parameters.view[piece].fill(Float(step)) }
        try reduction.startGather(parameters: parameters.view)
        for (index, group) in Self.layout.groups.enumerated().dropLast() {
          try reduction.finishGather(group: index)
          guard parameters.view[group.range].array.allSatisfy({ $0 == Float(step) }) else {
            return false
          }
        }
        try reduction.endGather()
        guard parameters.view.array.allSatisfy({ $0 == Float(step) }) else { return false }
      }
      return true
    }
    #expect(complete == [true, true, true])
  }

  @Test("a wait that nobody answers ends at its limit and says so")
  func waitLimit() {
    let caught = ErrorBox()
    #expect(throws: CommunicationError.self) {
      try ThreadedCommunicator.run(ranks: 2) { communicator in
        // Rank 1 waits elsewhere, without a limit, until rank 0 has given up.
        guard communicator.rank == 0 else { return try communicator.barrier() }
        communicator.waitLimit = 0.1
        let reduction = GradientReduction(communicator: communicator, layout: Self.layout)
        let gradients = Buffer<Float>(Self.layout.count)
        do {
          try reduction.reduce(gradients: gradients.view)
        } catch {
          caught.message = "\(error)"
          throw error
        }
      }
    }
    #expect(caught.message.hasPrefix("gradient exchange failed on rank 0: no answer for 1 s: "))
  }

  @Test("a rank that fails makes the others' exchange fail with its reason")
  func failingRank() {
    struct Broken: Error {}
    let caught = ErrorBox()
    #expect(throws: Broken.self) {
      try ThreadedCommunicator.run(ranks: 2) { communicator in
        if communicator.rank == 1 { throw Broken() }
        let reduction = GradientReduction(communicator: communicator, layout: Self.layout)
        let gradients = Buffer<Float>(Self.layout.count)
        do {
          try reduction.reduce(gradients: gradients.view)
        } catch {
          caught.message = "\(error)"
        }
      }
    }
    #expect(caught.message == "gradient exchange failed on rank 0: rank 1 failed: Broken()")
  }

  @Test("starting a group twice stops the program")
  func startedTwice() async {
    await #expect(processExitsWith: .failure) {
      let reduction = GradientReduction(
        communicator: SoloCommunicator(), layout: RandomGradients.layout)
      let gradients = Buffer<Float>(RandomGradients.layout.count)
      try reduction.start(group: 0, gradients: gradients.view)
      try reduction.start(group: 0, gradients: gradients.view)
    }
  }
}

/// Carries a message out of a rank's thread; read after the thread has ended.
final class ErrorBox: @unchecked Sendable {
  var message = "no error"
}
