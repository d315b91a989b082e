import Communication
import Compute
import TestSupport
import Testing

@Suite("Communicators")
struct CommunicatorTests {
  @Test("collectives agree on all ranks, many times over", arguments: [1, 2, 3, 8])
  func collectives(ranks: Int) throws {
    let held = try ThreadedCommunicator.run(ranks: ranks) { communicator in
      let rank = communicator.rank
      var held = communicator.size == ranks
      for round in 0..<50 {
        try communicator.barrier()
        let mine = [UInt8](repeating: UInt8(rank + round), count: rank)
        let all = (0..<ranks).map { [UInt8](repeating: UInt8($0 + round), count: $0) }
        held = try held && communicator.gatherAll(mine) == all
        held = try held && communicator.minimum(Int64(rank - round)) == Int64(-round)
        held = try held && communicator.maximum(Int64(rank)) == Int64(ranks - 1)
        held = try held && communicator.sum(Int64(rank)) == Int64(ranks * (ranks - 1) / 2)
        let root = round % ranks
        let text = rank == root ? Array("round \(round)".utf8) : []
        held = try held && communicator.broadcast(text, root: root) == Array("round \(round)".utf8)
      }
      return held
    }
    #expect(held == Array(repeating: true, count: ranks))
  }

  @Test("gathered numbers keep their bits")
  func doubles() throws {
    let all = try ThreadedCommunicator.run(ranks: 3) { communicator in
      try communicator.gatherAll(doubles: [Double(communicator.rank) / 3, -.zero, .nan])
        .map { $0.map(\.bitPattern) }
    }
    let expected = (0..<3).map { [Double($0) / 3, -.zero, .nan].map(\.bitPattern) }
    #expect(all == [expected, expected, expected])
  }

  @Test("a sum beyond 64 bits wraps around as MPI's does")
  func wrap() throws {
    let sums = try ThreadedCommunicator.run(ranks: 2) { try $0.sum(.max) }
    #expect(sums == [-2, -2])
  }

  @Test("messages of one tag arrive in order, whichever side comes first")
  func order() throws {
    let received = try ThreadedCommunicator.run(ranks: 2) { communicator in
      let buffers = (0..<6).map { _ in Buffer<Int64>(1) }
      let peer = 1 - communicator.rank
      // Tag 0 is sent before the barrier and received after it, tag 1 the other way round.
      func transfer(_ tag: Int, sending: Bool) -> [Transfer] {
        (0..<3).map { index in
          let view = buffers[3 * tag + index].view
          if sending { view[0] = Int64(10 * tag + index) }
          return sending
            ? communicator.startSend(UnsafeRawBufferPointer(view.bytes), to: peer, tag: tag)
            : communicator.startReceive(into: view.bytes, from: peer, tag: tag)
        }
      }
      let early = transfer(communicator.rank, sending: communicator.rank == 0)
      try communicator.barrier()
      let late = transfer(1 - communicator.rank, sending: communicator.rank == 0)
      try communicator.wait(for: early + late, in: "test")
      return buffers.map { $0.view[0] }
    }
    #expect(received[0] == [0, 1, 2, 10, 11, 12])
    #expect(received[1] == [0, 1, 2, 10, 11, 12])
  }

  @Test("a message of another size than expected is an error on both ranks")
  func wrongSize() throws {
    let messages = try ThreadedCommunicator.run(ranks: 2) { communicator in
      let buffer = Buffer<UInt8>(10)
      let rank = communicator.rank
      let transfer =
        rank == 0
        ? communicator.startSend(UnsafeRawBufferPointer(buffer.view.bytes), to: 1, tag: 0)
        : communicator.startReceive(into: buffer.view[0..<7].bytes, from: 0, tag: 0)
      do {
        try communicator.wait(for: [transfer], in: "gradient exchange")
        return "no error"
      } catch {
        return "\(error)"
      }
    }
    #expect(
      messages == [
        "gradient exchange failed on rank 0: 10 bytes sent, 7 expected",
        "gradient exchange failed on rank 1: 10 bytes sent, 7 expected",
      ])
  }

  @Test("abort ends the waits of the other ranks")
  func abort() throws {
    let messages = try ThreadedCommunicator.run(ranks: 3) { communicator in
      if communicator.rank == 2 { communicator.abort(code: 9) }
      do {
        try communicator.barrier()
        return "no error"
      } catch {
        return "\(error)"
      }
    }
    #expect(
      messages == (0..<3).map { "barrier failed on rank \($0): rank 2 aborted with code 9" })
  }

  @Test("a single rank needs nobody")
  func solo() {
    let solo = SoloCommunicator()
    #expect(solo.rank == 0 && solo.size == 1)
    #expect(solo.gatherAll([1, 2]) == [[1, 2]])
    #expect(solo.reduce(-4, .sum) == -4)
    let buffer = Buffer<UInt8>(3)
    buffer.view.fill(8)
    solo.broadcast(buffer.view.bytes, root: 0)
    #expect(buffer.view.array == [8, 8, 8])
  }

  @Test("a message to oneself stops the program")
  func toOneself() async {
    await #expect(processExitsWith: .failure) {
      _ = try ThreadedCommunicator.run(ranks: 2) { communicator in
        let buffer = Buffer<UInt8>(3)
        _ = communicator.startReceive(into: buffer.view.bytes, from: communicator.rank, tag: 0)
      }
    }
  }

  @Test(
    "a process started by mpirun or by srun with several tasks is a rank",
    arguments: [
      (["OMPI_COMM_WORLD_SIZE": "1"], true), (["PMI_RANK": "0"], true), (["PMIX_RANK": "3"], true),
      (["SLURM_STEP_ID": "0", "SLURM_NTASKS": "4"], true),
      (["SLURM_STEP_ID": "0", "SLURM_NTASKS": "1"], false),
      (["SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "4"], false),
      (["SLURM_NTASKS": "4"], false), (["SLURM_STEP_ID": "0"], false), ([:], false),
    ] as [([String: String], Bool)])
  func underLauncher(environment: [String: String], expected: Bool) {
    #expect(MPICommunicator.underLauncher { environment[$0] } == expected)
  }

  @Test("several tasks that MPI does not connect are an error that says what to do")
  func notConnected() throws {
    let error = #expect(throws: CommunicationError.self) {
      try MPICommunicator.checkConnected(size: 1, launched: 4)
    }
    #expect(
      error?.description
        == "start of MPI failed on rank 0: the launcher started 4 ranks but MPI connects only 1; "
        + "use mpirun, or srun --mpi=pmix")
    try MPICommunicator.checkConnected(size: 4, launched: 4)
    try MPICommunicator.checkConnected(size: 1, launched: 1)
    try MPICommunicator.checkConnected(size: 1, launched: nil)
    #expect(
      MPICommunicator.launchedRanks {
        ["SLURM_STEP_NUM_TASKS": "2", "OMPI_COMM_WORLD_SIZE": "8"][$0]
      } == 8)
  }
}
